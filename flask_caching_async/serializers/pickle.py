"""Pickle: takes almost every Python object; never read one that somebody else may have written."""

from __future__ import annotations

import pickle
from typing import Any

from cachelib.serializers import BaseSerializer

__all__ = ["PickleSerializer"]


class PickleSerializer(BaseSerializer):
    """The newest pickle protocol. What cannot be pickled raises, instead of being dropped."""

    def dumps(self, value: Any, protocol: int = pickle.HIGHEST_PROTOCOL) -> bytes:
        """The value as bytes."""
        return pickle.dumps(value, protocol)

    def loads(self, bvalue: bytes) -> Any:
        """The value again."""
        return pickle.loads(bvalue)
