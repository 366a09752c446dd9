"""What an entry takes in memory, and what a ``set`` takes when the cache is full.

``python benchmarks/memory.py``. Bytes are counted by the system: each library stores 50,000 texts
of 100 characters in a process of its own, under keys of 10, and what the process has grown by is
divided. So what is written in C or Rust counts, too. What a dict takes for the same, keys and
values included, is the limit.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from _harness import OURS, Candidate, Row, Table, awaited, contest, counted, main, timed
from _peers import MEMORY, Peer, Store, peers

DICT, LRU = "a dict", "an LRU of an OrderedDict"
ENTRIES = 50_000


def resident() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def bytes_per_entry(name: str) -> float:
    """In this process: store, and see by how much it grows."""
    put: Callable[[str, str], Any]
    if name == DICT:
        held: dict[str, str] = {}
        put = held.__setitem__
    else:
        peer = next(p for p in peers(Store("memory", capacity=2 * ENTRIES)) if p.name == name)
        put = peer.set if peer.set else peer.aset
    is_async = name != DICT and peer.set is None

    async def fill(first: int, last: int) -> None:
        for number in range(first, last):
            await put(f"key {number:06}", f"{number:0100}")

    def run(first: int, last: int) -> None:
        if is_async:
            awaited(fill(first, last))
        else:
            for number in range(first, last):
                put(f"key {number:06}", f"{number:0100}")

    run(ENTRIES, ENTRIES + 500)
    before = resident()
    run(0, ENTRIES)
    return (resident() - before) / ENTRIES


def grown() -> Iterator[Row]:
    """Each in a process of its own."""
    for name in [DICT, *(peer.name for peer in peers(MEMORY) if peer.set or peer.aset)]:
        command = [sys.executable, __file__, "--bytes", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        yield Row(name, json.loads(done.stdout.splitlines()[-1]))


def filled(peer: Peer, entries: int) -> bool:
    """Fill a cache to its bound; whether it has one."""
    if peer.set is None or not peer.bounded:
        return False
    for number in range(entries):
        peer.set(f"key {number}", number)
    return True


def at_capacity(entries: int) -> Iterator[Candidate]:
    """A ``set`` of a new key, when the cache is full."""
    lru: OrderedDict[str, int] = OrderedDict()
    for number in range(entries):
        lru[f"key {number}"] = number
    put = "n = next(numbers); lru[f'new {n}'] = n; lru.popitem(False)"
    yield Candidate(LRU, timed(put, lru=lru, numbers=itertools.count()), "no timeout, no lock")
    statement = "n = next(numbers); put(f'new {n}', n)"
    for peer in peers(Store("memory", capacity=entries)):
        if filled(peer, entries):
            turn = timed(statement, put=peer.set, numbers=itertools.count())
            yield Candidate(peer.name, turn, NOTES.get(peer.name, ""))
        elif peer.name == "cashews":
            for number in range(entries):
                awaited(peer.aset(f"key {number}", number))
            put = statement.replace("put(", "await put(")
            turn = timed(put, put=peer.aset, numbers=itertools.count())
            yield Candidate(peer.name, turn, "LRU, awaited")


NOTES = {
    OURS: "S3-FIFO",
    "Flask-Caching": "looks through all entries, removes every third",
    "cachebox": "removes what is next to expire",
    "Django": "removes every third when it is full",
}


def tables() -> Iterator[Table]:
    """All of it."""
    about = f"{ENTRIES:,} texts of 100 characters, keys of 10"
    yield counted("memory for an entry", list(grown()), limit=DICT, unit="bytes", about=about)
    for entries in (500, 50_000):
        title = f"set() into a full cache of {entries:,}"
        yield contest(title, at_capacity(entries), limit=LRU, rounds=21)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bytes"]:
        print(bytes_per_entry(sys.argv[2]))
    else:
        main("memory", tables, waits=False)
