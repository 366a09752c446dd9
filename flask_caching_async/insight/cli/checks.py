"""What ``flask cache doctor`` looks for; each finding says what to write."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, TypeAlias

from ...backends._files.foreign import unpickles, writers_of
from ...backends.filesystemcache import FileSystemCache
from ...backends.foreign import ForeignCache
from ...config.settings import DEFAULTS, OTHERS
from ...decorators.debug_checks import registered_before
from ...typing import Config, Value
from ..health import Health
from .apps import Target, names_of
from .output import duration

__all__ = ["CHECKS", "LEVELS", "Finding", "Level"]

Level: TypeAlias = Literal["error", "warning", "advice"]
#: From the weightiest on. An error is what keeps the cache from doing what it is there for, or lets
#: others run code; a warning will hurt one day; an advice depends on what cannot be seen here.
LEVELS: tuple[Level, ...] = ("error", "warning", "advice")

#: Seconds above which a server that hangs makes visitors wait for too long.
LONG = 5.0


class Finding(NamedTuple):
    """Something that is not as it should be.

    :param name: the same for all of its kind.
    :param text: what is so.
    :param advice: what to write.
    """

    level: Level
    name: str
    text: str
    advice: str


Check: TypeAlias = Callable[[Target, Health], Iterator[Finding]]


# --- the backend ----------------------------------------------------------------------------------


def nothing_is_cached(target: Target, health: Health) -> Iterator[Finding]:
    """NullCache, be it on purpose."""
    if not target.binding.null:
        return
    meant = bool(target.binding.config.get("CACHE_NO_NULL_WARNING"))
    yield Finding(
        "warning" if meant else "error",
        "null-cache",
        "CACHE_TYPE is NullCache, so nothing is cached",
        "set CACHE_TYPE to 'SimpleCache' for one process, 'FileSystemCache' or 'RedisCache' for "
        "several",
    )


def unreachable(target: Target, health: Health) -> Iterator[Finding]:
    """The backend does not answer a ping, or slowly."""
    if not health:
        yield Finding(
            "error",
            "unreachable",
            f"{target.described} does not answer: {health.error}",
            f"start it, or say where it is: {_where_to_say(target)}",
        )
    elif health.seconds > target.binding.config.get("CACHE_OPERATION_TIMEOUT", 0.5) / 2:
        yield Finding(
            "warning",
            "slow",
            f"{target.described} took {duration(health.seconds)} to answer, which is more than "
            "half of CACHE_OPERATION_TIMEOUT",
            "let it be near the app, or set CACHE_OPERATION_TIMEOUT higher",
        )


def _where_to_say(target: Target) -> str:
    kind = target.kind.lower()
    settings = {
        "cluster": "CACHE_REDIS_CLUSTER",
        "sentinel": "CACHE_REDIS_SENTINELS",
        "redis": "CACHE_REDIS_URL",
        "memcache": "CACHE_MEMCACHED_SERVERS",
        "file": "CACHE_DIR",
    }
    found = (setting for part, setting in settings.items() if part in kind)
    return next(found, "CACHE_OPTIONS")


#: How servers are told how many workers there are.
WORKERS = re.compile(r"(?:^|\s)(?:--workers[=\s]|-w[=\s]?)\s*(\d+)")


def memory_of_many(target: Target, health: Health) -> Iterator[Finding]:
    """Memory under several workers; how many there are is known by what servers read, too."""
    if not target.in_memory:
        return
    text = f"{target.kind} keeps its values in the memory of one process"
    advice = "with several workers, set CACHE_TYPE to 'FileSystemCache' or 'RedisCache'"
    for source, count in _told_workers():
        if count > 1:
            told = (
                f"{text}, and {source} says that there are {count} workers: a deletion reaches one"
            )
            yield Finding("error", "memory-of-many", told, advice)
            return
    if not target.app.debug:
        yield Finding("advice", "memory-of-many", f"{text}; each worker has its own", advice)


def _told_workers() -> Iterator[tuple[str, int]]:
    concurrency = os.environ.get("WEB_CONCURRENCY", "")
    if concurrency.isdecimal():
        yield "WEB_CONCURRENCY", int(concurrency)
    found = WORKERS.search(os.environ.get("GUNICORN_CMD_ARGS", ""))
    if found:
        yield "GUNICORN_CMD_ARGS", int(found[1])


# --- who else is there ----------------------------------------------------------------------------


def _on_server(target: Target) -> bool:
    backend = target.binding.timekeeper
    return backend.shared and not isinstance(backend, FileSystemCache)


def prefix(target: Target, health: Health) -> Iterator[Finding]:
    """Keys that are not told apart from those of others on the same server."""
    own = target.binding.timekeeper.key_prefix
    if not _on_server(target) or not isinstance(own, str):
        return
    write = f"set CACHE_KEY_PREFIX to '{getattr(target.app, 'name', '') or 'shop'}:', for example"
    if not own:
        yield Finding(
            "warning",
            "no-prefix",
            "CACHE_KEY_PREFIX is empty: whoever shares the server has the same keys, and clear() "
            "removes theirs",
            write,
        )
    elif own[-1].isalnum():
        text = f"CACHE_KEY_PREFIX {own!r} ends in a letter or digit: clear() also removes what is "
        yield Finding(
            "warning", "open-prefix", f"{text}under {own + '2'!r}", f"write {own + ':'!r}"
        )
    elif own == DEFAULTS["CACHE_KEY_PREFIX"]:
        text = (
            f"CACHE_KEY_PREFIX is the usual {own!r}: two apps with it on one server are one cache"
        )
        yield Finding("advice", "usual-prefix", text, write)


def same_place(target: Target, health: Health) -> Iterator[Finding]:
    """Two caches of the app that store in one place under one prefix."""
    if target.in_memory or target.binding.null:
        return
    for name, cache in names_of(target.app).items():
        other = Target(target.app, cache, name)
        if name != target.name and _place(other) == _place(target):
            yield Finding(
                "warning",
                "same-place",
                f"the caches {target.name!r} and {name!r} store in one place under one prefix, so "
                "clear() of one drops what the other has",
                "give each a CACHE_KEY_PREFIX, or a CACHE_DIR, of its own",
            )


def _place(target: Target) -> tuple[Value, ...]:
    backend = target.binding.timekeeper
    # Of a backend that does not say where it is, two are the same only if they are one.
    return target.kind, backend.where or id(backend), backend.key_prefix


def pickles(target: Target, health: Health) -> Iterator[Finding]:
    """What others can write is unpickled."""
    backend, serializer = target.binding.timekeeper, target.serializer
    if not (serializer is not None and unpickles(serializer)):
        return
    json = "CACHE_SERIALIZER to flask_caching_async.serializers.JSONSerializer"
    if isinstance(backend, FileSystemCache):
        who = writers_of(backend.where) if os.path.exists(backend.where) else ""
        if who:
            yield Finding(
                "error",
                "open-directory",
                f"CACHE_DIR {backend.where!r} {who}, and what is found there is unpickled: a file "
                "of theirs can run any code in this app",
                f"make it a directory of its own with the mode 0700, or set {json}",
            )
    elif _on_server(target):
        yield Finding(
            "warning",
            "pickle",
            f"what {target.described} holds is unpickled, and a pickle is not signed: who can "
            "write there can run any code in this app",
            f"set {json} where values are plain data, and let only your apps reach the server",
        )


# --- settings -------------------------------------------------------------------------------------


def names(target: Target, health: Health) -> Iterator[Finding]:
    """Settings that nobody here reads."""
    config = target.binding.config
    own = {name.removeprefix("CACHE_"): name for name in (*DEFAULTS, *OTHERS)}
    known = set(own.values())
    for name in config:
        if not (isinstance(name, str) and name.startswith("CACHE_")) or name in known:
            continue
        near = difflib.get_close_matches(name.removeprefix("CACHE_"), own, 1, 0.6)
        meant = f"did you mean {own[near[0]]}?" if near else ""
        close = bool(near) and difflib.SequenceMatcher(None, name, own[near[0]]).ratio() > 0.85
        yield Finding(
            "warning" if close else "advice",
            "unknown-setting",
            f"{name} is no setting of a cache",
            meant or "remove it, unless something else reads it",
        )


def timeouts(target: Target, health: Health) -> Iterator[Finding]:
    """Times without an end, or so long that they are as good as none."""
    config, settings = target.binding.config, target.binding.settings
    if not settings.default_timeout and not target.binding.null:
        yield Finding(
            "warning",
            "no-timeout",
            "CACHE_DEFAULT_TIMEOUT is 0: what has no timeout of its own never expires",
            "set CACHE_DEFAULT_TIMEOUT to the seconds for which an old value does no harm",
        )
    if _on_server(target):
        for name, value in _budgets(config):
            if value > LONG:
                yield Finding(
                    "warning",
                    "long-timeout",
                    f"{name} is {value:g} s: so long a visitor waits for a server that hangs",
                    f"set {name} to 1.0 or less",
                )
        if not settings.limits.threshold:
            yield Finding(
                "warning",
                "no-breaker",
                "CACHE_BREAKER_THRESHOLD is 0: each visitor waits for a server that hangs",
                "leave it at 5",
            )
    yield from _foreign_timeouts(target)


def _budgets(config: Config) -> Iterator[tuple[str, float]]:
    options = config.get("CACHE_OPTIONS") or {}
    for name in ("CACHE_CONNECT_TIMEOUT", "CACHE_OPERATION_TIMEOUT"):
        yield name, config[name]
    for name in ("socket_timeout", "socket_connect_timeout", "operation_timeout"):
        value = options.get(name)
        if isinstance(value, (int, float)):
            yield f"{name} in CACHE_OPTIONS", value


def _foreign_timeouts(target: Target) -> Iterator[Finding]:
    """A client of redis-py in a backend that was written elsewhere waits for ever, unless told."""
    backend = target.binding.timekeeper
    client = getattr(getattr(backend, "target", None), "_write_client", None)
    pool = getattr(client, "connection_pool", None)
    if isinstance(backend, ForeignCache) and pool is not None:
        if not pool.connection_kwargs.get("socket_timeout"):
            yield Finding(
                "warning",
                "no-timeout",
                f"{target.kind} waits for ever for a server that hangs",
                "set CACHE_OPTIONS to {'socket_timeout': 0.5, 'socket_connect_timeout': 1.0}, or "
                "CACHE_TYPE to 'RedisCache'",
            )


# --- code -----------------------------------------------------------------------------------------


def order(target: Target, health: Health) -> Iterator[Finding]:
    """Views that were registered before they were cached."""
    for plan in registered_before(target.binding, target.cache._views):
        yield Finding(
            "error",
            "order",
            f"{plan.name} was registered as a view before it was cached, so requests never reach "
            "the cache",
            "put @cache.cached below @app.route",
        )


CHECKS: tuple[Check, ...] = (
    unreachable, nothing_is_cached, memory_of_many, pickles, order, prefix, same_place, timeouts,
    names,
)  # fmt: skip
