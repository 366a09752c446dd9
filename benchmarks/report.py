"""Make the charts and tables of the documentation: ``python benchmarks/report.py [results.json]``.

What is written goes to ``docs/_benchmarks/``, from where ``docs/benchmarks.rst`` takes it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from _charts import bars, lines
from _harness import OURS, Results, Row, Table, amount, number
from _peers import PEERS
from run import RESULTS, TOPICS

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "_benchmarks"

#: The contests that get a chart; series get one anyway.
CHARTS = {
    "hits": [
        "memoized def, a number",
        "memoized def, a nested dict",
        "memoized async def, a number",
        "request: a text, sync view",
        "request: a text, async view",
        "a fragment of a template",
    ],
    "misses": ["miss of a memoized def", "miss of a memoized async def"],
    "by_hand": ["get()", "set()"],
    "memory": [
        "memory for an entry",
        "set() into a full cache of 50,000",
    ],
    "eviction": ["Zipf and a scan, 500 entries", "loop, 500 entries"],
    "redis_hits": [
        "Redis: hit of a def",
        "Redis: hit of an async def, long-lived loop",
        "Redis: hit of an async def, a loop for each call",
        "Redis: miss of a def",
    ],
    "memcached_hits": ["Memcached: hit of a def", "Memcached: miss of a def"],
    "file_hits": ["files: hit of a def", "files: miss of a def"],
    "stampede": [
        "100 threads: computations",
        "100 tasks of four loops: computations",
        "4 processes of 25 threads, Redis: computations",
        "4 processes of 25 threads, Redis: time",
    ],
    "servers": [
        "Flask on gunicorn gthread: sync view",
        "Flask on gunicorn gthread: async view",
        "Quart on hypercorn: async view",
        "Quart on uvicorn: async view",
    ],
}

NAMES = [peer.name for peer in PEERS if peer.name != OURS]
#: What is less than this apart is called equal.
EQUAL = 0.05
TIMES = "\N{MULTIPLICATION SIGN}"


def slug(title: str) -> str:
    """A file name."""
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def chart(title: str, drawn: str) -> list[str]:
    """Keep a chart, and show it."""
    name = f"{slug(title)}.svg"
    (FOLDER / name).write_text(drawn, "utf-8")
    return [".. raw:: html", f"   :file: {name}", ""]


def charts(topic: str, tables: list[Table]) -> Iterator[str]:
    """The charts of a topic."""
    by_title = {table.title: table for table in tables}
    for title in CHARTS.get(topic, ()):
        if title in by_title:
            yield from chart(title, bars(by_title[title]))
    for series in dict.fromkeys(table.series for table in tables if table.series):
        found = [table for table in tables if table.series == series]
        yield from chart(series, lines(series, found))


def full(table: Table) -> Iterator[str]:
    """All that was found in one contest."""
    base = "to ours" if table.base == OURS else f"to {table.base}"
    wanted = ", more is better" if table.more_is_better else ""
    columns = ["", table.unit, base, *(["to the limit"] if table.limit else []), ""]
    title = f"{table.title} ({table.unit}{wanted})" + f": {table.about}" * bool(table.about)
    yield from [f".. list-table:: {title}", "   :header-rows: 1", ""]
    yield from listed(columns)
    for row in table.rows:
        name = f"**{row.name}**" if row.name == OURS else row.name
        ratios = [number(row.to_us), *([number(row.to_limit)] if table.limit else [])]
        note = row.note
        if row.name == table.limit:
            note = "; ".join(filter(None, ["the limit", note]))
        yield from listed([name, amount(table, row), *ratios, note.replace("_", "\\_")])
    yield ""


def listed(cells: list[str]) -> Iterator[str]:
    """One row of a list-table."""
    for place, cell in enumerate(cells):
        yield f"   {'* -' if place == 0 else '  -'} {cell}".rstrip()


def matrix(tables: list[Table]) -> Iterator[str]:
    """All contests of a topic at a glance: the ratios of the peers to us, and ours to the limit."""
    tables = [table for table in tables if table.base == OURS and table.series is None]
    names = [name for name in NAMES if any(find(table, name) for table in tables)]
    if not names:
        return
    yield from [".. list-table::", "   :header-rows: 1", "   :class: benchmark", ""]
    yield from listed(["", "ours", "ours to the limit", *names])
    for table in tables:
        own = find(table, OURS)
        if own is None:
            continue
        cells = [cell(table, find(table, name)) for name in names]
        limit = number(own.to_limit) if table.limit else ""
        figure = f"{amount(table, own)} {table.unit}".replace(" % hits", " %")
        yield from listed([table.title, figure, limit, *cells])
    yield ""


def find(table: Table, name: str) -> Row | None:
    """The row of that name."""
    return next((row for row in table.rows if row.name == name), None)


def cell(table: Table, row: Row | None) -> str:
    """A ratio to us; bold where the peer is ahead."""
    if row is None:
        return ""
    if row.to_us is None:
        return "fails"
    return f"**{number(row.to_us)}**" if ahead(table, row) else number(row.to_us)


def ahead(table: Table, row: Row) -> bool:
    """Whether a row is better than ours by more than the noise."""
    if row.to_us is None:
        return False
    better = row.to_us if table.more_is_better else 1 / row.to_us if row.to_us else 0
    return better > 1 + EQUAL


def losses(results: Results) -> Iterator[str]:
    """Where a peer is ahead."""
    yield from [".. list-table::", "   :header-rows: 1", ""]
    yield from listed(["work", "who is ahead, as a ratio to us"])
    for topic in TOPICS:
        found: dict[str, dict[str, list[float]]] = {}
        for table in results.tables(topic):
            for row in table.rows:
                peer = table.base == OURS and row.name.startswith(tuple(NAMES))
                if peer and row.to_us and ahead(table, row):
                    title = found.setdefault(table.series or table.title, {})
                    title.setdefault(row.name, []).append(row.to_us)
        for title, best in found.items():
            yield from listed([title, "; ".join(f"{n} {span(r)}" for n, r in best.items())])
    yield ""


def span(ratios: list[float]) -> str:
    """One ratio, or the least and the most of a series."""
    return " to ".join(dict.fromkeys([number(min(ratios)), number(max(ratios))]))


def about_run(results: Results) -> Iterator[str]:
    """The machine and the versions."""
    run = results.run
    machine, loads = run["machine"], [load for t in results.topics.values() for load in t["load"]]
    seconds = sum(topic["seconds"] for topic in results.topics.values())
    yield (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, "
        f"{machine['python']}, {run['date']}. It took {seconds / 60:.0f} minutes. The "
        f"load of the machine was between {min(loads)} and {max(loads)}, of which the benchmarks "
        "alone make 1 to 2."
    )
    yield ""
    yield ", ".join(f"{name} {version}" for name, version in run["versions"].items()) + "."
    yield ""


def topic_page(topic: str, tables: list[Table]) -> Iterator[str]:
    """What the documentation shows of a topic."""
    yield from charts(topic, tables)
    yield from matrix(tables)
    summary = f"All figures, from <code>benchmarks/{topic}.py</code>"
    yield from [".. raw:: html", "", f"   <details><summary>{summary}</summary>", ""]
    for table in tables:
        yield from full(table)
    yield from [".. raw:: html", "", "   </details>", ""]


def main(path: Path = RESULTS) -> None:
    """Write everything anew."""
    results = Results.read(path)
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    pages = {"run": about_run(results), "ahead": losses(results)}
    pages |= {topic: topic_page(topic, results.tables(topic)) for topic in results.topics}
    for name, page in pages.items():
        (FOLDER / f"{name}.inc").write_text("\n".join(page).rstrip() + "\n", "utf-8")
    print(f"{len(list(FOLDER.iterdir()))} files in {FOLDER}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
