"""Redis behind sentinels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..exceptions import ConfigurationError
from ..typing import Config
from ._connections.per_loop import PerLoop
from ._connections.secrets import host_name, shown
from ._connections.server import KeyPrefix
from ._redis.verbs import RedisTransport
from .rediscache import RedisCache, Where, common

__all__ = ["RedisSentinelCache"]

DEFAULT = (("127.0.0.1", 26379),)


class RedisSentinelCache(RedisCache):
    """A cache on the master that Redis sentinels name; it follows a failover.

    :param sentinels: ``(host, port)`` of each sentinel.
    :param master: the name of the master.
    :param password: of the master; ``sentinel_password`` is that of the sentinels, and all other
        arguments that begin with ``sentinel_`` are for them, too.
    :param db: the number of the database.
    :param default_timeout: see :class:`.RedisCache`, as for the rest.
    :raises ConfigurationError: if they make no sense together.
    """

    def __init__(
        self,
        sentinels: Sequence[tuple[str, int]] | None = None,
        master: str = "mymaster",
        password: str | None = None,
        db: int = 0,
        default_timeout: float = 300,
        key_prefix: KeyPrefix = "",
        ignore_delete_many_errors: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            host=(_addresses(sentinels or DEFAULT), master),
            password=password,
            db=db,
            default_timeout=default_timeout,
            key_prefix=key_prefix,
            ignore_delete_many_errors=ignore_delete_many_errors,
            **kwargs,
        )

    def _link(self, host: Any, where: Where) -> PerLoop[RedisTransport]:
        from ._redis import connect as clients

        options = where.options
        for_sentinels = {n[9:]: v for n, v in options.items() if n.startswith("sentinel_")}
        settings = {n: v for n, v in options.items() if not n.startswith("sentinel_")}
        settings.update(password=where.password, db=where.db)
        try:
            return clients.sentinel(host, settings, for_sentinels, where.budget, where.limit)
        except TypeError as error:
            raise ConfigurationError(f"redis does not take these settings: {error}") from error

    @classmethod
    def factory(
        cls, app: object, config: Config, args: list[Any], kwargs: Config
    ) -> RedisSentinelCache:
        """Build it from ``CACHE_REDIS_SENTINELS``, ``…_SENTINEL_MASTER``, ``…_SENTINEL_PASSWORD``,
        ``CACHE_REDIS_PASSWORD`` and ``CACHE_REDIS_DB``."""
        common(config, kwargs)
        kwargs.update(
            sentinels=config.get("CACHE_REDIS_SENTINELS") or DEFAULT,
            master=config.get("CACHE_REDIS_SENTINEL_MASTER", "mymaster"),
            password=config.get("CACHE_REDIS_PASSWORD"),
            db=config.get("CACHE_REDIS_DB", 0),
        )
        password = config.get("CACHE_REDIS_SENTINEL_PASSWORD")
        if password is not None:
            kwargs["sentinel_password"] = password
        return cls(*args, **kwargs)


def _addresses(sentinels: Any) -> list[tuple[str, int]]:
    """Sentinels as pairs of host and port.

    :raises ConfigurationError: if they are none.
    """
    try:
        if isinstance(sentinels, str):
            sentinels = [one.strip().rsplit(":", 1) for one in sentinels.split(",")]
        return [(host_name(host), int(port)) for host, port in sentinels]
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"CACHE_REDIS_SENTINELS must be a list of (host, port), not {shown(sentinels)}"
        ) from None
