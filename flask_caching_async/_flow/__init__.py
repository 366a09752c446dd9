"""The way of one call: **key → load → judge → join → compute → times → save → land**.

Read the files in this order: ``policy`` (for how long a value is good), ``singleflight`` (who
computes), ``callbacks`` (how the user's code is called), ``leader`` (the duty to compute one key),
``readthrough`` (the flow itself, written once), ``ports`` (the few things that differ by colour)
and ``run`` (the two colours that run it). What is stored is described in ``_entries``.

Rules that a change must keep:

1. The flow never calls the user's function and never calls a callback; ``run`` does, in plain
   frames.
2. No module here but ``ports`` and ``run`` knows of threads or loops that wait, and none reads a
   clock of its own to judge an entry.
3. What must stand for a value to be stored (its expected versions) is fixed before the function is
   called.
4. A flight lands after its value is stored, so that a caller who comes too late to join finds the
   value.
5. A follower gets a copy of the value that no other caller holds.
6. An error of the backend never ends here: the store has turned it into "nothing found" or "not
   stored".
"""

from __future__ import annotations

__all__: list[str] = []
