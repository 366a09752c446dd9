"""Settings as people write them: in a file, where they have types, or in the environment as text.

``app.config.from_prefixed_env()`` reads JSON and leaves everything else as text, ``os.environ`` has
text only. A text that says a number, a truth or a list is read as such; any other is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..exceptions import ConfigurationError
from ..typing import Config, Value

__all__ = ["KINDS", "read_as_written"]

TRUE, FALSE = ("true", "yes", "on", "y", "t", "1"), ("false", "no", "off", "n", "f", "0", "")


def _flag(name: str, text: str) -> bool:
    said = text.strip().lower()
    if said not in TRUE + FALSE:
        raise ConfigurationError(f"{name} must be True or False, not {text!r}")
    return said in TRUE


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
        return int(number) if number == int(number) and "." not in text else number
    except (ValueError, OverflowError):
        raise ConfigurationError(f"{name} must be a number, not {text!r}") from None


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"{name} must be a whole number, not {text!r}") from None


def _several(name: str, text: str) -> list[str]:
    return [one for one in re.split(r"[,;\s]+", text) if one]


def _choice(name: str, text: str) -> str | None:
    said = text.strip().lower()
    return None if said in ("", "none") else said


def _flag_or_name(name: str, text: str) -> bool | str | None:
    """A truth, or a text that is none."""
    said = text.strip().lower()
    if said in ("", "none"):
        return None
    return said in TRUE if said in TRUE + FALSE else text.strip()


#: What a setting is, so what text in it means.
KINDS: dict[str, Callable[[str, str], Value]] = {
    **dict.fromkeys(
        (
            "CACHE_ENABLE_SIGNALS",
            "CACHE_IGNORE_ERRORS",
            "CACHE_LOCK",
            "CACHE_NO_NULL_WARNING",
            "CACHE_RENEWALS",
            "CACHE_SOURCE_CHECK",
            "CACHE_STORE_PRIVATE",
        ),
        _flag,
    ),
    **dict.fromkeys(
        (
            "CACHE_BREAKER_RESET",
            "CACHE_CONNECT_TIMEOUT",
            "CACHE_DEFAULT_TIMEOUT",
            "CACHE_JITTER",
            "CACHE_LOCK_TIMEOUT",
            "CACHE_OPERATION_TIMEOUT",
            "CACHE_STATS_INTERVAL",
        ),
        _number,
    ),
    **dict.fromkeys(("CACHE_BREAKER_THRESHOLD", "CACHE_THRESHOLD", "CACHE_VARIANTS"), _whole),
    **dict.fromkeys(("CACHE_HTTP", "CACHE_STATUS_HEADER", "CACHE_TAG_HEADER"), _flag_or_name),
    "CACHE_MEMCACHED_SERVERS": _several,
    "CACHE_ON_ERROR": _choice,
}


def read_as_written(config: Config) -> Config:
    """A configuration in which text has become what it says.

    :raises ConfigurationError: for text that says nothing of the kind.
    """
    read = dict(config)
    for name, kind in KINDS.items():
        if isinstance(read.get(name), str):
            read[name] = kind(name, read[name])
    return read
