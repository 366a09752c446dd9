"""What may be a key: a key that is none fails for its caller, before a backend is asked.

A deletion that no backend can ever make would be pending for ever, and stop all reading.
"""

from __future__ import annotations

from collections.abc import Collection

from ..exceptions import InvalidKeyError

__all__ = ["check_text", "check_utf8", "spelled"]


def spelled(key: str) -> str:
    """The name of a key on a backend.

    Names with a tilde in front are ours (versions, leases): a key that has one gets another name.
    """
    return f"~key~{key}" if key.startswith("~") else key


def check_text(keys: Collection[object]) -> None:
    """Refuse a key that is no text.

    :raises InvalidKeyError: for the first of them.
    """
    for key in keys:
        if not isinstance(key, str):
            raise InvalidKeyError(
                f"a cache key must be a string, not {type(key).__name__}: {key!r}"
            )


def check_utf8(keys: Collection[object]) -> None:
    """Refuse a key that is no text, or text that UTF-8 cannot say: a lone surrogate.

    :raises InvalidKeyError: for the first of them.
    """
    try:
        if all(map(str.isascii, keys)):  # type: ignore[arg-type]
            return
    except TypeError:  # one is no text
        pass
    for key in keys:
        if not isinstance(key, str):
            check_text((key,))
        elif not key.isascii():
            try:
                key.encode()
            except UnicodeEncodeError as error:
                raise InvalidKeyError(
                    f"the cache key {key!r} has a lone surrogate, which cannot be sent to a "
                    "server: replace it, or use a hash of the text as the key"
                ) from error
