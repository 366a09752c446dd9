"""How everything here is measured: candidates take turns, and what counts is their ratio.

A *contest* is one piece of work, and the *candidates* that do it. In each round every candidate
has one short turn, in an order that is reversed from round to round, so that what slows the
machine down slows all of them down. A ratio is taken within a round, from turns that lie a few
milliseconds apart; what is shown is the median of these ratios. The microseconds are medians,
too, and mean little without the machine.

Where nothing but this process works, the time of the processor is taken, which runs on only while
it does; with servers, threads and waiting it is the time of the clock on the wall.

The garbage collector runs as in a program, but does not look at what was there before.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import inspect
import itertools
import json
import logging
import math
import os
import platform
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

OURS = "flask-caching-async"
#: What turns are timed with, seconds of one turn, and how many rounds there are: ``main`` chooses.
clock, TURN, ROUNDS = time.perf_counter, 0.003, 101

#: Does the work so often, and says how many seconds it took.
Turn = Callable[[int], float]

#: What ``timed`` compiles: the statement stands in the loop, so that no call is added to it.
SOURCE = """
{colour} turn(times):
    repeat = itertools.repeat(None, times)
    began = clock()
    for _ in repeat:
        {statement}
    return clock() - began
"""


class LeftOut(Exception):
    """A candidate cannot take part; the text says why."""


@dataclass(frozen=True)
class Candidate:
    """One of those who do the same work."""

    name: str
    turn: Turn
    #: What a reader must know to compare it: a copy or the very object, a key made by hand.
    note: str = ""


@dataclass
class Row:
    """What was found of one candidate."""

    name: str
    figure: float | None
    to_us: float | None = None
    to_limit: float | None = None
    #: The middle half of the ratios to us, as a share of their median.
    spread: float | None = None
    note: str = ""


@dataclass
class Table:
    """The result of one contest."""

    title: str
    rows: list[Row]
    unit: str = "µs"
    #: The name of the row that cannot be beaten.
    limit: str | None = None
    #: The name of the row that the others are compared to.
    base: str = OURS
    more_is_better: bool = False
    about: str = ""
    #: Where several tables make a line chart: what they share, and the number of this one.
    series: str | None = None
    at: float | None = None


# --- a turn ---------------------------------------------------------------------------------------


def timed(statement: str, **names: Any) -> Turn:
    """A turn of this statement; if it awaits, in one task on the loop of the benchmarks."""
    colour = "async def" if "await " in statement else "def"
    scope = {**names, "clock": clock, "itertools": itertools}
    exec(SOURCE.format(colour=colour, statement=statement), scope)
    turn = scope["turn"]
    return on_loop(turn) if inspect.iscoroutinefunction(turn) else turn


def on_loop(turn: Callable[[int], Any]) -> Turn:
    """A turn that is a coroutine function, on the one loop that lives as long as the process."""
    return lambda times: runner().run(turn(times))


def threads_take(work: Callable[[], object], threads: int) -> float:
    """So many threads do this at once; the seconds from their start to the end of the last one."""
    barrier, failed = threading.Barrier(threads + 1), list[Exception]()

    def part() -> None:
        barrier.wait()
        try:
            work()
        except Exception as error:
            failed.append(error)

    started = [threading.Thread(target=part) for _ in range(threads)]
    for thread in started:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    for thread in started:
        thread.join()
    if failed:
        raise failed[0]
    return time.perf_counter() - began


def runner() -> asyncio.Runner:
    """The loop on which all async candidates run, made when it is first needed."""
    global _runner
    if _runner is None:
        _runner = asyncio.Runner()
    return _runner


_runner: asyncio.Runner | None = None


def awaited(coroutine: Any) -> Any:
    """The outcome of a coroutine, on that loop."""
    return runner().run(coroutine)


# --- a contest ------------------------------------------------------------------------------------


def contest(
    title: str,
    candidates: Iterable[Candidate],
    *,
    limit: str | None = None,
    turn: float | None = None,
    rounds: int | None = None,
    base: str = OURS,
    per_second: int = 0,
    **table: Any,
) -> Table:
    """Let all candidates take turns, print what came out, and return it.

    :param turn: seconds of one turn.
    :param per_second: hits in one piece of work, if hits a second are to be shown.
    """
    playing, failed = [], []
    for candidate in candidates:
        try:
            playing.append((candidate, _times(candidate, turn or TURN)))
        except Exception as error:
            failed.append(Row(candidate.name, None, note=f"fails: {_first_line(error)}"))
    taken = _take_turns(playing, rounds or ROUNDS)
    rows = [_row(candidate, taken, limit, base) for candidate, _ in playing]
    made = Table(title, rows + failed, limit=limit, base=base, **table)
    return show(_per_second(made, per_second) if per_second else made)


def _per_second(table: Table, hits: int) -> Table:
    table.unit, table.more_is_better = "hits/s", True
    for row in table.rows:
        if row.figure is not None:
            row.figure = 1e6 * hits / row.figure
            row.to_us = row.to_us and 1 / row.to_us
            row.to_limit = row.to_limit and 1 / row.to_limit
    return table


def _times(candidate: Candidate, turn: float) -> int:
    """How often it does its work in one turn: it is warmed up by finding that out."""
    candidate.turn(1)
    times, seconds = 1, candidate.turn(1)
    while seconds < turn / 4:
        times *= 2
        # Of two, since one that was interrupted would make all turns too short.
        seconds = min(candidate.turn(times), candidate.turn(times))
    return max(1, round(times * turn / seconds))


def _take_turns(playing: list[tuple[Candidate, int]], rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {candidate.name: [] for candidate, _ in playing}
    gc.collect()
    gc.freeze()
    for number in range(rounds):
        for candidate, times in playing if number % 2 else reversed(playing):
            taken[candidate.name].append(candidate.turn(times) / times)
    gc.unfreeze()
    return taken


def _row(candidate: Candidate, taken: dict[str, list[float]], limit: str | None, base: str) -> Row:
    own = taken[candidate.name]
    row = Row(candidate.name, statistics.median(own) * 1e6, note=candidate.note)
    if base in taken:
        ratios = sorted(ratios_of(own, taken[base]))
        row.to_us = statistics.median(ratios)
        row.spread = (ratios[len(ratios) * 3 // 4] - ratios[len(ratios) // 4]) / row.to_us
    if limit in taken:
        row.to_limit = statistics.median(ratios_of(own, taken[limit]))
    return row


def ratios_of(own: list[float], other: list[float]) -> list[float]:
    """One ratio for each round."""
    return [mine / theirs for mine, theirs in zip(own, other, strict=True)]


def counted(
    title: str, rows: list[Row], *, limit: str | None = None, base: str = OURS, **table: Any
) -> Table:
    """A table of what was counted, not timed: its ratios are those of its figures."""
    known = {row.name: row.figure for row in rows}
    for row in rows:
        if row.figure is not None:
            row.to_us = _ratio(row.figure, known.get(base))
            row.to_limit = _ratio(row.figure, known.get(limit)) if limit else None
    return show(Table(title, rows, limit=limit, base=base, **table))


def _ratio(figure: float, other: float | None) -> float | None:
    return figure / other if other else None


def _first_line(error: Exception) -> str:
    kind = "" if isinstance(error, LeftOut) else f"{type(error).__name__}: "
    return f"{kind}{error}".splitlines()[0][:90].rstrip(": ")


# --- showing and keeping --------------------------------------------------------------------------


def number(figure: float | None) -> str:
    """Three digits of it, which is more than a run repeats."""
    if figure is None:
        return "-"
    if figure == 0 or abs(figure) >= 100:
        return f"{figure:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(figure))))
    return f"{figure:.{digits}f}"


def amount(table: Table, row: Row) -> str:
    """The figure of a row: what was counted by the server or by us is whole, or nearly so."""
    counts = table.unit in ("computations", "round trips", "commands and keys")
    return f"{row.figure:g}" if counts and row.figure is not None else number(row.figure)


def show(table: Table) -> Table:
    """Print a table."""
    wanted = ", more is better" if table.more_is_better else ""
    print(f"\n{table.title} [{table.unit}{wanted}]" + f": {table.about}" * bool(table.about))
    for row in table.rows:
        base = "us" if table.base == OURS else table.base
        ratios = f"{number(row.to_us):>8} x {base}"
        if table.limit:
            ratios += f" {number(row.to_limit):>8} x limit"
        figure = "" if row.figure is None else f"{amount(table, row):>10}"
        print(f"  {row.name:<34}{figure:>10}{ratios}   {row.note}".rstrip(), flush=True)
    return table


def machine() -> dict[str, Any]:
    """What a reader must know of this machine."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            (line.split(": ")[1] for line in lines if line.startswith("model name")), model
        )
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def version_of(distribution: str) -> str | None:
    """The installed version, or ``None``."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


@dataclass
class Results:
    """What a file of results holds: tables by topic, and where they were made."""

    path: Path
    run: dict[str, Any] = field(default_factory=dict)
    topics: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Results:
        """The results of a file; none, if there is no such file."""
        if not path.exists():
            return cls(path)
        kept = json.loads(path.read_text("utf-8"))
        return cls(path, kept["run"], kept["topics"])

    def write(self) -> None:
        """Keep them, with three digits and a bit of each number."""
        kept = {"run": self.run, "topics": self.topics}
        text = json.dumps(_rounded(kept), indent=1, ensure_ascii=False)
        self.path.write_text(text + "\n", "utf-8")

    def tables(self, topic: str) -> list[Table]:
        """The tables of one topic."""
        kept = self.topics.get(topic, {"tables": []})["tables"]
        return [Table(**{**t, "rows": [Row(**row) for row in t["rows"]]}) for t in kept]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def main(topic: str, tables: Callable[[], Iterator[Table]], *, waits: bool = True) -> None:
    """Run one topic: ``python benchmarks/<topic>.py [--save results.json]``.

    :param waits: whether it waits for servers or threads; else, the processor's time is taken.
    """
    global clock, TURN, ROUNDS
    if not waits:
        clock, TURN, ROUNDS = time.process_time, 0.005, 41
    parser = argparse.ArgumentParser()
    parser.add_argument("--save", type=Path, help="a file of results to put these into")
    path = parser.parse_args().save
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    began, load = time.time(), os.getloadavg()[0]
    print(f"--- {topic}, {machine()['python']}, load {load:.1f}", flush=True)
    made = [asdict(table) for table in tables()]
    if path:
        results = Results.read(path)
        taken = round(time.time() - began)
        loads = [round(load, 1), round(os.getloadavg()[0], 1)]
        results.topics[topic] = {"load": loads, "seconds": taken, "tables": made}
        results.write()
