"""Run the benchmarks, each in a process of its own: ``python benchmarks/run.py [topic ...]``.

Without a topic, all of them. ``--save`` writes what came out to ``benchmarks/results.json`` (or to
the file that is named), from which ``report.py`` makes the page of the documentation.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from _harness import Results, machine, version_of
from _peers import PEERS

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results.json"

TOPICS = (
    "hits",
    "misses",
    "by_hand",
    "memory",
    "eviction",
    "scaling",
    "backends",
    "redis_hits",
    "memcached_hits",
    "file_hits",
    "servers",
    "stampede",
)

#: What a figure depends on, besides the peers.
ENVIRONMENT = (
    "Flask", "Werkzeug", "Quart", "redis", "hiredis", "pymemcache", "aiomcache", "pylibmc",
    "gunicorn", "hypercorn", "uvicorn",
)  # fmt: skip
PROGRAMS = {"redis-server": "--version", "memcached": "--version", "wrk": "--version"}


def versions() -> dict[str, str]:
    """Of all that takes part, and is installed."""
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text("utf-8"))["project"]
    names = [peer.distribution for peer in PEERS] + list(ENVIRONMENT)
    found = {name: version for name in names if (version := version_of(name))}
    return {project["name"]: project["version"], **found, **dict(programs())}


def programs() -> Iterator[tuple[str, str]]:
    """The servers, and what loads them."""
    for name, option in PROGRAMS.items():
        if shutil.which(name):
            done = subprocess.run([name, option], capture_output=True, text=True)
            version = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
            if version:
                yield name, version[0]


def main() -> int:
    """Run them, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("topics", nargs="*", metavar="topic", help=", ".join(TOPICS))
    parser.add_argument("--save", nargs="?", type=Path, const=RESULTS, help="keep the results")
    told = parser.parse_args()
    topics = [Path(topic).stem for topic in told.topics] or list(TOPICS)
    if unknown := [topic for topic in topics if topic not in TOPICS]:
        parser.error(f"{unknown[0]} is none of {', '.join(TOPICS)}")
    began, failed = time.time(), []
    saving = ["--save", str(told.save)] if told.save else []
    for topic in topics:
        if subprocess.run([sys.executable, str(FOLDER / f"{topic}.py"), *saving]).returncode:
            failed.append(topic)
    if told.save:
        results = Results.read(told.save)
        results.run = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine(),
            "load": [round(load, 1) for load in os.getloadavg()],
            "versions": versions(),
        }
        results.write()
    print(f"\n{time.time() - began:.0f} s" + f"; failed: {', '.join(failed)}" * bool(failed))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
