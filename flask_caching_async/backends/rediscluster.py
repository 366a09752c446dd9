"""A cluster of Redis servers."""

from __future__ import annotations

from typing import Any

from ..exceptions import ConfigurationError
from ..typing import Config
from ._connections.per_loop import PerLoop
from ._connections.secrets import host_name, shown
from ._connections.server import KeyPrefix
from ._redis.verbs import RedisTransport
from ._redis.versioned import is_tagged
from .rediscache import RedisCache, Where, common

__all__ = ["RedisClusterCache"]


class RedisClusterCache(RedisCache):
    """A cache on a Redis cluster: operations on several keys take one trip to each node.

    :param cluster: some of its nodes, as ``"host1:port1,host2:port2"``.
    :param password: of the nodes.
    :param redis_url: a URL of one node, instead of ``cluster``.
    :param default_timeout: see :class:`.RedisCache`, as for the rest; all other arguments are given
        to ``redis.RedisCluster``.
    :raises ConfigurationError: if they make no sense together.
    """

    def __init__(
        self,
        cluster: str = "",
        password: str = "",
        default_timeout: float = 300,
        key_prefix: KeyPrefix = "",
        ignore_delete_many_errors: bool = False,
        redis_url: str | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(key_prefix, str) and "{" in key_prefix and not is_tagged(key_prefix):
            raise ConfigurationError(
                f"CACHE_KEY_PREFIX {key_prefix!r} has an open brace, by which a cluster decides "
                "where a key lies: write a whole hash tag, such as '{app}', or none"
            )
        super().__init__(
            host=([] if redis_url else _nodes(cluster), redis_url or None),
            password=password or None,
            default_timeout=default_timeout,
            key_prefix=key_prefix,
            ignore_delete_many_errors=ignore_delete_many_errors,
            **kwargs,
        )

    def _link(self, host: Any, where: Where) -> PerLoop[RedisTransport]:
        from ._redis import connect as clients

        options = dict(where.options)
        options.pop("skip_full_coverage_check", None)  # redis-py has no such check any more
        settings = {"password": where.password, **options}
        return clients.cluster(host, settings, where.budget, where.limit)

    @classmethod
    def factory(
        cls, app: object, config: Config, args: list[Any], kwargs: Config
    ) -> RedisClusterCache:
        """Build it from ``CACHE_REDIS_CLUSTER`` or ``CACHE_REDIS_URL``, and ``_PASSWORD``."""
        common(config, kwargs)
        kwargs.update(
            cluster=config.get("CACHE_REDIS_CLUSTER", ""),
            password=config.get("CACHE_REDIS_PASSWORD", ""),
            redis_url=config.get("CACHE_REDIS_URL", ""),
        )
        return cls(*args, **kwargs)


def _nodes(cluster: str) -> list[tuple[str, int]]:
    """The nodes in a list with commas.

    :raises ConfigurationError: if it is none.
    """
    try:
        pairs = [node.strip().rsplit(":", 1) for node in cluster.split(",")]
        return [(host_name(host), int(port)) for host, port in pairs]
    except (AttributeError, ValueError):
        raise ConfigurationError(
            "CACHE_REDIS_CLUSTER must list nodes as 'host1:port1,host2:port2', or CACHE_REDIS_URL "
            f"name one, not {shown(cluster)}"
        ) from None
