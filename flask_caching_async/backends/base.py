"""What every backend is: the plain operations, in both colours, and the versioned ones.

**Two colours.** Each operation is a pair, ``get`` and ``aget``. The author of a backend writes
whichever side is natural, and this class derives the other when the subclass is created: an
awaitable from a blocking method runs it in a worker thread (or inline, where :attr:`blocking` is
False), a blocking method from an awaitable one runs it on an event loop of the process. A
sync backend must write ``get``, ``set`` and ``delete``, an async-only one ``aget``, ``aset`` and
``adelete``; everything else has a correct, slower default.

**Versioned operations** (``look_up``, ``set_if_current``, ``invalidate`` …) are what the decorators
need beyond get and set; see ``_versioned/``. They have defaults too.
"""

# pyright: reportAssignmentType=false
# The pairs take the place of cachelib's methods, which pyright sees as defs with a self.

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from cachelib import BaseCache as CachelibBaseCache

from .._entries.times import seconds, whole_seconds
from .._runtime.colour import complete_pairs
from ..typing import Config
from ._versioned import defaults
from ._versioned.contract import (
    KEY_VERSION_LIFE,
    PLAIN,
    VERSIONED,
    Lease,
    VersionedValue,
    new_token,
)
from ._versioned.operations import VersionedOperations, pair

__all__ = ["KEY_VERSION_LIFE", "BaseCache", "Lease", "VersionedValue", "new_token"]


def _system_clock() -> float:
    # Looked up when it is read, not when this module is imported: a program that freezes the time
    # in its tests replaces ``time.time``.
    return time.time()


class BaseCache(VersionedOperations, CachelibBaseCache):
    """Base class of all backends; subclass it to write one.

    :param default_timeout: seconds (or a ``timedelta``) that :meth:`set` uses when it is given no
        timeout; 0 never expires.
    :param ignore_delete_many_errors: whether :meth:`delete_many` skips a key that cannot be
        deleted instead of raising ``RuntimeError``.
    """

    #: Whether the sync methods wait for I/O. Where they never do, async callers run them inline.
    blocking: ClassVar[bool] = True
    #: Whether ``aget`` was written and ``get`` derived from it.
    async_native: ClassVar[bool] = False
    #: Whether both colours were written: see ``_connections/both_colours.py``.
    two_coloured: ClassVar[bool] = False
    #: Whether other processes see the same entries.
    shared: ClassVar[bool] = False
    #: Whether a key may have lone surrogates, which UTF-8 cannot say. Where it may not, such a key
    #: is an error of its caller, before the backend is asked.
    any_text: ClassVar[bool] = False
    #: Whether ``clear`` ends a value that was stored without a version.
    clears_plain_values: ClassVar[bool] = True
    #: Put in front of every key by the backends that share a server with others.
    key_prefix: Any = ""
    #: Its server or directory, as errors and the log name it; no password stands in it.
    where: str = ""
    #: Seconds since the epoch, as :func:`time.time`. Replace it in tests.
    clock: Callable[[], float] = staticmethod(_system_clock)

    def __init__(
        self,
        default_timeout: float | dt.timedelta = 300,
        ignore_delete_many_errors: bool = False,
    ) -> None:
        super().__init__(0, ignore_delete_many_errors)
        # Set here, because cachelib deprecates seconds with a fraction, and we do not.
        self.default_timeout = seconds(default_timeout)  # type: ignore[assignment]

    @classmethod
    def factory(cls, app: object, config: Config, args: list[Any], kwargs: Config) -> BaseCache:
        """Build the backend from an app's configuration.

        :param config: every ``CACHE_*`` setting, defaults filled in.
        :param args: a copy of ``CACHE_ARGS``.
        :param kwargs: ``default_timeout`` and ``ignore_delete_many_errors``, updated with
            ``CACHE_OPTIONS``.
        """
        return cls()

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        _adopt_mixins(cls)
        written = vars(cls)
        if "aget" in written or "get" in written:
            cls.async_native = "get" not in written
        complete_pairs(cls, PAIRS)

    def _normalize_timeout(self, timeout: float | dt.timedelta | None) -> int:
        # cachelib deprecates float seconds; ours are allowed everywhere, and rounded up here.
        return super()._normalize_timeout(whole_seconds(timeout))

    # --- plain operations: what a subclass writes, in either colour -------------------------------

    get, aget = pair(defaults.get)
    set, aset = pair(defaults.set)
    delete, adelete = pair(defaults.delete)
    add, aadd = pair(defaults.add)
    has, ahas = pair(defaults.has)
    get_many, aget_many = pair(defaults.get_many)
    get_dict, aget_dict = pair(defaults.get_dict)
    set_many, aset_many = pair(defaults.set_many)
    delete_many, adelete_many = pair(defaults.delete_many)
    unlink, aunlink = pair(defaults.unlink)
    inc, ainc = pair(defaults.inc)
    dec, adec = pair(defaults.dec)
    clear, aclear = pair(defaults.clear)
    close, aclose = pair(defaults.close)
    ping, aping = pair(defaults.ping)

    def _warn_of_risks(self) -> None:  # noqa: B027
        """Warn of what is not safe; called when an app was set up, with its serializer."""

    # --- its life ---------------------------------------------------------------------------------

    def open(self) -> None:  # noqa: B027
        """Sync code needs no call of this: it connects when it must."""

    async def aopen(self) -> None:
        """Awaitable :meth:`open`: let the running loop own connections, until :meth:`aclose`.

        That loop must not end before. Without this call, awaitable methods use worker threads.
        """

    def for_prefix(self, prefix: str) -> BaseCache:
        """This backend under another key prefix, over the same connections."""
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__, key_prefix=prefix)
        return view

    def shards(self) -> Sequence[BaseCache]:
        """What this backend spreads its keys over, each as a backend of its own, or itself alone.

        One that is down costs its own keys, and no others.
        """
        return (self,)

    def shard_of(self, key: str) -> int:
        """Which of :meth:`shards` has a key."""
        return 0

    def is_too_large(self, key: str) -> bool:
        """Whether the server has refused a value of this key for its size."""
        return False

    # --- what its errors mean ---------------------------------------------------------------------

    def is_answer(self, error: Exception) -> bool:
        """Whether the server itself said that it cannot do something: then it is up."""
        return False

    def is_timeout(self, error: BaseException) -> bool:
        """Whether a driver gave up waiting for the server."""
        return isinstance(error, TimeoutError)


#: The sync names of all operations that come in pairs.
PAIRS = (*PLAIN, "get_dict", "unlink", "inc", "dec", "clear", "close", "ping", *VERSIONED)


def _adopt_mixins(cls: type) -> None:
    """``class Mine(BaseCache, cachelib.FileSystemCache)`` means cachelib's methods, not ours."""
    for name in PAIRS:
        homes = [kind for kind in cls.__mro__ if name in vars(kind)]
        if homes and homes[0] is BaseCache:
            others = [k for k in homes if not issubclass(BaseCache, k)]
            if others:
                setattr(cls, name, vars(others[0])[name])
