"""``get``, ``set``, ``get_many`` and ``set_many`` in memory, sync and awaited.

``python benchmarks/by_hand.py``. The value is a text, which nobody has to copy; those who pickle
everything do it all the same. Many are ten.
"""

from __future__ import annotations

from collections.abc import Iterator

from _candidates import MANY, by_hand
from _harness import Candidate, Table, contest, main, timed
from _peers import MEMORY

DICT = "a dict"

#: What a bare dict does in the place of each.
LIMITS = {
    "get": "held['key 1']",
    "set": "held['key 1'] = value",
    "get_many": "[held[name] for name in names]",
    "set_many": "held.update(many)",
}


def candidates(method: str) -> Iterator[Candidate]:
    """One method of all that have it."""
    names = {"held": dict(MANY), "value": MANY["key 1"], "many": MANY, "names": tuple(MANY)}
    is_async = method not in LIMITS
    limit = timed(LIMITS[method.removeprefix("a")], **names)
    yield Candidate(DICT, limit, "not awaited" * is_async)
    yield from by_hand(MEMORY, method)


def tables() -> Iterator[Table]:
    """All of it."""
    for method in LIMITS:
        yield contest(f"{method}()", candidates(method), limit=DICT)
    for method in LIMITS:
        yield contest(f"await a{method}()", candidates(f"a{method}"), limit=DICT)


if __name__ == "__main__":
    main("by_hand", tables, waits=False)
