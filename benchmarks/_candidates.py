"""The same work by all peers: a call of a memoized function, and what is done by hand."""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
from collections.abc import Iterator
from typing import Any

from _harness import Candidate, LeftOut, Turn, timed
from _peers import Ours, Peer, Store, peers


def calls(
    store: Store, function: Any, argument: str = "7", note: Any = None, *, short_loops: bool = False
) -> Iterator[Candidate]:
    """A candidate for each peer that caches this function: one call of it, awaited if it is async.

    :param argument: what stands between the parentheses of the call; ``numbers`` counts up.
    :param note: given a peer, what to say of it.
    :param short_loops: an event loop for each call, as Flask makes one for each async view.
    """
    is_async = inspect.iscoroutinefunction(function)
    for peer in peers(store):
        counting, computed = counted(function, is_async)
        try:
            cached = (peer.amemoize if is_async else peer.memoize)(counting)
        except LeftOut:
            continue
        said = (note or note_of)(peer)
        call = f"cached({argument})"
        if is_async and not peer.awaits:
            said = "a sync call: it is async no more"
        elif short_loops:
            call = f"run({call})"
        elif is_async:
            call = f"await {call}"
            if isinstance(peer, Ours) and store.kind != "memory":
                peer.enter()
        turn = timed(call, cached=cached, numbers=numbers, run=asyncio.run)
        yield Candidate(peer.name, verified(turn, computed, "numbers" in argument), said)


#: What makes each call of a miss another one, also in a later contest on the same server.
numbers = itertools.count(100)


def counted(function: Any, is_async: bool) -> tuple[Any, list[int]]:
    """The function, and a list that gets longer when it is called."""
    computed: list[int] = []

    @functools.wraps(function)
    def counting(number: int) -> Any:
        computed.append(number)
        return function(number)

    @functools.wraps(function)
    async def acounting(number: int) -> Any:
        computed.append(number)
        return await function(number)

    return (acounting if is_async else counting), computed


def verified(turn: Turn, computed: list[int], missing: bool) -> Turn:
    """The turn, which must have hits only, or misses only, after the first one."""
    wanted: list[int] = []

    def checked(times: int) -> float:
        computed.clear()
        seconds = turn(times)
        if wanted and len(computed) != times * missing:
            raise LeftOut(f"{len(computed)} of {times} calls are computed")
        wanted.append(times)
        return seconds

    return checked


def note_of(peer: Peer) -> str:
    """What is to be said of its memoized functions."""
    unbounded = "" if peer.bounded or peer.store.kind != "memory" else "no bound"
    return "; ".join(filter(None, [peer.note, unbounded]))


#: What is done by hand, with ten keys where there are many.
BY_HAND = {
    "get": "do('key 1')",
    "set": "do('key 1', value)",
    "get_many": "do(*names)",
    "set_many": "do(many)",
}
MANY = {f"key {number}": "x" * 200 for number in range(10)}


def by_hand(store: Store, method: str, value: Any = MANY["key 1"]) -> Iterator[Candidate]:
    """A candidate for each peer that has this method: ``aget`` is awaited, ``get`` is not.

    :param value: what is set.
    """
    plain = method.removeprefix("a")
    awaits = method != plain
    names = {"value": value, "many": MANY, "names": tuple(MANY)}
    for peer in peers(store):
        do, put = getattr(peer, method), peer.aset if awaits else peer.set
        if do is None:
            continue
        if awaits and isinstance(peer, Ours) and store.kind != "memory":
            peer.enter()
        for key, text in MANY.items():
            timed(
                "await put(key, value)" if awaits else "put(key, value)",
                put=put,
                key=key,
                value=text,
            )(1)
        note = "no bound" if not peer.bounded and store.kind == "memory" else ""
        yield Candidate(peer.name, timed("await " * awaits + BY_HAND[plain], do=do, **names), note)
