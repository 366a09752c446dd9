"""How names and values lie on Memcached.

Memcached cannot list its keys, so ``clear`` cannot find what to remove. Therefore all that is set
by hand has a *header*: the version of the namespace, and the time until which the value is good.
``clear`` drops that version, and what carries it is dead. (The server's own clock ticks once a
second: it only decides when memory is freed.) What has no header was stored by the decorators,
whose entries name that version among those of their tags, or by another program.

A value lies under ``<prefix><key>``, its key version under ``<prefix>~mark~<key>``, and so on. A
name that Memcached would refuse becomes a digest, and so does a key that looks like a name of ours.
"""

from __future__ import annotations

import functools
import logging
import math
import re
import time
import zlib
from hashlib import blake2b
from typing import NamedTuple

from cachelib.serializers import BaseRedisSerializer

from ..._entries.entry import MISSING
from ...events import Place, about
from ...typing import Value
from .._connections.server import ServerCache
from .._versioned.contract import NAMESPACE

__all__ = [
    "NAMESPACE",
    "MemcachedValues",
    "Header",
    "exptime",
    "name_of",
    "own_name",
    "piece_name",
    "split",
]

log = logging.getLogger("flask_caching_async")

#: Beyond as many seconds Memcached takes a number for a time since the epoch, which ends in 2038.
RELATIVE, LATEST = 30 * 24 * 3600, 2**31 - 1

_accepted = re.compile(r"[!-~]{1,250}").fullmatch
#: Only names that were made here contain it.
_OURS = "~~"


@functools.lru_cache(2048)
def name_of(prefix: str, key: str) -> str:
    """The name of a key on the server; nothing else has the same one."""
    # Names with a tilde in front are ours: no key is the version of another one.
    full = prefix + key
    if _accepted(full) and _OURS not in full and not key.startswith("~"):
        return full
    return _digest(prefix, full, b"key")


@functools.lru_cache(2048)
def own_name(prefix: str, what: str) -> str:
    """The name of something that belongs to the cache: the version of a tag, of a key …"""
    full = prefix + what
    if _accepted(full) and _OURS not in full and what.startswith("~"):
        return full
    return _digest(prefix, full, b"own")


def piece_name(name: str, number: int) -> str:
    """The name of a piece of what lies under ``name``."""
    full = f"{name}{_OURS}{number}"
    return full if len(full) <= 250 else _digest("", full, b"piece")


def _digest(prefix: str, full: str, kind: bytes) -> str:
    what = full.encode("utf-8", "surrogatepass")
    digest = blake2b(what, digest_size=24, person=kind).hexdigest()
    kept = prefix if len(prefix) <= 100 and _accepted(prefix) and _OURS not in prefix else ""
    return f"{kept}{_OURS}{digest}"


def exptime(life: float) -> int:
    """What to tell the server of something that must live for ``life`` seconds; 0 is for ever.

    The server may end it one second early, so it gets one more.
    """
    if life == 0 or math.isinf(life):
        return 0
    rounded = math.ceil(life) + 1
    if rounded <= RELATIVE:
        return max(rounded, 1)
    until = int(time.time()) + rounded
    return until if until <= LATEST else 0


class Header(NamedTuple):
    """What stands in front of a value that was set by hand.

    :param token: the namespace's when it was set.
    :param until: seconds since the epoch.
    """

    token: str
    until: float

    def around(self, payload: bytes) -> bytes:
        """A value with this header."""
        return b"%b%b %b\n%b" % (_HEADER, self.token.encode(), repr(self.until).encode(), payload)


_HEADER = b"\x00fca "


def split(raw: bytes) -> tuple[Header | None, bytes]:
    """A stored value without its header, and the header, if it has one; a broken one is over."""
    if not raw.startswith(_HEADER):
        return None, raw
    head, _, payload = raw[len(_HEADER) :].partition(b"\n")
    try:
        token, until = head.decode().split(" ")
        return Header(token, float(until)), payload
    except ValueError:
        return Header("", 0.0), b""


class MemcachedValues(ServerCache):
    """What all Memcached backends know about names and values."""

    clears_plain_values = False

    #: The keys of values that were too large, and of which a warning has been logged.
    _warned: dict[str, None]

    def _decode(self, raw: Value, flags: int, token: str | None) -> Value:
        """The value in what was stored, or ``MISSING`` where it is dead or cannot be read.

        :param token: the namespace's, ``None`` if it has none.
        """
        if type(raw) is not bytes:  # a client has decoded it, or found nothing
            return MISSING if raw is None else raw
        payload = raw
        if raw.startswith(_HEADER):
            header, payload = split(raw)
            if header is not None and (header.token != token or self.clock() >= header.until):
                return MISSING  # cleared, or over
        try:
            return self.serializer.loads(payload) if flags == 0 else self._foreign(payload, flags)
        except Exception:
            return MISSING

    def _foreign(self, raw: bytes, flags: int) -> Value:
        """A value that another client has stored.

        :param flags: none are ours. Other clients have agreed on the meaning of some: 1 pickle, 2
            and 4 a number, 8 compressed, 16 text.
        """
        if flags & 8:
            raw = zlib.decompress(raw)
        kind = flags & ~8
        if kind == 16:
            return raw.decode()
        if kind in (2, 4):
            return int(raw)
        if kind == 1 and isinstance(self.serializer, BaseRedisSerializer):
            raw = b"!" + raw  # that is how it knows a pickle
        return self.serializer.loads(raw)

    def is_too_large(self, key: str) -> bool:
        """Whether the server has refused a value of this key for its size."""
        return key in self._warned

    def _too_large(self, key: str) -> None:
        """Say once that the value of a key is too large for the server."""
        if key not in self._warned:
            place, cause = Place(backend=type(self).__name__, where=self.where), "too-large"
            extra = about("value_refused", **place, key=key, cause=cause)
            log.warning("not stored: the value of %r is too large for Memcached", key, extra=extra)
        self._warned[key] = None
        while len(self._warned) > 1000:
            del self._warned[next(iter(self._warned))]
