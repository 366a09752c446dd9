"""What all backends on servers have in common: a prefix, a serializer, timeouts and settings."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from cachelib.serializers import BaseSerializer, RedisSerializer

from ..._entries.times import life_of
from ...exceptions import InvalidKeyError, warn
from ...serializers._checked import dumps
from ...typing import Config, Timeout, Value
from ..base import BaseCache

__all__ = [
    "Budget",
    "KeyPrefix",
    "ServerCache",
    "common_settings",
    "prefix_now",
    "text_of",
    "warn_of_prefix",
]

#: What stands in front of all keys: a text, or a callable that is asked on each call.
KeyPrefix: TypeAlias = str | Callable[[], str] | None


class Budget(NamedTuple):
    """What connections may cost.

    :param connect: seconds to open one, its handshake included.
    :param operation: seconds for an answer.
    :param patience: seconds to wait for a free one.
    :param limit: how many there may be to each server, of all threads or of one loop.
    """

    connect: float
    operation: float
    patience: float
    limit: int


class ServerCache(BaseCache):
    """Base of the backends that keep bytes on a server."""

    shared = True
    #: Turns values into bytes and back: anything with cachelib's ``dumps`` and ``loads``.
    serializer: BaseSerializer

    def __init__(
        self,
        default_timeout: float | dt.timedelta = 300,
        key_prefix: KeyPrefix = None,
        ignore_delete_many_errors: bool = False,
    ) -> None:
        super().__init__(default_timeout, ignore_delete_many_errors)
        self.key_prefix = key_prefix or ""
        self.serializer = RedisSerializer()  # whole numbers as digits, anything else as pickles

    def _prefix(self) -> str:
        prefix = self.key_prefix
        return prefix if isinstance(prefix, str) else prefix_now(prefix)

    def _life(self, timeout: Timeout | None) -> float:
        """Seconds that a value lives; ``NEVER`` if it does not end."""
        return life_of(self.default_timeout if timeout is None else timeout)

    def _dumps(self, value: Value) -> bytes:
        """The bytes of a value.

        :raises SerializationError: if it cannot be stored.
        """
        return dumps(self.serializer, value)


def prefix_now(ask: Callable[[], object]) -> str:
    """What a callable key prefix answers: text that is not empty, or a number.

    :raises InvalidKeyError: if it is something else. Without a prefix, ``clear`` would empty the
        database of all tenants.
    """
    prefix = ask()
    if isinstance(prefix, (str, int)) and not isinstance(prefix, bool) and (text := str(prefix)):
        return text
    what = "empty text" if isinstance(prefix, str) else f"a {type(prefix).__name__}"
    raise InvalidKeyError(
        f"the callable CACHE_KEY_PREFIX answered {what}, which names no tenant: let it return "
        "text, such as f'{tenant}:', or raise an error where no tenant has a turn"
    )


def common_settings(config: Config, kwargs: Config) -> None:
    """Put into ``kwargs`` what all of them take from a configuration; ``CACHE_OPTIONS`` wins."""
    kwargs.setdefault("key_prefix", config.get("CACHE_KEY_PREFIX"))
    kwargs.setdefault("connect_timeout", float(config["CACHE_CONNECT_TIMEOUT"]))
    kwargs.setdefault("operation_timeout", float(config["CACHE_OPERATION_TIMEOUT"]))


def warn_of_prefix(prefix: object) -> None:
    """Warn of a prefix with which ``clear`` would remove the keys of another one."""
    if isinstance(prefix, str) and prefix[-1:].isalnum():
        warn(
            f"CACHE_KEY_PREFIX {prefix!r} ends in a letter or digit, so clear() would also remove "
            f"what another cache keeps under {prefix + '2'!r}: end it with another sign, for "
            f"example {prefix + ':'!r}"
        )


def text_of(token: bytes | None) -> str | None:
    """A token as a server keeps it: ``None`` is none."""
    return None if token is None else token.decode("utf-8", "replace")
