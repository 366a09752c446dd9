"""``get``, ``set``, ``get_many`` and ``set_many`` in memory, sync and awaited.

``python benchmarks/by_hand.py``. The value is a text, which nobody has to copy; those who pickle
everything do it all the same. Many are ten. A dict is copied by those who let nobody change what
they hold.
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


#: A dict that is copied as it is, and one that has to be pickled.
DICTS = {
    "a dict of texts and numbers": {"id": 7, "name": "Emma", "year": 1815},
    "a dict with a list in it": {"id": 7, "name": "Emma", "tags": ["novel", "1815"]},
}


def of_dict(value: dict[str, object]) -> Iterator[Candidate]:
    """``set`` of a dict, of all that have it."""
    yield Candidate(DICT, timed("held['key 1'] = value.copy()", held={}, value=value), "")
    yield from by_hand(MEMORY, "set", value)


def tables() -> Iterator[Table]:
    """All of it."""
    for method in LIMITS:
        yield contest(f"{method}()", candidates(method), limit=DICT)
    for what, value in DICTS.items():
        yield contest(f"set() of {what}", of_dict(value), limit=DICT)
    for method in LIMITS:
        yield contest(f"await a{method}()", candidates(f"a{method}"), limit=DICT)


if __name__ == "__main__":
    main("by_hand", tables, waits=False)
