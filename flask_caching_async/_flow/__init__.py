"""The way of one call: **key → load → judge → join → fill → seal → save → land**.

Read the files in this order: ``entry`` (what is stored, and whether it may be served), ``policy``
(for how long), ``value`` (how it is kept apart from its callers), ``flight`` (who computes),
``asking`` (how the user is called), ``readthrough`` (the flow itself, written once) and ``drive``
(the two colours that run it).

Rules that a change must keep:

1. The flow never calls the user's function and never asks a callback; ``drive`` does, in plain
   frames.
2. No module here but ``drive`` knows of threads or loops that wait, and none reads a clock of its
   own to judge an entry.
3. What must stand for a value to be stored (its *guard*) is fixed before the function is called.
4. A flight lands after its value is stored, so that who comes too late to join finds the value.
5. Whoever waits for a flight gets a copy that nobody else holds.
6. An error of the backend never ends here: the store has turned it into "nothing found" or "not
   stored".
"""

from __future__ import annotations

__all__: list[str] = []
