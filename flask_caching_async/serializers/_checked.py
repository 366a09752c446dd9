"""Values as bytes, by the serializer that a backend was given."""

from __future__ import annotations

from typing import Protocol

from ..exceptions import SerializationError
from ..typing import Value

__all__ = ["dumps"]


class Dumps(Protocol):
    """The half of a serializer that makes bytes."""

    def dumps(self, value: Value, /) -> object: ...


def dumps(serializer: Dumps, value: Value) -> bytes:
    """The bytes of a value.

    :param serializer: anything with cachelib's ``dumps``.
    :raises SerializationError: if it has none.
    """
    try:
        payload = serializer.dumps(value)
    except Exception as error:
        raise SerializationError(f"cannot serialize a {type(value).__name__}: {error}") from error
    # cachelib's own serializers log some errors, and give None.
    if not isinstance(payload, (bytes, bytearray, memoryview)):
        raise SerializationError(
            f"{type(serializer).__name__}.dumps gave {type(payload).__name__} "
            f"for a {type(value).__name__}, not bytes"
        )
    return bytes(payload)
