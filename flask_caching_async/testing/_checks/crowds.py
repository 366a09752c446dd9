"""Many at once: threads, tasks and event loops."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

from ..._runtime.colour import Instant, run_now
from ...backends.base import BaseCache, new_token
from .._regimes import Hands, every_way, in_each_regime, in_threads
from .abilities import Abilities, needs

__all__ = ["Crowds"]

CROWD = 8


class Crowds(Abilities):
    """Checks with several threads, tasks and loops."""

    @in_each_regime
    async def test_many_may_use_it_at_once(self, cache: Hands) -> None:
        """Nobody sees the value of another key, or none of what was just set."""
        await cache.compute(cache.key(), 1)  # so that the namespace has its version
        await cache.together(*[functools.partial(come_and_go, cache, n) for n in range(CROWD)])

    def test_threads_and_loops_of_all_kinds_may_use_it_at_once(self, backend: BaseCache) -> None:
        """Sync code, loops that end and one that lasts, all at the same time."""
        mine = new_token()

        async def crowd(cache: Hands, number: int) -> None:
            first = CROWD * number
            jobs = [functools.partial(come_and_go, cache, first + n) for n in range(CROWD // 2)]
            await cache.together(*jobs)

        cache = Hands(backend, Instant, mine)
        run_now(cache.compute(cache.key(), 1))
        jobs: list[Callable[[], Any]] = [
            functools.partial(way.run, backend, functools.partial(crowd, number=number), mine)
            for number, way in enumerate(islice(cycle(every_way(backend)), 4))
        ]
        for error in filter(None, in_threads(jobs)):
            raise error
        backend.close()

    @in_each_regime
    async def test_no_count_is_lost(self, cache: Hands) -> None:
        """``inc`` is atomic: each caller has a number of its own."""
        needs(self.atomic, "is not atomic")
        key = cache.key()

        async def count() -> list[Any]:
            return [await cache.inc(key) for _ in range(10)]

        counted = await cache.together(*[count] * CROWD)
        assert sorted(sum(counted, [])) == list(range(1, 10 * CROWD + 1))
        assert await cache.get(key) == 10 * CROWD

    @in_each_regime
    async def test_one_of_many_adds(self, cache: Hands) -> None:
        """``add`` is atomic: the others are told that they did not store."""
        needs(self.atomic, "is not atomic")
        for number in range(3):
            key = cache.key(str(number))

            async def add(key: str, value: int) -> Any:
                return await cache.add(key, value)

            jobs = [functools.partial(add, key, n) for n in range(CROWD)]
            stored = await cache.together(*jobs)
            winners = [n for n, each in enumerate(stored) if each]
            assert len(winners) == 1
            assert await cache.get(key) == winners[0]

    @in_each_regime
    async def test_all_agree_on_new_tag_versions(self, cache: Hands) -> None:
        """Of those who miss a version at the same time, all get the same new one."""
        needs(self.atomic, "is not atomic")
        for number in range(3):
            names = cache.keys(f"~one~{number} ~two~{number}")
            ensure_versions = functools.partial(cache.ensure_versions, names, 60)
            answers = await cache.together(*[ensure_versions] * CROWD)
            assert answers == [answers[0]] * CROWD
            assert all(answers[0]) and answers[0][0] != answers[0][1]

    @in_each_regime
    async def test_nothing_older_than_a_deletion_is_ever_found(self, cache: Hands) -> None:
        """However many compute while the key is deleted again and again."""
        key, tag = cache.keys("key ~tag~")
        truth = [0]
        ended: list[bool] = []

        async def compute() -> None:
            while not ended:
                work = await cache.begin(key, tag)
                value = truth[0]  # what is true now; it was begun before, so this is no older
                await cache.pause(0.001)
                await work.end(value)

        async def delete() -> None:
            try:
                while truth[0] < 9:
                    truth[0] += 1
                    await cache.steps.invalidate(*(((key,), ()) if truth[0] % 3 else ((), (tag,))))
                    for _ in range(2):
                        assert (await cache.found(key, tag) or truth[0]) >= truth[0]
                        await cache.pause(0.001)
            finally:
                ended.append(True)

        await cache.together(delete, *[compute] * 3)


async def come_and_go(cache: Hands, number: int) -> None:
    """Use keys that nobody else uses, and one that all use."""
    own, other, tag = cache.keys(f"own{number} other{number} tag{number}")
    shared = cache.key("shared")
    for turn in range(2):
        value = [number, turn]
        assert await cache.set(own, value)
        await cache.set(shared, "shared")
        assert await cache.get_many(own, shared, other) == [value, "shared", None]
        await cache.set_many({own: 1, other: 2})
        assert await cache.get_dict(own, other) == {own: 1, other: 2}
        await cache.delete_many(own, other)
        assert await cache.compute(own, value, tag)
        assert await cache.found(own, tag) == value
        await cache.steps.invalidate((own,), (tag,))
        assert not await cache.has(own)
