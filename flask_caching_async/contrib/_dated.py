"""Values that say by themselves when they end, for stores that keep time badly.

uWSGI removes what has expired some seconds late, and not at all without ``--master`` or with
``lru``; Google Cloud Storage never does. So the time stands in front of the serialized value.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import struct
import sys
from collections.abc import Sequence
from typing import NamedTuple

from cachelib.serializers import BaseSerializer

from .._entries.times import NEVER, life_of
from ..backends.base import BaseCache, new_token
from ..serializers import PickleSerializer
from ..serializers._checked import dumps
from ..typing import Timeout, Value

__all__ = ["NOTHING", "DatedCache", "Held", "digest", "unwrap"]

#: Our magic, and when the value ends, in seconds since the epoch; 0 for never.
HEADER = struct.Struct("<5sd")
MAGIC = b"\x00fca1"


class Held(NamedTuple):
    """What a store holds under a key.

    :param living: whether there is a value that can be read and has not expired.
    :param expiry: when it ends, in seconds since the epoch.
    :param generation: which write it comes from, where the store counts them; 0 for none.
    """

    living: bool
    value: Value
    expiry: float
    generation: int = 0


NOTHING = Held(False, None, 0.0)


def unwrap(data: bytes) -> tuple[float, bytes] | None:
    """When a value ends, and the value, still serialized; ``None`` if it is not one of ours."""
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        return None
    return HEADER.unpack_from(data)[1] or NEVER, data[HEADER.size :]


class DatedCache(BaseCache):
    """Base of the backends here."""

    shared = True
    any_text = True
    #: Turns values into bytes and back: anything with cachelib's ``dumps`` and ``loads``.
    serializer: BaseSerializer

    def __init__(
        self,
        default_timeout: float | dt.timedelta = 300,
        ignore_delete_many_errors: bool = False,
    ) -> None:
        super().__init__(default_timeout, ignore_delete_many_errors)
        self.serializer = PickleSerializer()

    def _expiry(self, timeout: Timeout | None) -> float:
        """When something stored now ends."""
        return self.clock() + life_of(self.default_timeout if timeout is None else timeout)

    def _lives(self, expiry: float) -> bool:
        return self.clock() < expiry

    def _wrap(self, value: Value, expiry: float) -> bytes:
        """The bytes of a value.

        :raises SerializationError: if it cannot be stored.
        """
        stored = 0.0 if expiry == NEVER else max(expiry, sys.float_info.min)
        return HEADER.pack(MAGIC, stored) + dumps(self.serializer, value)

    def _held(self, expiry: float, payload: bytes, generation: int = 0) -> Held:
        """What is held in bytes; what has expired or cannot be decoded is as good as nothing."""
        if self._lives(expiry):
            try:
                return Held(True, self.serializer.loads(payload), expiry, generation)
            except Exception:  # whatever it was, it is not readable now: a miss, to be overwritten
                pass
        return Held(False, None, 0.0, generation)

    def ensure_versions(self, tags: Sequence[str], timeout: float) -> list[str | None]:
        """The versions of ``tags``; one that was just created is not looked up again."""
        tokens: list[str | None] = self.get_many(*tags)
        return [
            self._created(name, timeout) if token is None else token
            for name, token in zip(tags, tokens, strict=True)
        ]

    def _created(self, name: str, timeout: float) -> str | None:
        for _ in range(3):  # another process may create it, and another one drop it
            token = new_token()
            if self.add(name, token, math.ceil(timeout)):
                return token
            found: str | None = self.get(name)
            if found is not None:
                return found
        return None

    def _sum(self, held: Held, delta: int) -> tuple[int, float]:
        """The number that is held and ``delta``, and when that ends: the old number's time runs on.

        :raises TypeError: if it is no number.
        """
        if not held.living:
            return delta, self._expiry(None)
        return (held.value or 0) + delta, held.expiry


def digest(key: bytes) -> str:
    """A short name for a key that is too long for a store."""
    return hashlib.sha256(key).hexdigest()
