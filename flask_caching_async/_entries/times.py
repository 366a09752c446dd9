"""Times in seconds: how long a timeout is, and when a value is made, stale and gone."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from numbers import Real
from typing import NamedTuple

from ..exceptions import ConfigurationError
from ..typing import Timeout, Value

__all__ = [
    "FOREVER",
    "LONG_AGO",
    "NEVER",
    "Times",
    "duration",
    "life_of",
    "seconds",
    "times_from",
    "times_of_three",
    "whole_seconds",
]

#: Seconds beyond which a timeout is for ever; no backend counts further.
FOREVER = 10_000_000_000
#: The instant at which what never expires does.
NEVER = float("inf")
#: When what is no value, but says where there is one, was fresh last.
LONG_AGO = -1.0


def seconds(timeout: object, name: str = "timeout") -> float | None:
    """A timeout as a number of seconds; ``None`` stays ``None``.

    A ``timedelta`` is rounded up to whole seconds, as in Flask-Caching, so that a part of a second
    never becomes 0, which means "never expires".

    :raises TypeError: if it is neither a number nor a ``timedelta``.
    """
    if timeout is None:
        return None
    if type(timeout) is int:
        return 0 if timeout > FOREVER else timeout
    if type(timeout).__name__ == "timedelta64":  # NumPy's, which is a number, too, of any unit
        given: Value = timeout
        timeout = math.ceil(given / type(given)(1, "s"))
    if isinstance(timeout, timedelta):
        timeout = math.ceil(timeout.total_seconds())
    elif isinstance(timeout, str) and timeout.strip().lstrip("-").isdigit():
        timeout = int(timeout)
    elif not isinstance(timeout, (int, float)) and isinstance(timeout, (Real, Decimal)):
        timeout = float(timeout)  # NumPy's, a fraction
    if isinstance(timeout, (int, float)) and timeout == timeout:
        return 0 if timeout > FOREVER else timeout
    raise TypeError(f"{name} must be seconds or a timedelta, not {timeout!r}")


def whole_seconds(timeout: Timeout | None) -> int | timedelta | None:
    """A timeout for what counts whole seconds; a part of one never becomes 0, which is for ever."""
    if not isinstance(timeout, float):
        return timeout
    return math.ceil(timeout) if timeout > 0 else math.floor(timeout)


def duration(name: str, value: Value) -> float | None:
    """Seconds that a user gave; ``None`` stays ``None``.

    :raises TypeError: if they are no number.
    :raises ConfigurationError: if there are less than none.
    """
    number = None if isinstance(value, bool) else seconds(value, name)
    if isinstance(value, bool) or (number is not None and number < 0):
        raise ConfigurationError(f"{name} must be 0 seconds or more, not {value!r}")
    return number


def life_of(timeout: Timeout | None) -> float:
    """How many seconds something lives that has this timeout; 0 is ``NEVER``."""
    return seconds(timeout) or NEVER


class Times(NamedTuple):
    """When a value was made and until when it is good; seconds since the epoch."""

    created: float
    fresh_until: float
    usable_until: float

    @property
    def life(self) -> float:
        """Seconds that a backend must keep the value; 0 for ever."""
        return 0 if self.usable_until == NEVER else self.usable_until - self.created


#: ``Times(*three)`` in half of the time: what a named tuple has for it is a function of Python.
times_of_three: Callable[[tuple[float, float, float]], Times] = partial(tuple.__new__, Times)


def times_from(now: float, timeout: float) -> Times:
    """The times of a value that is stored at ``now`` for ``timeout`` seconds (0: for ever)."""
    until = NEVER if timeout == 0 else now + timeout
    return times_of_three((now, until, until))
