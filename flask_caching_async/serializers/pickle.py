"""Pickle: takes almost every Python object; never read one that a stranger may have written."""

from __future__ import annotations

import pickle

from cachelib.serializers import BaseSerializer

from ..typing import Value

__all__ = ["PickleSerializer"]


class PickleSerializer(BaseSerializer):
    """The newest pickle protocol. What cannot be pickled raises, instead of being dropped."""

    def dumps(self, value: Value, protocol: int = pickle.HIGHEST_PROTOCOL) -> bytes:
        """The value as bytes."""
        return pickle.dumps(value, protocol)

    def loads(self, bvalue: bytes) -> Value:
        """The value again."""
        return pickle.loads(bvalue)
