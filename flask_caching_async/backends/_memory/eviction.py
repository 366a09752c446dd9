"""Which entry leaves the in-memory backend when it is full: an expired one, else S3-FIFO's choice.

**The policy** is S3-FIFO (Yang et al., "FIFO Queues are All You Need for Cache Eviction", SOSP
2023). A new entry waits in a *small* queue, a tenth of the cache. If it was asked for by the time
it is the oldest there, it moves to the *main* queue; else it leaves, and its key is remembered for
a while as a *ghost*. In the main queue the oldest entry goes back to the end while it is being
asked for; else it leaves. So the pages a crawler asks for once pass through the small tenth and
push out nothing that is in use.

Why this one: a reader must not take a lock, so a hit may do no more than ``node.visited = True``.
That rules out LRU and W-TinyLFU (Einziger et al., "TinyLFU: A Highly Efficient Cache Admission
Policy", ACM ToS 2017), which reorder or count on each hit. SIEVE (Zhang et al., "SIEVE is Simpler
than LRU", NSDI 2024) allows it and costs less than half per insertion, but holds on to what was
popular yesterday. A miss costs the user's function, far more than these nanoseconds, so the hit
ratios decide. From ``benchmarks/eviction.py`` on Python 3.11, Zipf 0.9 over 50,000 keys: hit ratios
in percent over all, right before and right after a scan of 10,000 keys, and with drifting
popularity; nanoseconds for a hit and for an insertion with its eviction:

===========================  ====  ======  =====  =====  =======  =====  ======
policy and capacity          all   before  after  drift  lock     hit    insert
===========================  ====  ======  =====  =====  =======  =====  ======
LRU, 500                     31.4    31.4   27.4   32.1  on hits     81     195
SIEVE, 500                   42.1    42.3   45.1   39.5  no          69     454
S3-FIFO as published, 500    42.2    41.2   44.9   42.3  no          85     775
W-TinyLFU, 500               42.2    40.7   43.8   42.3  on hits   1801    6028
**this one**, 500            42.4    41.5   45.6   42.5  no          67    1198
LRU, 5,000                   57.3    58.7   49.1   58.5  on hits     86     209
SIEVE, 5,000                 63.2    65.2   65.7   59.9  no          75     518
S3-FIFO as published, 5,000  63.6    65.9   66.6   62.1  no          96     952
W-TinyLFU, 5,000             64.2    66.2   66.8   62.0  on hits   1893    5976
**this one**, 5,000          64.0    66.2   66.8   62.5  no          75    1306
===========================  ====  ======  =====  =====  =======  =====  ======

(The others neither expire nor let go of a node in the middle. A timeout adds about 450 ns to an
insertion; the lock is in no figure.)

Three things differ from the paper. Each was measured, and loses nothing:

1. Readers give one bit, not a counter. The evictor makes up for it: whenever it finds the bit set
   in the main queue it raises the node's *rank*, to 2 at most, and a rank buys one more round.
2. A key that is a ghost enters the small queue as visited, not the main queue, so that the newest
   entry is never the victim.
3. An eviction spares 64 nodes at most and then takes the next, so that one which finds every entry
   visited does not hold the lock of the backend for a walk over all of them.

**Expiry** goes by buckets of one whole second and a heap of those seconds: an entry counts as
expired here when the second in which it expires is over. One that never expires is in no bucket.

**Rules a change must keep.** Everything but reading a node and setting ``visited`` happens under
the lock of the engine. A node that left is in no structure and refers to no other one, since a
reader may still hold it. What stays behind is bounded: ghosts (hashes, not keys) by what the main
queue may hold; seconds without a bucket by the number of buckets in use, plus 64.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import ceil, inf

NEVER = inf
_SMALL_SHARE = 10
_TOP_RANK = 2
_PATIENCE = 64
_SLACK = 64


class Node:
    """An entry as the evictor sees it; the engine's subclass adds the value.

    A subclass must keep the equality and the hash of ``object``.

    :param key: the key of the entry.
    :param usable_until: when it expires, in seconds since the epoch; ``NEVER`` if it does not. As
        long as the evictor knows the node, only :meth:`Evictor.reschedule` may change that.
    """

    __slots__ = ("_newer", "_older", "_queue", "_rank", "key", "usable_until", "visited")

    _newer: Node
    _older: Node
    _queue: _Queue
    _rank: int

    def __init__(self, key: str, usable_until: float) -> None:
        self.key = key
        self.usable_until = usable_until
        #: Set by readers on each hit, without a lock. A store lost to a race costs a second chance.
        self.visited = False
        self._queue = NOWHERE


class _Queue:
    """Nodes in the order in which they came, each removable in O(1)."""

    # A ring through the nodes themselves: an OrderedDict takes 90 bytes more per entry, and half
    # as long again.
    __slots__ = ("root", "size")

    def __init__(self) -> None:
        self.size = 0
        #: Stands between the newest node and the oldest, which is ``root._newer``.
        self.root = root = Node.__new__(Node)
        root._older = root._newer = root

    def append(self, node: Node) -> None:
        root = self.root
        newest = root._older
        node._queue, node._older, node._newer = self, newest, root
        newest._newer = root._older = node
        self.size += 1

    def move(self, node: Node, queue: _Queue) -> None:
        """Take a node out of here, and to the end of another queue or of this one."""
        older, newer = node._older, node._newer
        older._newer, newer._older = newer, older
        self.size -= 1
        queue.append(node)

    def remove(self, node: Node) -> None:
        older, newer = node._older, node._newer
        older._newer, newer._older = newer, older
        node._queue, node._older, node._newer = NOWHERE, _NOBODY, _NOBODY
        self.size -= 1

    def replace(self, old: Node, new: Node) -> None:
        older, newer = old._older, old._newer
        new._queue, new._older, new._newer = self, older, newer
        older._newer = newer._older = new
        old._queue, old._older, old._newer = NOWHERE, _NOBODY, _NOBODY

    def clear(self) -> None:
        # A ring dropped whole would keep every value until the cycle collector comes by.
        while self.size:
            self.remove(self.root._newer)


#: Where a node is that is in no queue, and who its neighbours are. Never None: no test is needed.
NOWHERE = _Queue()
_NOBODY = NOWHERE.root


class _Ghosts:
    """The hashes of keys that left the small queue unvisited, the last ``most`` of them at most."""

    # Two generations instead of a queue: the older half is forgotten at once. They remember between
    # half of `most` and all of it, in less than half of the memory.
    __slots__ = ("half", "old", "young")

    def __init__(self, most: int) -> None:
        self.half = (most + 1) // 2
        self.young: set[int] = set()
        self.old: set[int] = set()

    def __len__(self) -> int:
        return len(self.young) + len(self.old)

    def forget_half(self) -> None:
        self.old, self.young = self.young, set()

    def clear(self) -> None:
        self.young, self.old = set(), set()


class _ExpiryBuckets:
    """The nodes that expire, by the whole second at which they have."""

    __slots__ = ("_buckets", "_seconds", "earliest")

    def __init__(self) -> None:
        self._buckets: dict[float, set[Node]] = {}
        self._seconds: list[float] = []
        #: Nothing expires before; read before each eviction, so that most need not ask further.
        self.earliest = NEVER

    def add(self, node: Node) -> None:
        due = ceil(node.usable_until)  # not kept on the node: a number takes 40 bytes
        bucket = self._buckets.get(due)
        if bucket is None:
            self._buckets[due] = {node}
            heappush(self._seconds, due)
            self.earliest = self._seconds[0]
        else:
            bucket.add(node)

    def replace(self, old: Node, new: Node) -> None:
        was, until = old.usable_until, new.usable_until
        if was != NEVER and until != NEVER and (due := ceil(was)) == ceil(until):
            bucket = self._buckets[due]
            bucket.remove(old)
            bucket.add(new)
            return
        if until != NEVER:
            self.add(new)
        if was != NEVER:
            self.remove(old)

    def remove(self, node: Node) -> None:
        due = ceil(node.usable_until)
        bucket = self._buckets[due]
        bucket.remove(node)
        if not bucket:
            del self._buckets[due]
            self._compact()

    def _compact(self) -> None:
        """Forget the seconds without a bucket, once they are so many that it pays for the walk."""
        if len(self._seconds) > 2 * len(self._buckets) + _SLACK:
            self._seconds = list(self._buckets)
            heapify(self._seconds)
            self.earliest = self._seconds[0] if self._seconds else NEVER

    def pop(self, now: float) -> Node | None:
        """Take out a node which has expired, of the earliest second there is."""
        while self.earliest <= now:
            bucket = self._buckets.get(self.earliest)
            if bucket:
                node = bucket.pop()
                if not bucket:
                    del self._buckets[self.earliest]
                    self._compact()
                return node
            heappop(self._seconds)
            self.earliest = self._seconds[0] if self._seconds else NEVER
        return None

    def clear(self) -> None:
        self._buckets.clear()
        self._seconds.clear()
        self.earliest = NEVER


class Evictor:
    """Knows every node of the engine and says which one leaves.

    The engine calls :meth:`add` for a new key and then, while it holds more than its threshold,
    :meth:`evict`. Everything is O(1) amortised (but for a heap of seconds) and runs under the lock
    of the engine; a reader sets ``node.visited`` and nothing else.

    :param capacity: how many nodes the engine means to keep; 0 for as many as come.
    """

    __slots__ = ("_ghosts", "_main", "_small", "_target", "_expiries", "size")

    def __init__(self, capacity: int) -> None:
        self._target = max(1, capacity // _SMALL_SHARE)
        self._small = _Queue()
        self._main = _Queue()
        self._ghosts = _Ghosts(max(0, capacity - self._target))
        self._expiries = _ExpiryBuckets()
        #: How many nodes are here.
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def add(self, node: Node) -> None:
        """Take in a node whose key is not here yet."""
        if node.usable_until != NEVER:
            self._expiries.add(node)
        node._rank = 0
        # A ghost goes through the small queue even so: at the end of a main queue in which all
        # others are visited, the newcomer would be the first to go.
        code, ghosts = hash(node.key), self._ghosts
        if code in ghosts.young or code in ghosts.old:
            node.visited = True
        self._small.append(node)
        self.size += 1

    def has(self, node: Node) -> bool:
        """Whether a node is here."""
        queue = node._queue
        return queue is self._small or queue is self._main

    def discard(self, node: Node) -> None:
        """Let go of a node if it is here."""
        if self.has(node):
            self.remove(node)

    def remove(self, node: Node) -> None:
        """Let go of a node that left for a reason of its own."""
        self._queue_of(node).remove(node)
        self.size -= 1
        if node.usable_until != NEVER:
            self._expiries.remove(node)

    def replace(self, old: Node, new: Node) -> None:
        """Put a new node of the same key in the place of the old one, with what it had earned."""
        queue = self._queue_of(old)
        if not old.usable_until == NEVER == new.usable_until:
            self._expiries.replace(old, new)
        new.visited = old.visited
        new._rank = old._rank
        queue.replace(old, new)

    def reschedule(self, node: Node, until: float) -> None:
        """Let a node expire at another time, whether it is here or not yet."""
        was = node.usable_until
        if not (was == until or (was != NEVER != until and ceil(was) == ceil(until))):
            known = self.has(node)
            if known and was != NEVER:
                self._expiries.remove(node)
            node.usable_until = until
            if known and until != NEVER:
                self._expiries.add(node)
        node.usable_until = until

    def evict(self, now: float) -> Node:
        """Take out one node: an expired one if there is any, else the one least worth keeping.

        :param now: seconds since the epoch.
        """
        if self._expiries.earliest <= now and (due := self._expiries.pop(now)) is not None:
            due._queue.remove(due)
            self.size -= 1
            return due
        node, ghosts = self._victim(), self._ghosts
        if node._queue is self._small and ghosts.half:
            ghosts.young.add(hash(node.key))
            if len(ghosts.young) >= ghosts.half:
                ghosts.forget_half()
        node._queue.remove(node)
        self.size -= 1
        if node.usable_until != NEVER:
            self._expiries.remove(node)
        return node

    def expired(self, now: float, most: int) -> list[Node]:
        """Take out up to ``most`` expired nodes.

        :param now: seconds since the epoch.
        :param most: how many at most, so that a clean-up does not hold the lock for long.
        """
        gone: list[Node] = []
        while len(gone) < most and (node := self._expiries.pop(now)) is not None:
            node._queue.remove(node)
            self.size -= 1
            gone.append(node)
        return gone

    def clear(self) -> None:
        """Let go of everything, the ghosts included.

        Takes time for each node: an engine that minds puts a new evictor in the place of this one
        and clears this one after it has left its lock.
        """
        self._small.clear()
        self._main.clear()
        self._ghosts.clear()
        self._expiries.clear()
        self.size = 0

    def _queue_of(self, node: Node) -> _Queue:
        queue = node._queue
        if queue is not self._small and queue is not self._main:
            raise LookupError(f"the node of {node.key!r} is not in this evictor: it left before")
        return queue

    def _victim(self) -> Node:
        """The node which is to go; those found worth keeping on the way move to the end of main."""
        small, main, target = self._small, self._main, self._target
        if not self.size:
            raise LookupError("nothing to evict: the evictor is empty")
        for _ in range(_PATIENCE):
            queue = small if small.size > target or not main.size else main
            node = queue.root._newer
            if not (node.visited or node._rank):
                return node
            self._charge(node)
            queue.move(node, main)
        return small.root._newer if small.size > target or not main.size else main.root._newer

    def _charge(self, node: Node) -> None:
        """Take what the node pays for another round with: its bit, or else a rank."""
        if not node.visited:
            node._rank -= 1
            return
        node.visited = False
        if node._queue is self._main and node._rank < _TOP_RANK:
            node._rank += 1
