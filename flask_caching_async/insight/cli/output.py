"""What commands write: aligned tables, times and sizes for people, and JSON for programs.

Keys and names come from visitors, in part. What a terminal would take for an order is written as an
escape.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NoReturn

import click

from ...typing import Value

__all__ = [
    "duration",
    "elapsed",
    "fail",
    "note",
    "one_line",
    "printable",
    "say",
    "say_json",
    "table",
]


# --- text -----------------------------------------------------------------------------------------


def printable(text: str) -> str:
    """A text in which what cannot be shown is escaped: line ends, escape sequences, marks."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """A text of several lines as one that can be shown."""
    return printable(" ".join(text.split()))


def say(text: str = "", *, err: bool = False, nl: bool = True, **style: Value) -> None:
    """Write a line; what its encoding does not have is escaped.

    :param style: colours, as for ``click.style``; they are left out where this is no terminal.
    """
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    click.secho(text, err=err, nl=nl, **style)


def note(text: str) -> None:
    """Say something beside the answer, where a pipe does not get it."""
    say(f"Note: {one_line(text)}", err=True, dim=True)


def fail(text: str) -> NoReturn:
    """End the command with one line, and with the exit code 1.

    :raises click.ClickException: always.
    """
    raise click.ClickException(one_line(text))


def say_json(data: Value, *, indent: int | None = 2) -> None:
    """Write data as JSON, in ASCII."""
    say(json.dumps(data, indent=indent))


# --- tables ---------------------------------------------------------------------------------------


def _width(text: str) -> int:
    """The columns that a text takes on a terminal."""
    wide = sum(unicodedata.east_asian_width(c) in "FW" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def table(rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """Lines in which the columns stand below each other.

    :param rows: the first one is the heading.
    :param left: so many columns are aligned on the left, the others on the right, as numbers.
    """
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for at, (text, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - _width(text))
            cells.append(text + space if at < left else space + text)
        lines.append("  ".join(cells).rstrip())
    return lines


# --- numbers --------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """How long something took: ``0.034 ms``, ``12.3 ms``, ``4.56 s``."""
    if seconds >= 1:
        return f"{_digits(seconds)} s"
    return f"{_digits(seconds * 1000)} ms"


def _digits(number: float) -> str:
    """Three digits, as far as they say something."""
    for digits, bound in ((3, 1), (2, 10), (1, 100)):
        if number < bound:
            return f"{number:.{digits}f}"
    return f"{number:.0f}"


#: Units of time from the largest on; seconds.
UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def elapsed(seconds: float) -> str:
    """A span of time for people: ``12 s``, ``5 min``, ``3 h``, ``2 d``."""
    for name, length in UNITS:
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds:.0f} s"
