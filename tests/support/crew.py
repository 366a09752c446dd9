"""Processes that share a cache on a server: each is told, line by line, what to do.

A test has a :class:`Crew`. Each of its members is a process that runs ``crew_member.py`` and has a
:class:`~support.crew_member.Workplace`, which is of one *kind*: ``threads`` call sync functions,
``tasks`` await async ones on a loop that has connections of its own (``async with cache:``),
``views`` are async views of Flask, each on the loop that Flask starts for it, and ``mixed`` are
threads and tasks by turns.

They meet in a folder: a computation appends a line to the notes about its page when it begins, and
does not end while a file there says that it is held. So nobody needs to sleep, and hope.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.waiting import PATIENCE

#: Where the programs that tests start find this package: their ``PYTHONPATH``.
TESTS = str(Path(__file__).parent.parent)


class Member:
    """One process of a crew."""

    def __init__(self, folder: Path, number: int, kind: str, config: dict[str, Any]) -> None:
        self.stderr = folder / f"stderr-{number}-{kind}"
        with open(self.stderr, "wb") as stderr:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-X", "dev", "-W", "error", "-m", "support.crew_member"),
                    *(kind, json.dumps(config)),
                ],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=folder,
                env={**os.environ, "PYTHONPATH": TESTS},
            )  # fmt: skip
        self.pid = self.process.pid

    def begin(self, line: str) -> None:
        """Have an expression evaluated; its names are the attributes of the workplace."""
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self) -> Any:
        """The value of the oldest expression."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, self.stderr.read_text()
        told = json.loads(line)
        assert "error" not in told, told["error"]
        return told["value"]

    def do(self, line: str) -> Any:
        """Both."""
        self.begin(line)
        return self.end()

    def kill(self) -> None:
        """End it with ``SIGKILL``."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Let it end by itself: there are no more lines."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            pipe.close()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.kill()


class Crew:
    """Processes that share a folder and a cache."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder, self.config = folder, config
        self.members: list[Member] = []
        self._numbers = itertools.count()

    def hire(self, *kinds: str, **more: Any) -> list[Member]:
        """Start one more process of each kind, with more configuration."""
        config = {**self.config, **more}
        new = [Member(self.folder, next(self._numbers), kind, config) for kind in kinds]
        for member in new:
            member.do("misses()")
        self.members += new
        return new

    def part(self, *members: Member) -> None:
        """Let some of them end."""
        for member in members:
            self.members.remove(member)
            member.close()

    def complaints(self) -> str:
        """What any of them ever wrote to stderr; warnings and ``-X dev`` are on."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("stderr-*")))

    # --- computations -----------------------------------------------------------------------------

    def hold(self, name: str, who: object = "all") -> None:
        """Let no computation of a page end: of a process (by its id), the ``first``, ``others``."""
        (self.folder / f"{name}.hold-{who}").touch()

    def free(self, name: str, who: object = "all") -> None:
        """End of :meth:`hold`."""
        (self.folder / f"{name}.hold-{who}").unlink()

    def computed(self, name: str) -> int:
        """How many computations of a page ever began."""
        path = self.folder / f"{name}.notes"
        return len(path.read_text().split()) if path.exists() else 0

    def rest(self) -> None:
        """After a test, end all of it."""
        for path in self.folder.glob("*.hold-*"):
            path.unlink()
        self.part(*self.members[4:])
        self.answers()

    # --- callers ----------------------------------------------------------------------------------

    def ask(self, times: int, which: str, *names: str, of: list[Member] | None = None) -> None:
        """Have all processes, or some, call a function so many times; do not wait for it."""
        for member in (asked := of or self.members):
            member.begin(f"ask({times}, {which!r}, *{names!r})")
        for member in asked:
            member.end()

    def answers(self, of: list[Member] | None = None) -> list[Any]:
        """What those calls returned."""
        for member in (asked := of or self.members):
            member.begin("answers()")
        return [answer for member in asked for answer in member.end()]

    def failures(self) -> int:
        """How many of those calls raised."""
        return sum(member.do("failures()") for member in self.members)

    def misses(self) -> int:
        """How many calls ever found nothing, and then computed, or waited for somebody."""
        return sum(member.do("misses()") for member in self.members)
