"""The plain operations, with Flask-Caching's results."""

from __future__ import annotations

from typing import Any

from ..._entries.entry import MISSING
from ...backends.base import BaseCache, new_token
from .._regimes import Hands, every_way, in_each_regime, play
from .abilities import Abilities, needs

__all__ = ["PlainOperations"]


class PlainOperations(Abilities):
    """Checks of get, set, add, has, delete, their plurals, inc, dec, clear and close."""

    @in_each_regime
    async def test_what_was_set_is_got(self, cache: Hands) -> None:
        """Until something else is set."""
        key, other = cache.keys("key other")
        assert await cache.get(key) is None
        assert await cache.set(key, "one")
        assert await cache.get(key) == "one"
        assert await cache.set(key, "two", 60)
        assert await cache.get(key) == "two"
        assert await cache.get(other) is None

    @in_each_regime
    async def test_add_stores_only_what_is_missing(self, cache: Hands) -> None:
        """It is falsy for a key that exists, and works again after a deletion."""
        key = cache.key()
        assert await cache.add(key, "one", 60)
        assert not await cache.add(key, "two")
        assert await cache.get(key) == "one"
        await cache.delete(key)
        assert await cache.add(key, "three")
        assert await cache.get(key) == "three"
        await cache.set(key, "four")
        assert not await cache.add(key, "five", 0)
        assert await cache.get(key) == "four"

    @in_each_regime
    async def test_has_says_whether_a_key_exists(self, cache: Hands) -> None:
        """Values that are false exist, too."""
        key = cache.key()
        assert not await cache.has(key)
        values: tuple[Any, ...] = ("value", 0, "", False, [])
        for value in values:
            await cache.set(key, value)
            assert await cache.has(key), value
        await cache.delete(key)
        assert not await cache.has(key)

    @in_each_regime
    async def test_what_was_deleted_is_gone(self, cache: Hands) -> None:
        """Deleting what is not there is no error."""
        key = cache.key()
        missing = await cache.delete(key)
        await cache.set(key, "value")
        existed = await cache.delete(key)
        again = await cache.delete(key)
        assert await cache.get(key) is None
        assert existed
        if self.reports_deletions:
            assert not missing and not again

    @in_each_regime
    async def test_many_keys_are_set_and_got_at_once(self, cache: Hands) -> None:
        """In the order in which they were asked for, a key that is asked for twice too."""
        a, b, missing = cache.keys("a b missing")
        stored = await cache.set_many({a: 1, b: [2]})
        assert sorted(stored) == sorted([a, b])
        assert await cache.get_many(b, missing, a, b) == [[2], None, 1, [2]]
        assert await cache.get_dict(a, missing) == {a: 1, missing: None}
        assert (await cache.get(a), await cache.get(b)) == (1, [2])
        await cache.set_many({a: 3, missing: 4}, 60)
        assert await cache.get_many(a, b, missing) == [3, [2], 4]

    @in_each_regime
    async def test_many_keys_are_deleted_at_once(self, cache: Hands) -> None:
        """Those that were missing are gone, too; unlink is another name for it."""
        a, b, missing = cache.keys("a b missing")
        for delete in (cache.delete_many, cache.unlink):
            await cache.set_many({a: 1, b: 2})
            gone = await delete(a, missing)
            assert await cache.get_many(a, missing, b) == [None, None, 2]
            assert a in gone
            if self.reports_deletions:
                assert gone == [a, missing]

    @in_each_regime
    async def test_no_keys_at_all_are_fine(self, cache: Hands) -> None:
        """The plural operations do nothing then."""
        assert await cache.get_many() == []
        assert await cache.get_dict() == {}
        assert await cache.set_many({}) == []
        assert not await cache.delete_many()
        assert not await cache.unlink()

    @in_each_regime
    async def test_inc_and_dec_count_from_zero(self, cache: Hands) -> None:
        """They return the new value, which can be read and set like any other."""
        up, down = cache.keys("up down")
        assert await cache.inc(up) == 1
        assert await cache.inc(up, 5) == 6
        assert await cache.dec(up, 2) == 4
        assert await cache.get(up) == 4
        assert await cache.get_many(up, down) == [4, None]
        assert await cache.dec(down) == -1
        assert await cache.dec(down, 2) == -3
        assert await cache.inc(down, 10) == 7
        assert await cache.has(down)

    @in_each_regime
    async def test_inc_counts_on_from_what_was_set(self, cache: Hands) -> None:
        """Also from what was added, and from zero after a deletion."""
        key = cache.key()
        await cache.set(key, 40)
        assert await cache.inc(key, 2) == 42
        await cache.delete(key)
        assert await cache.inc(key) == 1
        await cache.delete(key)
        assert await cache.add(key, -5)
        assert await cache.inc(key) == -4
        await cache.set(key, "text")
        assert await cache.get(key) == "text"

    @in_each_regime
    async def test_clear_removes_everything(self, cache: Hands) -> None:
        """Values, counters and all; afterwards it works as before."""
        needs(self.clears, "cannot clear")
        keys = cache.keys("a b c d e")
        await cache.set_many(dict.fromkeys(keys, "value"), 0)
        await cache.inc(cache.key("counter"))
        assert await cache.clear()
        assert await cache.get_many(*keys, cache.key("counter")) == [None] * 6
        assert await cache.inc(cache.key("counter")) == 1
        assert await cache.set(keys[0], 1)
        assert await cache.get(keys[0]) == 1
        assert await cache.clear()

    @in_each_regime
    async def test_a_closed_backend_opens_again(self, cache: Hands) -> None:
        """When it is used; closing twice is no error."""
        key = cache.key()
        await cache.close()
        for number in range(3):
            assert await cache.set(key, number)
            await cache.close()
            await cache.close()
            assert await cache.get(key) == number

    def test_what_one_regime_stores_all_others_see(self, backend: BaseCache) -> None:
        """There is one store behind the sync and the awaitable methods, on every loop."""
        mine, ways = new_token(), every_way(backend)
        for writer in ways:

            async def write(cache: Hands, writer: str = writer.name) -> None:
                await cache.set(f"{mine} {writer}", writer)
                await cache.by_hand(f"{mine} {writer} by hand", writer)

            play(backend, [writer], write)

        async def look(cache: Hands) -> None:
            for writer in ways:
                assert await cache.get(f"{mine} {writer.name}") == writer.name
                assert await cache.got(f"{mine} {writer.name} by hand") == writer.name

        play(backend, ways, look)

    def test_values_end_with_their_timeouts(self, backend: BaseCache) -> None:
        """However they were stored; others live on, and 0 is for ever."""
        needs(self.expires, "keeps values for ever")
        mine, short = new_token(), self.short_timeout

        async def store(cache: Hands) -> None:
            await cache.set(cache.key("set"), 1, short)
            await cache.add(cache.key("add"), 1, short)
            await cache.set_many({cache.key("many"): 1}, short)
            await cache.by_hand(cache.key("twice"), 1)
            await cache.set(cache.key("twice"), 1, short)
            assert await cache.compute(cache.key("computed"), 1, life=short)
            await cache.set(cache.key("long"), 1, 1000)
            await cache.set(cache.key("fraction"), 1, 1000.5)
            await cache.add(cache.key("for ever"), 1, 0)
            await cache.set_many({cache.key("all for ever"): 1}, 0)

        async def look(cache: Hands) -> None:
            ended = cache.keys("set add many twice")
            for _ in range(200 if self.expires_in_real_time else 0):
                if not any(await cache.get_many(*ended)):
                    break
                await cache.pause(0.05)  # a server's clock may tick more slowly
            assert await cache.get_many(*ended) == [None] * 4
            assert await cache.found(cache.key("computed")) is MISSING
            assert not await cache.has(ended[0])
            assert await cache.add(ended[0], 2)
            for name in ("long", "fraction", "for ever", "all for ever"):
                assert await cache.get(cache.key(name)) == 1, name

        with self.passing_time(backend) as let_pass:
            play(backend, every_way(backend), store, mine)
            let_pass(short)
            play(backend, every_way(backend), look, mine)

    @in_each_regime
    async def test_a_value_lives_until_its_timeout(self, cache: Hands) -> None:
        """Not less; without a timeout, until the default one."""
        needs(self.expires, "keeps values for ever")
        needs(not self.expires_in_real_time, "has a clock of its own")
        key, usual, forever = cache.key(), cache.key("usual"), cache.key("for ever")
        default = cache.backend.default_timeout or 0
        with self.passing_time(cache.backend) as let_pass:
            await cache.set(key, 1, 100)
            let_pass(99)
            assert await cache.get(key) == 1
            let_pass(1)
            assert await cache.get(key) is None
            await cache.set(usual, 1)
            await cache.set(forever, 1, 0)
            let_pass(default - 1 if default else 0)
            assert await cache.get(usual) == 1
            let_pass(1)
            assert await cache.get(usual) == (None if default else 1)
            let_pass(10 * 365 * 24 * 3600)
            assert await cache.get(forever) == 1
