"""The backend that keeps values in the memory of a uWSGI server, for all of its workers."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib
import math
import time
from collections.abc import Iterator
from typing import Any

from .._entries.times import NEVER
from ..backends.base import new_token
from ..exceptions import ConfigurationError
from ..typing import Config, Timeout, Value
from ._dated import NOTHING, DatedCache, Held, digest, unwrap

__all__ = ["UWSGICache"]

#: Bytes of the longest key that is used as it is. uWSGI takes 2048 where its ``keysize`` is not
#: set, does not say what it is set to, stores nothing under a longer key without saying so, and
#: looks up only the end of one that is longer than 65535.
LONGEST_KEY = 128
#: Seconds after which the death of a process that was about to change a key is taken for granted.
PATIENCE = 1.0
#: Seconds after which uWSGI may remove what such a one left behind.
LOCK_LIFE = 60


class UWSGICache(DatedCache):
    """Keeps values in a cache of the uWSGI server that runs the app: ``--cache2 name=…,items=…``.

    All workers of the server share it. uWSGI stores no value that is larger than its ``blocksize``
    (64 KB; see ``bitmap``), and nothing new when all ``items`` are taken, unless with ``lru=1``.
    Expiry is exact here, also without ``--master`` and with ``lru=1``, where uWSGI itself lets
    nothing expire. ``lru`` together with ``lazy`` keeps nothing that has a timeout. A cache of
    another server that cannot be reached looks like one that is empty and full: uWSGI tells no
    difference, so a deletion that did not get there goes unnoticed.

    :param default_timeout: seconds that a value lives when it is given no timeout; 0 never
        expires.
    :param cache: the name of the cache, of the server's first one if it is empty, or of one
        elsewhere: ``name@host:port``.
    :param ignore_delete_many_errors: accepted for compatibility; no deletion fails here.
    :raises ConfigurationError: outside of uWSGI, or if the server has no such cache.
    """

    def __init__(
        self,
        default_timeout: float | dt.timedelta = 300,
        cache: str = "",
        ignore_delete_many_errors: bool = False,
    ) -> None:
        super().__init__(default_timeout, ignore_delete_many_errors)
        self.where = self.cache = cache
        self._uwsgi = _server(cache)
        # Shared memory is faster than the way to a worker thread.
        self.blocking = "@" in cache  # type: ignore[misc]

    @classmethod
    def factory(cls, app: object, config: Config, args: list[Any], kwargs: Config) -> UWSGICache:
        """Build it from ``CACHE_UWSGI_NAME``; ``CACHE_OPTIONS`` wins."""
        return cls(*args, **{"cache": config.get("CACHE_UWSGI_NAME") or "", **kwargs})

    def get(self, key: str) -> Value:
        """The value of ``key``, or ``None``."""
        return self._look(_name(key)).value

    def has(self, key: str) -> bool:
        """Whether there is a value (a ``None`` counts), without decoding it."""
        data = self._uwsgi.cache_get(_name(key), self.cache)
        return data is not None and self._lives((unwrap(data) or (NEVER,))[0])

    def set(self, key: str, value: Value, timeout: Timeout | None = None) -> bool:
        """Store a value; False if uWSGI has no room for it, and then there is none."""
        expiry = self._expiry(timeout)
        return self._store(_name(key), self._wrap(value, expiry), expiry)

    def add(self, key: str, value: Value, timeout: Timeout | None = None) -> bool:
        """Store a value unless the key has one; of several callers in all workers, one succeeds."""
        name, expiry = _name(key), self._expiry(timeout)
        data = self._wrap(value, expiry)
        if self._uwsgi.cache_set(name, data, self._life(expiry), self.cache):
            return True
        if self._look(name).living:
            return False
        # Something dead is in the way.
        with self._alone(key):
            return not self._look(name).living and self._store(name, data, expiry)

    def delete(self, key: str) -> bool:
        """Delete a key; whether it existed."""
        existed = self.has(key)
        self._uwsgi.cache_del(_name(key), self.cache)
        return existed

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Add to the number under ``key``, atomically; its time runs on.

        uWSGI's own ``cache_inc`` does not say what the sum is, cuts any other value down to its
        first 8 bytes, and overwrites the number where the cache is that of another server.
        """
        name = _name(key)
        with self._alone(key):
            total, expiry = self._sum(self._look(name), delta)
            return total if self._store(name, self._wrap(total, expiry), expiry) else None

    def clear(self) -> bool:
        """Empty this cache of the server, also of what other programs have put into it."""
        return bool(self._uwsgi.cache_clear(self.cache))

    def _look(self, name: bytes) -> Held:
        data = self._uwsgi.cache_get(name, self.cache)
        if data is None:
            return NOTHING
        # What cachelib's class has stored has no header: uWSGI keeps its time.
        return self._held(*(unwrap(data) or (NEVER, data)))

    def _store(self, name: bytes, data: bytes, expiry: float) -> bool:
        if self._uwsgi.cache_update(name, data, self._life(expiry), self.cache):
            return True
        self._uwsgi.cache_del(name, self.cache)  # what was there is not what was set
        return False

    def _life(self, expiry: float) -> int:
        """Whole seconds after which uWSGI may remove something, and not earlier; 0 for never."""
        return 0 if expiry == NEVER else max(1, math.ceil(expiry - self.clock()) + 1)

    @contextlib.contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Do something while no other thread or worker does so with the same key.

        One that is killed in here is overruled after :data:`PATIENCE`. A cache that is full takes
        no lock; then it goes without.
        """
        name, token = _name(f"~alone~{key}"), new_token().encode()
        holder, since = None, time.monotonic()
        while not self._uwsgi.cache_set(name, token, LOCK_LIFE, self.cache):
            seen = self._uwsgi.cache_get(name, self.cache)
            if seen != holder:
                holder, since = seen, time.monotonic()
            elif time.monotonic() - since > (PATIENCE if seen else PATIENCE / 20):
                self._uwsgi.cache_update(name, token, LOCK_LIFE, self.cache)
                break
            time.sleep(0.0005)
        try:
            yield
        finally:
            if self._uwsgi.cache_get(name, self.cache) == token:
                self._uwsgi.cache_del(name, self.cache)


def _name(key: str) -> bytes:
    """What a key is called in uWSGI's cache."""
    name = key.encode("utf-8", "surrogatepass")
    return name if len(name) <= LONGEST_KEY else digest(name).encode()


def _server(cache: str) -> Any:
    """The module through which uWSGI talks to the app that it runs."""
    try:
        uwsgi = importlib.import_module("uwsgi")
    except ImportError as error:
        raise ConfigurationError(
            "UWSGICache works only in an app that a uWSGI server runs (pip install uwsgi, then "
            "uwsgi --cache2 name=mycache,items=1000 …); elsewhere, FileSystemCache serves all "
            "processes of a machine"
        ) from error
    if "@" not in cache:
        try:
            uwsgi.cache_keys(cache)  # the one call that tells a missing cache from an empty one
        except ValueError as error:
            wanted = f"no cache named {cache!r}" if cache else "no cache"
            raise ConfigurationError(
                f"this uWSGI server has {wanted}: start it with "
                f"--cache2 name={cache or 'mycache'},items=1000"
                + (", or correct CACHE_UWSGI_NAME" if cache else "")
            ) from error
    return uwsgi
