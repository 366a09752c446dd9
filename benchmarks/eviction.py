"""Which eviction policy should the in-memory backend have? Run ``python benchmarks/eviction.py``.

Each policy is a small cache of keys: ``get`` is what a reader does on every call, ``put`` what the
engine does on a miss. All requests come from one seed, their popularity after Zipf(0.9) over
50,000 keys:

* *Zipf and a scan*: 200,000 requests, then a crawler asks once for 10,000 keys nobody else wants,
  then 200,000 requests again. Hit ratio over all of it, and in the first 2 x capacity requests
  after the scan.
* *drift*: 200,000 requests; every 20,000 a twentieth of the keys change places with random others,
  so a policy that clings to what was popular is found out.
* *loop*: the same keys in the same order again and again, half as many again as there is room for.

MIN is the limit: it knows the future, and keeps what is asked for soonest (Belady 1966).

The costs are of the Python code on one thread, in nanoseconds:

* *hit*: of asking for keys that are in, again and again.
* *insertion*: with its eviction, for keys nobody asks for again.

What takes part in a hit with a lock, since it reorders something, is noted; taking the lock is not
in the figure.
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol
from zlib import crc32

from _harness import OURS, Candidate, Row, Table, contest, counted, main

from flask_caching_async.backends._memory.eviction import Evictor, Node

KEYS = 50_000
REQUESTS = 200_000
SCAN = 10_000
CAPACITIES = (500, 5_000)
SEED = 20_24
NEVER = float("inf")


class Policy(Protocol):
    name: str
    lock: str

    def __init__(self, capacity: int) -> None: ...

    def get(self, key: str) -> bool:
        """Whether the key is cached, noting the hit."""

    def put(self, key: str) -> None:
        """Enter a key that is not cached, and evict what is too much."""


class FIFO:
    name, lock = "FIFO", "no"

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.entries: OrderedDict[str, None] = OrderedDict()

    def get(self, key: str) -> bool:
        return key in self.entries

    def put(self, key: str) -> None:
        self.entries[key] = None
        if len(self.entries) > self.capacity:
            self.entries.popitem(last=False)


class LRU(FIFO):
    name, lock = "LRU", "yes"

    def get(self, key: str) -> bool:
        if key in self.entries:
            self.entries.move_to_end(key)
            return True
        return False


class Item:
    __slots__ = ("freq", "key", "newer", "older", "queue")

    def __init__(self, key: str) -> None:
        self.key = key
        self.freq = 0
        self.newer: Item = self
        self.older: Item = self
        self.queue = 0


class Ring:
    """A doubly linked list from the oldest item to the newest."""

    __slots__ = ("root", "size")

    def __init__(self) -> None:
        self.root = Item("")
        self.size = 0

    def append(self, item: Item) -> None:
        root = self.root
        last = root.older
        item.older, item.newer = last, root
        last.newer = root.older = item
        self.size += 1

    def remove(self, item: Item) -> None:
        item.older.newer, item.newer.older = item.newer, item.older
        self.size -= 1


class SIEVE:
    """Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024: one queue and a moving hand."""

    name, lock = "SIEVE", "no"

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.entries: dict[str, Item] = {}
        self.ring = Ring()
        self.hand = self.ring.root

    def get(self, key: str) -> bool:
        item = self.entries.get(key)
        if item is None:
            return False
        item.freq = 1
        return True

    def put(self, key: str) -> None:
        if self.ring.size >= self.capacity:
            self.evict()
        item = self.entries[key] = Item(key)
        self.ring.append(item)

    def evict(self) -> None:
        root, item = self.ring.root, self.hand
        while item is root or item.freq:
            item.freq = 0
            item = item.newer
        self.hand = item.newer
        self.ring.remove(item)
        del self.entries[item.key]


class S3FIFO(SIEVE):
    """Yang et al., "FIFO Queues are All You Need for Cache Eviction", SOSP 2023, as in the paper.

    A counter up to 3; from the small queue to the main one after two hits; an exact ghost queue.
    """

    name = "S3-FIFO, 2 bits"
    most, needed = 3, 2

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.target = max(1, capacity // 10)
        self.small, self.main = Ring(), Ring()
        self.ghosts: OrderedDict[str, None] = OrderedDict()

    def get(self, key: str) -> bool:
        item = self.entries.get(key)
        if item is None:
            return False
        if item.freq < self.most:
            item.freq += 1
        return True

    def put(self, key: str) -> None:
        if len(self.entries) >= self.capacity:
            self.evict()
        item = self.entries[key] = Item(key)
        if key in self.ghosts:
            del self.ghosts[key]
            self.main.append(item)
        else:
            self.small.append(item)

    def evict(self) -> None:
        while not (self.shrink_small() if self.small.size >= self.target else self.shrink_main()):
            pass

    def shrink_small(self) -> bool:
        item = self.small.root.newer
        self.small.remove(item)
        if item.freq >= self.needed:
            item.freq = 0
            self.main.append(item)
            return False
        del self.entries[item.key]
        self.ghosts[item.key] = None
        if len(self.ghosts) > self.capacity - self.target:
            self.ghosts.popitem(last=False)
        return True

    def shrink_main(self) -> bool:
        item = self.main.root.newer
        self.main.remove(item)
        if item.freq:
            item.freq -= 1
            self.main.append(item)
            return False
        del self.entries[item.key]
        return True


class S3FIFOBit(S3FIFO):
    """The same with one bit, as a reader that only stores ``True`` gives it."""

    name = "S3-FIFO, 1 bit"
    most, needed = 1, 1

    get = SIEVE.get


class Ours:
    """The policy of the package, driven as the engine of the in-memory backend drives it."""

    name, lock = OURS, "no"

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.entries: dict[str, Node] = {}
        self.evictor = Evictor(capacity)

    def get(self, key: str) -> bool:
        node = self.entries.get(key)
        if node is None:
            return False
        node.visited = True
        return True

    def put(self, key: str) -> None:
        node = self.entries[key] = Node(key, NEVER)
        self.evictor.add(node)
        while len(self.entries) > self.capacity:
            del self.entries[self.evictor.evict(0.0).key]


class OursTimed(Ours):
    """The same, with entries that expire, to see what their timetable costs."""

    name = f"{OURS}, with timeouts"
    clock = itertools.count()

    def put(self, key: str) -> None:
        # A thousand insertions a second, each kept for 300 s: Flask-Caching's default timeout.
        now = next(self.clock) / 1000
        node = self.entries[key] = Node(key, now + 300.0)
        self.evictor.add(node)
        while len(self.entries) > self.capacity:
            del self.entries[self.evictor.evict(now).key]


class Sketch:
    """A count-min sketch of four rows of 4-bit counters, halved every ten capacities."""

    HALVED = bytes(count >> 1 for count in range(256))
    SALTS = (0, 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)

    def __init__(self, capacity: int) -> None:
        self.mask = (1 << (capacity * 4).bit_length()) - 1
        self.rows = [bytearray(self.mask + 1) for _ in self.SALTS]
        self.seen, self.sample = 0, capacity * 10

    def slots(self, key: str) -> list[int]:
        code = crc32(key.encode())  # Unlike hash(), the same in every run.
        return [((code ^ salt) * 0x2545F4914F6CDD1D >> 24) & self.mask for salt in self.SALTS]

    def count(self, key: str) -> None:
        for row, slot in zip(self.rows, self.slots(key), strict=True):
            if row[slot] < 15:
                row[slot] += 1
        self.seen += 1
        if self.seen >= self.sample:
            self.seen //= 2
            self.rows = [row.translate(self.HALVED) for row in self.rows]

    def estimate(self, key: str) -> int:
        return min(row[slot] for row, slot in zip(self.rows, self.slots(key), strict=True))


class WTinyLFU:
    """Einziger et al., "TinyLFU: A Highly Efficient Cache Admission Policy", ACM ToS 2017.

    A window LRU of 1%, then a segmented LRU (20% probation, 80% protected) behind the sketch.
    """

    name, lock = "W-TinyLFU", "yes"

    def __init__(self, capacity: int) -> None:
        self.window_size = max(1, capacity // 100)
        self.main_size = capacity - self.window_size
        self.protected_size = self.main_size * 8 // 10
        self.window: OrderedDict[str, None] = OrderedDict()
        self.probation: OrderedDict[str, None] = OrderedDict()
        self.protected: OrderedDict[str, None] = OrderedDict()
        self.sketch = Sketch(capacity)

    def get(self, key: str) -> bool:
        for segment in (self.protected, self.window):
            if key in segment:
                self.sketch.count(key)
                segment.move_to_end(key)
                return True
        if key not in self.probation:
            return False
        self.sketch.count(key)
        self.promote(key)
        return True

    def promote(self, key: str) -> None:
        del self.probation[key]
        self.protected[key] = None
        if len(self.protected) > self.protected_size:
            self.probation[self.protected.popitem(last=False)[0]] = None

    def put(self, key: str) -> None:
        self.sketch.count(key)
        self.window[key] = None
        if len(self.window) > self.window_size:
            self.admit(self.window.popitem(last=False)[0])

    def admit(self, key: str) -> None:
        if len(self.probation) + len(self.protected) >= self.main_size:
            victim = next(iter(self.probation or self.protected))
            if self.sketch.estimate(key) <= self.sketch.estimate(victim):
                return
            del (self.probation or self.protected)[victim]
        self.probation[key] = None


POLICIES: list[type[Policy]] = [
    FIFO,
    LRU,
    SIEVE,
    S3FIFO,
    S3FIFOBit,
    WTinyLFU,
    Ours,
    OursTimed,
]


class Traces(NamedTuple):
    before: list[str]
    scan: list[str]
    after: list[str]
    drift: list[str]


def make_traces() -> Traces:
    """The requests, the same in every run."""
    dice = random.Random(SEED)
    weights = list(itertools.accumulate(1 / rank**0.9 for rank in range(1, KEYS + 1)))
    keys = [f"view//page/{number}" for number in range(KEYS)]

    def zipf(count: int) -> list[str]:
        return dice.choices(keys, cum_weights=weights, k=count)

    before, after = zipf(REQUESTS), zipf(REQUESTS)
    scan = [f"view//archive/{number}" for number in range(SCAN)]
    drift: list[str] = []
    while len(drift) < REQUESTS:
        drift += zipf(REQUESTS // 10)
        for place in dice.sample(range(KEYS), KEYS // 20):
            other = dice.randrange(KEYS)
            keys[place], keys[other] = keys[other], keys[place]
    return Traces(before, scan, after, drift)


# --- hit ratios -----------------------------------------------------------------------------------


def replay(cache: Policy, trace: Sequence[str]) -> list[bool]:
    """Ask for each key, enter it when it is missing; what was a hit."""
    hits = []
    for key in trace:
        hits.append(cache.get(key))
        if not hits[-1]:
            cache.put(key)
    return hits


def best_possible(capacity: int, trace: Sequence[str]) -> list[bool]:
    """What is a hit for MIN, which evicts what is asked for last, and enters nothing that is."""
    following, last = [0] * len(trace), dict.fromkeys(trace, len(trace))
    for place in range(len(trace) - 1, -1, -1):
        following[place], last[trace[place]] = last[trace[place]], place
    held: dict[str, int] = {}
    farthest: list[tuple[int, str]] = []
    hits = []
    for key, after in zip(trace, following, strict=True):
        hits.append(key in held)
        held[key] = after
        heapq.heappush(farthest, (-after, key))
        while len(held) > capacity:
            when, victim = heapq.heappop(farthest)
            if held.get(victim) == -when:
                del held[victim]
    return hits


def hit_ratios(capacity: int, traces: Traces) -> Iterator[Table]:
    """One table for each trace."""
    scanned = [*traces.before, *traces.scan, *traces.after]
    first = REQUESTS + SCAN
    loop = [f"view//loop/{number}" for number in range(capacity * 3 // 2)] * 20
    runs = [
        ("Zipf and a scan", scanned, slice(None)),
        ("right after the scan", scanned, slice(first, first + 2 * capacity)),
        ("drift", traces.drift, slice(None)),
        ("loop", loop, slice(None)),
    ]
    for title, trace, counts in runs:
        found = {"MIN": best_possible(capacity, trace)}
        found |= {policy.name: replay(policy(capacity), trace) for policy in POLICIES}
        locks = {policy.name: "a hit takes a lock" * (policy.lock == "yes") for policy in POLICIES}
        rows = [
            Row(name, 100 * sum(hits[counts]) / len(hits[counts]), note=locks.get(name, ""))
            for name, hits in found.items()
        ]
        more = {"unit": "% hits", "more_is_better": True, "limit": "MIN"}
        yield counted(f"{title}, {capacity:,} entries", rows, **more)


# --- costs ----------------------------------------------------------------------------------------


def each(action: Callable[[str], object], keys: Iterator[str]) -> Callable[[int], float]:
    """A turn of as many calls."""

    def turn(times: int) -> float:
        wanted = list(itertools.islice(keys, times))
        began = time.process_time()
        for key in wanted:
            action(key)
        return time.process_time() - began

    return turn


def hits_of(capacity: int, traces: Traces) -> Iterator[Candidate]:
    """Hits of what is in."""
    for policy in POLICIES:
        cache = policy(capacity)
        replay(cache, traces.before)
        resident = [key for key in dict.fromkeys(traces.before[-capacity:]) if cache.get(key)]
        yield Candidate(policy.name, each(cache.get, itertools.cycle(resident)))


def insertions(capacity: int, traces: Traces) -> Iterator[Candidate]:
    """Insertions of what nobody asks for again."""
    for policy in POLICIES:
        cache = policy(capacity)
        replay(cache, traces.before)
        new = (f"view//archive/{number}" for number in itertools.count())
        yield Candidate(policy.name, each(cache.put, new))


def tables() -> Iterator[Table]:
    """All of it."""
    traces = make_traces()
    for capacity in CAPACITIES:
        yield from hit_ratios(capacity, traces)
    for capacity in CAPACITIES:
        title = f"a hit, {capacity:,} entries"
        yield contest(title, hits_of(capacity, traces), limit="FIFO", rounds=15)
        title = f"an insertion with its eviction, {capacity:,} entries"
        yield contest(title, insertions(capacity, traces), limit="FIFO", rounds=15)


if __name__ == "__main__":
    main("eviction", tables, waits=False)
