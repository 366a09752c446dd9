"""One process computes a key at a time: leases."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from typing import Any

from ..._entries.entry import MISSING
from ..._runtime.colour import Instant, run_now
from ...backends.base import BaseCache, Lease, new_token
from .._regimes import Computation, Hands, in_each_regime
from .abilities import Abilities, needs

__all__ = ["Leases"]

#: Seconds that no check lasts.
LIFE = 30.0


def lease_of(work: Computation, life: float = LIFE) -> Lease:
    """A lease for a computation, as each process has its own."""
    lease = work.lease(life)
    needs(lease is not None, "has no leases")
    assert lease is not None
    return lease


class Leases(Abilities):
    """Checks of lease, claim, deliver and release; skipped where ``lease`` gives None."""

    @in_each_regime
    async def test_a_lease_has_one_holder(self, cache: Hands) -> None:
        """The others see who it is; when it is given back, the next one takes it."""
        work = await cache.begin(cache.key())
        first, second, third = (lease_of(work) for _ in range(3))
        assert await work.acquire_lease(first)
        assert first.holder is not None
        for _ in range(2):
            assert not await work.acquire_lease(second)
            assert not await work.acquire_lease(third)
            assert second.holder == third.holder == first.holder
        await cache.steps.release_lease(first, True)
        assert await work.acquire_lease(second)
        assert second.holder not in (None, first.holder)
        assert not await work.acquire_lease(third)
        assert third.holder == second.holder
        await cache.steps.release_lease(second, True)
        assert await work.acquire_lease(third)
        await cache.steps.release_lease(third, True)

    @in_each_regime
    async def test_whoever_did_not_get_a_lease_holds_nothing(self, cache: Hands) -> None:
        """Giving it back frees nobody else's, and giving back twice does no harm."""
        work = await cache.begin(cache.key())
        first, second, third = (lease_of(work) for _ in range(3))
        await cache.steps.release_lease(third, True)
        assert await work.acquire_lease(first)
        assert not await work.acquire_lease(second)
        await cache.steps.release_lease(second, True)
        await cache.steps.release_lease(third, False)
        assert not await work.acquire_lease(third)
        await cache.steps.release_lease(first, True)
        assert await work.acquire_lease(third)
        await cache.steps.release_lease(first, False)
        assert not await work.acquire_lease(second)
        assert second.holder == third.holder
        await cache.steps.release_lease(third, True)

    @in_each_regime
    async def test_other_keys_and_states_have_other_leases(self, cache: Hands) -> None:
        """After an invalidation nobody waits for what was overtaken."""
        key, other, tag = cache.keys("key other ~tag~")
        work = await cache.begin(key, tag)
        held = [(work, lease_of(work))]
        assert await work.acquire_lease(held[0][1])
        elsewhere = await cache.begin(other, tag)
        await cache.steps.invalidate((key,), ())
        deleted = await cache.begin(key, tag)
        await cache.steps.invalidate((), (tag,))
        dropped = await cache.begin(key, tag)
        for each in (elsewhere, deleted, dropped):
            held.append((each, lease_of(each)))
            assert await each.acquire_lease(held[-1][1])
        for each, lease in held:
            assert not await each.acquire_lease(lease_of(each))
            await cache.steps.release_lease(lease, True)

    @in_each_regime
    async def test_one_of_many_gets_a_lease(self, cache: Hands) -> None:
        """Who claim at the same moment."""
        for number in range(3):
            work = await cache.begin(cache.key(str(number)))
            leases = [lease_of(work) for _ in range(8)]

            async def acquire_lease(lease: Lease, work: Computation = work) -> bool:
                return await work.acquire_lease(lease)

            taken = await cache.together(
                *[lambda lease=lease: acquire_lease(lease) for lease in leases]
            )
            winners = [lease for lease, won in zip(leases, taken, strict=True) if won]
            assert len(winners) == 1
            assert {lease.holder for lease in leases} <= {winners[0].holder, None}
            await cache.steps.release_lease(winners[0], True)

    @in_each_regime
    async def test_an_unshared_release_is_told_to_all_who_waited(self, cache: Hands) -> None:
        """Whoever polls learns that this holder had a value for nobody else."""
        work = await cache.begin(cache.key())
        leader, first, second = (lease_of(work) for _ in range(3))
        assert await work.acquire_lease(leader)
        assert not await work.acquire_lease(first) and not await work.acquire_lease(second)
        holder = leader.holder
        assert second.holder == holder and first.holder == holder
        assert not await cache.steps.unshared(first, holder)
        await cache.steps.release_lease(leader, False)
        assert await work.acquire_lease(first)
        assert await cache.steps.unshared(first, holder)
        assert not await work.acquire_lease(second)
        assert await cache.steps.unshared(second, holder)
        assert not await cache.steps.unshared(second, first.holder)
        await cache.steps.release_lease(first, True)
        assert await work.acquire_lease(second)
        assert not await cache.steps.unshared(second, first.holder)
        await cache.steps.release_lease(second, True)

    @in_each_regime
    async def test_a_shared_release_says_nothing(self, cache: Hands) -> None:
        """Its waiters take the lease one after the other."""
        work = await cache.begin(cache.key())
        leader, waiter = lease_of(work), lease_of(work)
        assert await work.acquire_lease(leader)
        assert not await work.acquire_lease(waiter)
        await cache.steps.release_lease(leader, True)
        assert await work.acquire_lease(waiter)
        assert not await cache.steps.unshared(waiter, leader.holder)
        await cache.steps.release_lease(waiter, True)

    @in_each_regime
    async def test_delivering_stores_and_gives_back(self, cache: Hands) -> None:
        """Who claims then finds the value."""
        key, tag = cache.keys("key ~tag~")
        work = await cache.begin(key, tag)
        leader, waiter = lease_of(work), lease_of(work)
        assert await work.acquire_lease(leader)
        assert not await work.acquire_lease(waiter)
        assert await work.end("value", lease=leader) is True
        assert await cache.found(key, tag) == "value"
        taken, lookup = await cache.steps.acquire_lease(waiter, key, (tag,))
        assert taken
        assert lookup.entry is not None and lookup.entry.value() == "value"
        assert not await cache.steps.unshared(waiter, leader.holder)
        await cache.steps.release_lease(waiter, True)

    @in_each_regime
    async def test_what_was_overtaken_is_not_delivered(self, cache: Hands) -> None:
        """But its lease is given back."""
        for way in ("delete", "set", "drop"):
            key, tag = cache.keys(f"{way} ~{way}~")
            work = await cache.begin(key, tag)
            leader, waiter = lease_of(work), lease_of(work)
            assert await work.acquire_lease(leader)
            if way == "set":
                await cache.by_hand(key, "by hand")
            else:
                await cache.steps.invalidate(*(((key,), ()) if way == "delete" else ((), (tag,))))
            await work.end("late", lease=leader)
            assert await cache.got(key) == ("by hand" if way == "set" else MISSING)
            assert await work.acquire_lease(waiter)
            await cache.steps.release_lease(waiter, True)

    def test_a_lease_ends_with_its_holder(self, backend: BaseCache) -> None:
        """A process that dies keeps nobody waiting for longer; one that lives keeps its lease."""
        cache = Hands(backend, Instant, new_token())
        dead, alive = (run_now(cache.begin(cache.key(name))) for name in ("dead", "alive"))
        held = lease_of(alive, self.lease_life)
        needs(hasattr(os, "fork"), "has no os.fork here")

        def acquire_lease(work: Computation) -> Lease | None:
            lease = lease_of(work, self.lease_life)
            return lease if run_now(work.acquire_lease(lease)) else None

        # The living holder takes its lease first: when that of the dead one has ended, its own
        # would have ended, too, if nobody had renewed it.
        assert run_now(alive.acquire_lease(held))
        assert in_a_child(lambda: acquire_lease(dead))
        limit = time.monotonic() + LIFE
        while (taken := acquire_lease(dead)) is None:
            assert time.monotonic() < limit, "it never ends"
            time.sleep(0.02)
        assert acquire_lease(alive) is None
        for lease in (taken, held):
            run_now(cache.steps.release_lease(lease, True))
        taken = acquire_lease(alive)
        assert taken is not None
        run_now(cache.steps.release_lease(taken, True))
        backend.close()


def in_a_child(work: Callable[[], Any]) -> bool:
    """Whether ``work`` succeeds in a process that then ends without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads: what must work, works
        child = os.fork()
    if child == 0:
        succeeded = False
        try:
            succeeded = bool(work())
        finally:
            os._exit(0 if succeeded else 1)
    return os.waitpid(child, 0)[1] == 0
