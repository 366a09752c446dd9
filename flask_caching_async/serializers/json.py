"""JSON: readable, and safe to read from any program. Tuples become lists, keys of dicts text."""

from __future__ import annotations

import base64
import json

from cachelib.serializers import BaseSerializer

from ..typing import Value

__all__ = ["JSONSerializer"]

#: Marks bytes, which JSON does not know.
BYTES = "\x00bytes"


class JSONSerializer(BaseSerializer):
    """UTF-8 JSON; bytes are kept as base64."""

    def dumps(self, value: Value, protocol: int = 0) -> bytes:
        """The value as bytes.

        :raises TypeError: if it is more than JSON can say.
        """
        return json.dumps(value, default=_extra, separators=(",", ":")).encode()

    def loads(self, bvalue: bytes) -> Value:
        """The value again."""
        return json.loads(bvalue, object_hook=_again)


def _extra(value: Value) -> Value:
    if isinstance(value, bytes):
        return {BYTES: base64.b64encode(value).decode()}
    raise TypeError(f"a {type(value).__qualname__} is more than JSON can say")


def _again(value: dict[str, Value]) -> Value:
    return base64.b64decode(value[BYTES]) if value.keys() == {BYTES} else value
