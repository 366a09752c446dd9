"""Notes of computations, in a file of the current folder that several processes append to."""

from __future__ import annotations

import os

__all__ = ["noted"]


def noted(name: str) -> int:
    """One more computation of something; which one it is, those of all processes counted.

    Only what stands up to the end of its own line counts: another process may append its line
    before this one has looked.
    """
    with open(f"{name}.notes", "a+b", buffering=0) as notes:
        notes.write(b"%d\n" % os.getpid())  # appended whole
        end = notes.tell()
        notes.seek(0)
        return notes.read(end).count(b"\n")
