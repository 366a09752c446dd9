"""Numbers for people. ``files/dashboard.js`` writes them in the same way."""

from __future__ import annotations

import time

__all__ = ["count", "duration", "moment", "percent", "size", "span"]

#: Stands between a number and its unit: they belong on one line.
SPACE = "\u00a0"
#: What stands where nothing was measured.
NONE = "–"


def count(number: int) -> str:
    """``12,345``."""
    return f"{number:,}"


def percent(ratio: float | None) -> str:
    """``98.2 %``; never ``100 %`` for less than all, nor ``0 %`` for more than nothing.

    :param ratio: 0.0 to 1.0; ``None`` for nothing to divide by.
    """
    if ratio is None:
        return NONE
    if ratio in (0, 1):
        return f"{ratio * 100:.0f}{SPACE}%"
    return f"{min(max(round(ratio * 100, 1), 0.1), 99.9):.1f}{SPACE}%"


def _with_unit(number: float, units: tuple[tuple[float, str], ...]) -> str:
    """A number in the largest unit of which it has at least one, with two digits or three."""
    # What would be rounded to 1,000 of a unit is 1 of the next one.
    factor, unit = next((pair for pair in units if number >= pair[0] * 0.9995), units[-1])
    number /= factor
    text = f"{number:.1f}" if round(number, 1) < 10 else f"{number:,.0f}"
    return f"{text.removesuffix('.0')}{SPACE}{unit}"


DURATIONS = ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))


def duration(seconds: float | None) -> str:
    """``840 µs``, ``3.4 ms``, ``12 s``; a dash for nothing measured."""
    return _with_unit(seconds, DURATIONS) if seconds else NONE


def size(number: float) -> str:
    """``640 B``, ``12.4 kB``, ``3.1 MB``."""
    return _with_unit(number, SIZES) if number else NONE


def span(seconds: float | None) -> str:
    """A time between two moments, in at most two units: ``3 s``, ``2 h 5 min``, ``3 d``."""
    if seconds is None:
        return NONE
    words: list[str] = []
    left = round(abs(seconds))
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        number, left = divmod(left, length)
        if number or (unit == "s" and not words):
            words.append(f"{number}{SPACE}{unit}")
        elif words:
            break
    return ("−" if seconds <= -0.5 else "") + " ".join(words[:2])


def moment(epoch: float) -> str:
    """A moment in UTC: ``2026-11-27 09:30:12 UTC``."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(epoch))
