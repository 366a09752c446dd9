"""An invalidation wins over every computation that began before it.

Most checks go through the store, as the decorators do: some backends refuse to store what was
overtaken, others store it so that every reader sees that it is dead.
"""

from __future__ import annotations

from typing import Any

from ..._entries.entry import MISSING
from .._regimes import Hands, in_each_regime
from .abilities import Abilities

__all__ = ["VersionedOperations"]


class VersionedOperations(Abilities):
    """Checks of the operations that know versions."""

    @in_each_regime
    async def test_one_look_shows_value_and_versions(self, cache: Hands) -> None:
        """``look_up`` gives what is there, in the order in which it was asked for."""
        key, a, b, missing = cache.keys("key ~a~ ~b~ ~missing~")
        nothing: Any = await cache.look_up(key, [a, missing])
        assert (nothing.value, tuple(nothing.tag_versions)) == (None, (None, None))
        tokens: Any = await cache.ensure_versions([a, b], 60)
        assert len({None, *tokens}) == 3
        await cache.set_and_supersede({key: "value"}, 60)
        found: Any = await cache.look_up(key, [b, missing, a])
        assert (found.value, tuple(found.tag_versions)) == ("value", (tokens[1], None, tokens[0]))
        bare: Any = await cache.look_up(key)
        assert (bare.value, bare.key_version, tuple(bare.tag_versions)) == (
            "value",
            found.key_version,
            (),
        )

    @in_each_regime
    async def test_a_key_version_changes_with_each_invalidation(self, cache: Hands) -> None:
        """And with nothing else: not by looking, and not by what happens to other keys."""
        key, other, tag = cache.keys("key other ~tag~")

        async def key_version() -> Any:
            found: Any = await cache.look_up(key, [tag])
            return found.key_version

        seen = [await key_version()]
        for number in range(2):
            await cache.invalidate([key])
            seen.append(await key_version())
            await cache.set_and_supersede({key: number}, 60)
            seen.append(await key_version())
        await cache.ensure_versions([tag], 60)
        await cache.invalidate([other], [tag])
        await cache.set_and_supersede({other: 1}, 60)
        assert await key_version() == seen[-1]
        assert all(a != b for n, a in enumerate(seen) for b in seen[:n])

    @in_each_regime
    async def test_tag_versions_stand_until_they_are_dropped(self, cache: Hands) -> None:
        """``ensure_versions`` creates what is missing; ``invalidate`` drops what it is told to."""
        a, b, c = names = cache.keys("~a~ ~b~ ~c~")
        one: Any = await cache.ensure_versions([a, b], 60)
        two: Any = await cache.ensure_versions([c, b, a], 0)
        assert two[1:] == [one[1], one[0]]
        await cache.invalidate([], [a, c])
        three: Any = await cache.ensure_versions(names, 60)
        assert three[1] == one[1]
        assert three[0] and three[2] and three[0] != one[0] and three[2] != two[0]
        assert await cache.ensure_versions([], 60) == []

    @in_each_regime
    async def test_invalidate_names_the_keys_that_existed(self, cache: Hands) -> None:
        """As ``delete`` does."""
        a, b, missing = cache.keys("a b missing")
        await cache.set_many({a: 1, b: 2})
        existed: Any = await cache.invalidate([b, missing, a], [])
        assert {a, b} <= set(existed)
        if self.reports_deletions:
            assert await cache.invalidate([missing]) == []
        assert await cache.get_many(a, b) == [None, None]
        assert list(await cache.invalidate([], [])) == []

    @in_each_regime
    async def test_a_computed_value_is_found(self, cache: Hands) -> None:
        """With its tag versions, and by hand; a later computation replaces it."""
        key, tag = cache.keys("key ~tag~")
        for number in range(3):
            assert await cache.compute(key, [number], tag) is True
            assert await cache.found(key, tag) == [number]
            assert await cache.found(key) == [number]
            assert await cache.got(key) == [number]
            assert await cache.steps.has(key)

    @in_each_regime
    async def test_a_delete_beats_a_computation_that_began_before_it(self, cache: Hands) -> None:
        """Whether the key had an entry, a plain value or nothing."""
        for before in ("nothing", "entry", "plain", "deleted"):
            key = cache.key(before)
            if before == "entry":
                await cache.compute(key, "old")
            elif before == "plain":
                await cache.by_hand(key, "old")
            elif before == "deleted":
                await cache.steps.invalidate((key,), ())
            late = await cache.begin(key)
            await cache.steps.invalidate((key,), ())
            await late.end("late")
            assert await cache.found(key) is MISSING, before
            assert await cache.got(key) is MISSING, before
            assert not await cache.steps.has(key), before

    @in_each_regime
    async def test_a_late_computation_replaces_nothing_newer(self, cache: Hands) -> None:
        """Neither a newer computation's value, nor after several deletions."""
        key = cache.key()
        first = await cache.begin(key)
        await cache.steps.invalidate((key,), ())
        second = await cache.begin(key)
        await cache.steps.invalidate((key,), ())
        third = await cache.begin(key)
        assert await third.end("third") is True
        await first.end("first")
        await second.end("second")
        assert await cache.found(key) in ("third", MISSING)
        assert await cache.compute(key, "fourth") is True
        await first.end("first")
        assert await cache.found(key) in ("fourth", MISSING)

    @in_each_regime
    async def test_what_was_set_by_hand_is_not_overwritten(self, cache: Hands) -> None:
        """By a computation that began before; neither is it brought back after a deletion."""
        key, other = cache.keys("key other")
        for _ in range(2):
            late = await cache.begin(key)
            await cache.by_hand(key, "by hand")
            await late.end("late")
            assert await cache.got(key) == "by hand"
            assert await cache.get(key) == "by hand"
        late = await cache.begin(key)
        await cache.steps.set_many({key: 1, other: 2}, 60, ())
        await late.end("late")
        assert await cache.steps.get([key, other]) == [1, 2]
        await cache.steps.invalidate((key,), ())
        await late.end("late")
        assert await cache.got(key) is MISSING

    @in_each_regime
    async def test_a_deletion_hinders_nothing_that_begins_after_it(self, cache: Hands) -> None:
        """Nor does that of another key or tag; and setting by hand hinders nothing later."""
        key, other, tag = cache.keys("key other ~tag~")
        await cache.steps.invalidate((key,), (tag,))
        work = await cache.begin(key, tag)
        await cache.steps.invalidate((other,), (cache.key("~another~"),))
        await cache.by_hand(other, 1)
        assert await work.end("value") is True
        assert await cache.found(key, tag) == "value"
        await cache.by_hand(key, "by hand")
        assert await cache.compute(key, "computed", tag) is True
        assert await cache.found(key, tag) == "computed"

    @in_each_regime
    async def test_a_dropped_tag_version_ends_all_its_entries(self, cache: Hands) -> None:
        """At once, those that were set by hand too; entries without it live on."""
        one, two, three, hand, a, b = cache.keys("one two three hand ~a~ ~b~")
        await cache.compute(one, 1, a)
        await cache.compute(two, 2, b, a)
        await cache.compute(three, 3, b)
        await cache.by_hand(hand, 4, a)
        keys = (one, two, three, hand)
        assert await cache.steps.get(keys) == [1, 2, 3, 4]
        await cache.steps.invalidate((), (a,))
        assert await cache.steps.get(keys) == [MISSING, MISSING, 3, MISSING]
        assert await cache.found(one, a) is MISSING
        assert await cache.found(two, b, a) is MISSING
        assert await cache.found(two, b) is MISSING
        assert await cache.found(three, b) == 3
        assert not await cache.steps.has(hand)
        assert await cache.steps.add(one, 5, 60, ())
        assert await cache.got(one) == 5

    @in_each_regime
    async def test_a_dropped_tag_version_beats_a_computation(self, cache: Hands) -> None:
        """Also one for which the tag version was created, and when it is created again."""
        key, tag, other = cache.keys("key ~tag~ ~other~")
        for again in (False, True):
            late = await cache.begin(key, tag, other)
            await cache.steps.invalidate((), (tag,))
            if again:
                await cache.ensure_versions([tag], 60)
            await late.end("late")
            assert await cache.found(key, tag, other) is MISSING
            assert await cache.got(key) is MISSING

    @in_each_regime
    async def test_clear_beats_a_computation(self, cache: Hands) -> None:
        """And ends all entries, even where the backend cannot list them."""
        key, other = cache.keys("key other")
        await cache.compute(other, "old")
        late = await cache.begin(key)
        assert bool(await cache.steps.clear()) is self.clears
        await late.end("late")
        assert await cache.found(key) is MISSING
        assert await cache.got(other) is MISSING
        assert await cache.compute(key, "new") is True
        assert await cache.found(key) == "new"
