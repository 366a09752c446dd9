"""What hits and misses cost in files: ``python benchmarks/file_hits.py``.

All are below one temporary directory, which may be a file system in memory. The limit is one file
that is opened and read, and for a miss one that is written beside and moved into its place. The
file of dogpile.cache is a dbm, that of diskcache a database of SQLite.
"""

from __future__ import annotations

import itertools
import os
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _candidates import MANY, by_hand, calls
from _harness import Candidate, Table, contest, main, timed
from _peers import Store

VALUE = {"id": 7, "name": "Emma", "tags": ["novel", "1815"], "text": "x" * 200}
DATA = pickle.dumps(VALUE, -1)
READ, WRITE = "a file, read", "a file, written and moved"
OVERWRITE = "a file, written"


def function(number: int) -> dict[str, Any]:
    return VALUE


async def afunction(number: int) -> dict[str, Any]:
    return VALUE


def read_file(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def hits(store: Store, is_async: bool) -> Iterator[Candidate]:
    """A hit of a memoized function."""
    path = Path(store.folder, "raw")
    path.write_bytes(DATA)
    yield Candidate(READ, timed("read(path)", read=read_file, path=path), "raw bytes")
    yield from calls(store, afunction if is_async else function)


def misses(store: Store) -> Iterator[Candidate]:
    """A miss of a memoized ``def``."""
    folder, numbers = store.folder, itertools.count()

    def put() -> None:
        path = os.path.join(folder, f"raw {next(numbers)}")
        if not os.path.exists(path):
            with open(f"{path}.new", "wb") as file:
                file.write(DATA)
            os.replace(f"{path}.new", path)

    yield Candidate(WRITE, timed("put()", put=put), "raw bytes")
    yield from calls(store, function, "next(numbers)")


def hand(store: Store, method: str) -> Iterator[Candidate]:
    """``get`` or ``set`` of all that have it, and a file that is read, or written in its place."""
    path, value = Path(store.folder, "raw"), MANY["key 1"]
    path.write_text(value)
    if method == "get":
        yield Candidate(READ, timed("read(path)", read=read_file, path=path), "raw bytes")
    else:
        write = timed("path.write_text(value)", path=path, value=value)
        yield Candidate(OVERWRITE, write, "raw bytes; no reader may come meanwhile")
    yield from by_hand(store, method)


def tables() -> Iterator[Table]:
    """All of it."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store("files", folder=folder)
        yield contest("files: hit of a def", hits(store, False), limit=READ)
        title = "files: hit of an async def, long-lived loop"
        yield contest(title, hits(store, True), limit=READ)
        yield contest("files: miss of a def", misses(store), limit=WRITE)
        yield contest("files: get()", hand(store, "get"), limit=READ)
        yield contest("files: set()", hand(store, "set"), limit=OVERWRITE)


if __name__ == "__main__":
    main("file_hits", tables)
