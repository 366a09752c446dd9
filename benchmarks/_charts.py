"""Charts as SVG, in plain Python: text and lines in the colour of the page, bars in tones that can
be told from white and from black. Widths are percentages, so that the text stays readable on a
narrow screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from _harness import OURS, Row, Table, amount, number

BLUE, ORANGE, GREY = "#2f7fd6", "#c2620e", "#7d8590"
#: Of lines; ours is the first, a limit is grey.
PALETTE = (BLUE, ORANGE, "#2a9d6f", "#9a5fc8", "#d1495b", "#8c6d3f", "#1f9aa5", "#b05aa0")
FONT = 'font-family="system-ui, sans-serif" font-size="13" fill="currentColor"'
STEP = 34


def svg(title: str, height: float, parts: Sequence[str]) -> str:
    """The document around the parts of a chart."""
    label = escape(title, quote=True)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" height="{height:.0f}"'
    look = f'role="img" aria-label="{label}" {FONT} style="margin-bottom: 1.5em"'
    return "\n".join([f"{head} {look}>", *parts, "</svg>\n"])


def text(x: str, y: float, words: str, more: str = "") -> str:
    return f'<text x="{x}" y="{y:.0f}"{more}>{escape(words)}</text>'


def line(ends: tuple[float, float, float, float], more: str) -> str:
    """A line; what is horizontal is in percent, what is vertical in pixels."""
    x1, y1, x2, y2 = ends
    return f'<line x1="{x1:.2f}%" y1="{y1:.1f}" x2="{x2:.2f}%" y2="{y2:.1f}" {more}/>'


# --- bars -----------------------------------------------------------------------------------------


def bars(table: Table) -> str:
    """One bar for each row: how it compares to ours, or its figure where that has an end."""
    rows = [row for row in table.rows if row.figure is not None]
    linear = table.more_is_better or table.unit == "bytes"
    parts = [text("0", 14, table.title, ' font-weight="600"')]
    parts += _from_zero(table, rows) if linear else _from_ours(table, rows)
    return svg(table.title, 26 + STEP * len(rows), parts)


def _from_zero(table: Table, rows: list[Row]) -> Iterator[str]:
    most = max(row.figure or 0 for row in rows) or 1
    for place, row in enumerate(rows):
        end = 100 * (row.figure or 0) / most
        ahead = (row.to_us or 1) > 1 if table.more_is_better else (row.to_us or 1) < 1
        colour = GREY if row.name == table.limit else BLUE if ahead else ORANGE
        if row.name == OURS:
            colour = "currentColor"
        yield from _row(table, row, place, (0, end), colour)


def _from_ours(table: Table, rows: list[Row]) -> Iterator[str]:
    """Bars that begin where ours ends: to the left is faster, to the right slower."""
    ratios = [row.to_us for row in rows if row.to_us]
    low, high = math.log(min([*ratios, 0.8])), math.log(max([*ratios, 1.25]))

    def at(ratio: float) -> float:
        return 100 * (math.log(ratio) - low) / (high - low)

    ours = at(1)
    for place, row in enumerate(rows):
        end = at(row.to_us or 1)
        ahead = end < ours
        colour = GREY if row.name == table.limit else BLUE if ahead else ORANGE
        yield from _row(table, row, place, (min(ours, end), max(ours, end)), colour)
        middle, rule = 24 + STEP * place + 23.5, 'stroke="currentColor" stroke-width="2"'
        yield line((ours, middle - 6, ours, middle + 6), rule)


def _row(
    table: Table, row: Row, place: int, ends: tuple[float, float], colour: str
) -> Iterator[str]:
    top = 24 + STEP * place
    bold = ' font-weight="600"' if row.name in (OURS, table.base) else ""
    unit = {"% hits": "%", "computations": ""}.get(table.unit, table.unit)
    figure = f"{amount(table, row)} {unit}".rstrip()
    if row.to_us is not None and not bold:
        figure += f" \N{MIDDLE DOT} {number(row.to_us)} \N{MULTIPLICATION SIGN}"
    yield text("0", top + 14, row.name, bold)
    yield text("100%", top + 14, figure, f' text-anchor="end"{bold}')
    width = max(ends[1] - ends[0], 0)
    yield (
        f'<rect x="{ends[0]:.2f}%" y="{top + 20}" width="{width:.2f}%" height="7" rx="1"'
        f' fill="{colour}"/>'
    )


# --- lines ----------------------------------------------------------------------------------------

LEFT, RIGHT, TOP, HEIGHT = 9.0, 99.0, 34, 220


def lines(title: str, tables: list[Table]) -> str:
    """A line for each candidate over a series of tables, both axes logarithmic."""
    names = list(dict.fromkeys(row.name for table in tables for row in table.rows))
    found = {
        name: [
            (place, row.figure)
            for place, table in enumerate(tables)
            for row in table.rows
            if row.name == name and row.figure
        ]
        for name in names
    }
    figures = [figure for points in found.values() for _, figure in points]
    low, high = math.floor(math.log10(min(figures))), math.ceil(math.log10(max(figures)))

    def x(place: int) -> float:
        return LEFT + (RIGHT - LEFT - 4) * place / max(1, len(tables) - 1) + 2

    def y(figure: float) -> float:
        return TOP + HEIGHT * (high - math.log10(figure)) / (high - low)

    parts = [text("0", 14, f"{title} [{tables[0].unit}]", ' font-weight="600"')]
    for power in range(low, high + 1):
        grid = 'stroke="currentColor" stroke-opacity="0.2"'
        parts.append(line((LEFT, y(10**power), RIGHT, y(10**power)), grid))
        parts.append(text("0", y(10**power) + 4, short(10**power), ' font-size="11"'))
    for place, table in enumerate(tables):
        middle = ' text-anchor="middle" font-size="11"'
        parts.append(text(f"{x(place):.2f}%", TOP + HEIGHT + 16, short(table.at or 0), middle))
    colours = iter(PALETTE[1:])
    drawn = {name: BLUE if name == OURS else _colour(name, tables, colours) for name in names}
    for name, points in found.items():
        stroke = f'stroke="{drawn[name]}" stroke-width="{3.5 if name == OURS else 2}"'
        for (a, before), (b, after) in zip(points, points[1:], strict=False):
            parts.append(line((x(a), y(before), x(b), y(after)), stroke))
        for place, figure in points:
            dot = f'cx="{x(place):.2f}%" cy="{y(figure):.1f}" r="3" fill="{drawn[name]}"'
            parts.append(f"<circle {dot}/>")
    top = TOP + HEIGHT + 30
    parts += _legend(drawn, top)
    return svg(title, top + 20 * math.ceil(len(names) / 2) + 4, parts)


def _colour(name: str, tables: list[Table], colours: Iterator[str]) -> str:
    return GREY if name == tables[0].limit else next(colours)


def _legend(drawn: dict[str, str], top: float) -> Iterator[str]:
    """Two columns of names."""
    for place, (name, colour) in enumerate(drawn.items()):
        left, down = 50 * (place % 2), top + 20 * (place // 2)
        yield f'<rect x="{left}%" y="{down}" width="4%" height="10" rx="1" fill="{colour}"/>'
        bold = ' font-weight="600"' if name == OURS else ""
        yield text(f"{left + 5.5}%", down + 10, name, bold)


def short(figure: float) -> str:
    """1k, 10k, 1M."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if figure >= size:
            return f"{figure / size:g}{letter}"
    return f"{figure:g}"
