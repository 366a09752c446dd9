"""Values as bytes, by whatever serializer a backend was given."""

from __future__ import annotations

from typing import Any

from ..exceptions import SerializationError

__all__ = ["dumps"]


def dumps(serializer: Any, value: Any) -> bytes:
    """The bytes of a value.

    :param serializer: anything with cachelib's ``dumps``.
    :raises SerializationError: if it has none.
    """
    try:
        payload: Any = serializer.dumps(value)
    except Exception as error:
        raise SerializationError(f"cannot serialize a {type(value).__name__}: {error}") from error
    # cachelib's own serializers log some errors, and give None.
    if not isinstance(payload, (bytes, bytearray, memoryview)):
        raise SerializationError(
            f"{type(serializer).__name__}.dumps gave {type(payload).__name__} "
            f"for a {type(value).__name__}, not bytes"
        )
    return bytes(payload)
