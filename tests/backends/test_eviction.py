"""The eviction policy of the in-memory backend: exact bookkeeping, and what survives a scan."""

from __future__ import annotations

import gc
import itertools
import math
import random
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flask_caching_async.backends._memory import eviction as _eviction
from flask_caching_async.backends._memory.eviction import NEVER, Evictor, Node

START = 1_000_000.0
KEYS = st.sampled_from("abcdefghijkl")
LIVES = st.just(NEVER) | st.floats(-3.0, 8.0) | st.integers(0, 8).map(float)


class Entry(Node):
    """A node as an engine makes it, which a test can watch die."""

    __slots__ = ("__weakref__",)


def everything(evictor: Evictor) -> Iterator[Node]:
    """Each node in the queues, in which every link has its counterpart."""
    for queue in (evictor._small, evictor._main):
        node, count = queue.root._newer, 0
        while node is not queue.root:
            assert node._newer._older is node and node._queue is queue
            yield node
            node, count = node._newer, count + 1
        assert count == queue.size


def is_due(node: Node, now: float) -> bool:
    """Whether the evictor must see it as expired: the second in which it expires is over."""
    return node.usable_until != NEVER and math.ceil(node.usable_until) <= now


class Engine(RuleBasedStateMachine):
    """The engine of the backend as the interface describes it, with a dict as its model."""

    def __init__(self) -> None:
        super().__init__()
        # Else no run is long enough to make the heap of seconds worth compacting.
        self.patch = mock.patch.object(_eviction, "_SLACK", 0)
        self.patch.start()

    def teardown(self) -> None:
        self.patch.stop()

    @initialize(capacity=st.integers(0, 8))
    def begin(self, capacity: int) -> None:
        self.capacity = capacity
        self.evictor = Evictor(capacity)
        self.entries: dict[str, Node] = {}
        self.now = START

    @rule(key=KEYS, life=LIVES)
    def store(self, key: str, life: float) -> None:
        node, old = Node(key, self.now + life), self.entries.get(key)
        self.entries[key] = node
        if old is not None:
            self.evictor.replace(old, node)
            assert node.visited is old.visited
            return
        self.evictor.add(node)
        while self.capacity and len(self.evictor) > self.capacity:
            victim = self.take_victim()
            assert victim is not node or is_due(node, self.now)

    @rule(key=KEYS, life=LIVES)
    def reschedule(self, key: str, life: float) -> None:
        node = self.entries.get(key)
        if node is not None:
            self.evictor.reschedule(node, self.now + life)
            assert node.usable_until == self.now + life

    @rule(keys=st.sets(KEYS))
    def read(self, keys: set[str]) -> None:
        for key in keys & self.entries.keys():
            self.entries[key].visited = True

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        node = self.entries.pop(key, None)
        if node is not None:
            self.evictor.remove(node)

    @precondition(lambda self: self.entries)
    @rule()
    def evict(self) -> None:
        self.take_victim()

    @rule(most=st.integers(0, 5))
    def clean_up(self, most: int) -> None:
        due = [node for node in self.entries.values() if is_due(node, self.now)]
        gone = self.evictor.expired(self.now, most)
        assert len(gone) == min(most, len(due))
        for node in gone:
            assert node in due
            assert self.entries.pop(node.key) is node

    @rule(seconds=st.floats(0.0, 4.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def clear(self) -> None:
        self.entries.clear()
        self.evictor.clear()
        assert not len(self.evictor._ghosts)

    def take_victim(self) -> Node:
        anything_due = any(is_due(node, self.now) for node in self.entries.values())
        victim = self.evictor.evict(self.now)
        # Popped by identity: a node that was lost, or comes back twice, is not the one stored.
        assert self.entries.pop(victim.key) is victim
        assert is_due(victim, self.now) or not anything_due
        return victim

    @invariant()
    def holds_exactly_what_the_model_holds(self) -> None:
        nodes = list(everything(self.evictor))
        assert len(nodes) == len(self.evictor) == len(self.entries)
        assert {id(node) for node in nodes} == {id(node) for node in self.entries.values()}
        assert not self.capacity or len(nodes) <= self.capacity

    @invariant()
    def leaves_nothing_behind(self) -> None:
        timetable, ghosts = self.evictor._expiries, self.evictor._ghosts
        timed = {node for node in self.entries.values() if node.usable_until != NEVER}
        assert timed.union(*timetable._buckets.values()) == timed
        assert sum(map(len, timetable._buckets.values())) == len(timed)
        assert all(timetable._buckets.values())
        assert len(timetable._seconds) <= 2 * len(timetable._buckets)
        assert timetable.earliest == min(timetable._seconds, default=NEVER)
        assert len(ghosts) <= max(0, self.capacity - max(1, self.capacity // 10))


Engine.TestCase.settings = settings(max_examples=80, stateful_step_count=50)


#: Whatever an engine does: bounded, expired first, no node lost or returned twice.
TestAnyEngine = Engine.TestCase


@given(capacity=st.integers(1, 12), seed=st.integers(0, 99), replaced=st.sets(KEYS))
def test_a_replaced_key_leaves_when_the_old_one_would_have(
    capacity: int, seed: int, replaced: set[str]
) -> None:
    """Replacing keeps the place in the queue, the visited bit and the rank."""
    plain, other = Cached(capacity), Cached(capacity)
    for key in random.Random(seed).choices("abcdefghijklmnop", range(1, 17), k=300):
        assert plain.ask(key) == other.ask(key)
    for key in replaced & other.entries.keys():
        other.replace(key)
    left = [plain.evictor.evict(START).key for _ in range(len(plain.entries))]
    assert left == [other.evictor.evict(START).key for _ in range(len(other.entries))]


@given(lives=st.lists(st.floats(0.0, 1e6), max_size=40), now=st.floats(0.0, 1e6))
def test_only_what_has_expired_is_returned_as_expired(lives: list[float], now: float) -> None:
    """No entry is cleaned up early, and none stays a whole second too long."""
    evictor = Evictor(0)
    for number, life in enumerate(lives):
        evictor.add(Node(str(number), life))
    gone = [node.usable_until for node in evictor.expired(now, 100)]
    assert all(life <= now for life in gone)
    assert sum(life <= now - 1.0 for life in lives) <= len(gone)


def test_evicting_from_nothing_is_an_error_that_says_so() -> None:
    """An engine which miscounts learns it at once."""
    with pytest.raises(LookupError, match="empty"):
        Evictor(3).evict(START)


@pytest.mark.parametrize("act", [Evictor.remove, lambda e, n: e.replace(n, Node("a", NEVER))])
def test_a_node_cannot_leave_twice(act: Callable[[Evictor, Node], None]) -> None:
    """A second removal raises, and harms nothing that is still in."""
    evictor, gone, other = Evictor(3), Node("a", START), Node("b", START)
    for node in (gone, other):
        evictor.add(node)
    evictor.remove(gone)
    with pytest.raises(LookupError, match="'a'"):
        act(evictor, gone)
    assert list(everything(evictor)) == [other]


@pytest.mark.parametrize("usable_until", [NEVER, START + 5])
def test_a_node_that_left_is_freed_without_the_garbage_collector(usable_until: float) -> None:
    """Whichever way it leaves, no structure and no neighbour refers to it."""
    ways: list[Callable[[Evictor, Entry], object]] = [
        lambda evictor, node: evictor.remove(node),
        lambda evictor, node: evictor.replace(node, Entry(node.key, NEVER)),
        lambda evictor, node: evictor.evict(START),
        lambda evictor, node: evictor.evict(START + 10),
        lambda evictor, node: evictor.expired(START + 10, 9) + [evictor.evict(START)],
        lambda evictor, node: evictor.clear(),
    ]
    gc.disable()
    try:
        for leave in ways:
            evictor = Evictor(10)
            node = Entry("a", usable_until)
            evictor.add(node)
            evictor.add(Entry("b", NEVER))
            watch = weakref.ref(node)
            leave(evictor, node)
            del node
            assert watch() is None
    finally:
        gc.enable()


def test_a_node_still_held_by_a_reader_keeps_no_other_alive() -> None:
    """A reader that holds an evicted node does not hold its neighbours."""
    evictor = Evictor(10)
    held, other = Entry("a", NEVER), Entry("b", NEVER)
    for node in (held, other):
        evictor.add(node)
    evictor.remove(held)
    evictor.remove(other)
    watch = weakref.ref(other)
    del other, node
    assert watch() is None


def test_replacing_one_key_for_ever_leaves_no_trail_of_seconds() -> None:
    """Each replacement empties a bucket far in the future; their seconds do not pile up."""
    evictor = Evictor(10)
    node = Node("a", START)
    evictor.add(node)
    for second in range(10_000):
        old, node = node, Node("a", START + second)
        evictor.replace(old, node)
        assert len(evictor._expiries._seconds) <= 66
    assert evictor.expired(START + 10_000, 9) == [node]


def test_an_eviction_among_visited_nodes_only_does_not_walk_over_all() -> None:
    """The lock is held for a bounded number of looks, however large the cache."""
    cache = Cached(5_000)
    for number in range(5_000):
        cache.ask(str(number))
    for node in cache.entries.values():
        node.visited = True
    cache.ask("one more")
    assert "one more" in cache.entries
    assert sum(not node.visited for node in cache.entries.values()) <= 65


def test_a_key_that_was_forgotten_too_soon_stays_even_among_visited_ones() -> None:
    """A ghost that returns is not the next victim, though all other entries are in use."""
    cache = Cached(10)
    for key in "abcdefghij":
        cache.ask(key)
        cache.entries[key].visited = key != "a"
    cache.ask("k")
    assert "a" not in cache.entries
    for node in cache.entries.values():
        node.visited = True
    cache.ask("a")
    assert "a" in cache.entries


class Cached:
    """A cache of keys around the evictor, to count hits with."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.entries: dict[str, Node] = {}
        self.evictor = Evictor(capacity)

    def ask(self, key: str) -> bool:
        node = self.entries.get(key)
        if node is not None:
            node.visited = True
            return True
        node = self.entries[key] = Node(key, NEVER)
        self.evictor.add(node)
        while len(self.entries) > self.capacity:
            del self.entries[self.evictor.evict(START).key]
        return False

    def replace(self, key: str) -> None:
        old, node = self.entries[key], Node(key, NEVER)
        self.entries[key] = node
        self.evictor.replace(old, node)


class Lru(OrderedDict[str, None]):
    """The policy to beat."""

    def ask(self, key: str) -> bool:
        hit = key in self
        self[key] = None
        self.move_to_end(key)
        if len(self) > 500:
            self.popitem(last=False)
        return hit


def zipf(dice: random.Random, count: int) -> list[str]:
    """Requests for 5,000 pages, the n-th of which is asked for 1/n**0.9 as often as the first."""
    weights = list(itertools.accumulate(1 / rank**0.9 for rank in range(1, 5_001)))
    return dice.choices([f"page{n}" for n in range(5_000)], cum_weights=weights, k=count)


def ratios_around_a_scan(cache: Cached | Lru) -> tuple[float, float]:
    """The hit ratio in the 2,000 requests before a scan of 2,000 keys, and in those after it."""
    dice = random.Random(42)
    for key in zipf(dice, 30_000):
        cache.ask(key)
    before = sum(map(cache.ask, zipf(dice, 2_000))) / 2_000
    for number in range(2_000):
        cache.ask(f"scan{number}")
    return before, sum(map(cache.ask, zipf(dice, 2_000))) / 2_000


def test_a_crawler_pushes_out_nothing_that_is_in_use() -> None:
    """After a scan of four capacities the hit ratio is what it was, and well above LRU's."""
    before, after = ratios_around_a_scan(Cached(500))
    lru_before, lru_after = ratios_around_a_scan(Lru())
    assert after >= 0.95 * before
    assert before >= 1.1 * lru_before
    assert after >= 1.25 * lru_after


def test_what_became_popular_replaces_what_was() -> None:
    """Yesterday's favourites leave: new ones are as good as always cached soon after a change."""
    cache, dice = Cached(100), random.Random(7)
    for day in range(5):
        favourites = [f"day{day}-{number}" for number in range(80)]
        hits = [cache.ask(dice.choice(favourites)) for _ in range(4_000)]
        assert sum(hits[-2_000:]) / 2_000 > 0.99


def test_what_is_asked_for_often_outlives_what_is_asked_for_now_and_then() -> None:
    """The ranks make up for the counter that readers do not keep."""
    ranked, _ = ratios_around_a_scan(Cached(500))
    with mock.patch.object(_eviction, "_TOP_RANK", 0):
        unranked, _ = ratios_around_a_scan(Cached(500))
    assert ranked > unranked + 0.005
