"""Values come back as they were, under any key."""

from __future__ import annotations

import copy
from typing import Any

from ..._entries.entry import MISSING
from .._regimes import Hands, in_each_regime
from .abilities import Abilities, needs

__all__ = ["ValuesAndKeys"]

#: Texts that some protocol, file system or server treats in a way of its own.
ODD = (
    *("Grüße 世界", "é", "e\u0301", "a b", "a_b", " a", "a ", "A", "a", "a%20b", "%", "*", "a*"),
    *("\n", "\r\n", "a\r\nb", "\t", "\0", "a\0b", "\x1f\x7f", "../a", "a/b", "a\\b", ".", "~", ":"),
    *("x" * 250, "x" * 251, "x" * 1000, "x" * 999 + "y", "世" * 1000, "view//a?b=c&d"),
    *("@", "a@b", "'\""),
)
#: Redis treats what is between braces in a way of its own.
BRACES = (
    *("{", "}", "{}", "}a{", "{a", "a}", "{a}", "{b}", "{a}b", "{a}{b}", "{{a}}", "}{a}", "{}{a}"),
    "k" * 500 + "{" + "k" * 500,
)

LONG = "Grüße " * 20_000


def same(found: Any, wanted: Any) -> bool:
    """Whether two values are equal, and all in them is of the same type."""
    return bool(found == wanted) and repr(found) == repr(wanted)


class ValuesAndKeys(Abilities):
    """Checks of what is stored, and under which names."""

    @in_each_regime
    async def test_values_come_back_with_their_types(self, cache: Hands) -> None:
        """However they were stored and read; see ``values``."""
        values = {cache.key(str(number)): value for number, value in enumerate(self.values)}
        for key, value in values.items():
            await cache.set(key, value)
            assert same(await cache.get(key), value)
        await cache.delete_many(*values)
        await cache.set_many(values)
        for found, value in zip(await cache.get_many(*values), values.values(), strict=True):
            assert same(found, value)
        added = cache.key("added")
        for value in (*self.values[:3], *self.values[-3:]):
            await cache.delete(added)
            assert await cache.add(added, value)
            assert same(await cache.get(added), value)

    @in_each_regime
    async def test_computed_values_come_back_with_their_types(self, cache: Hands) -> None:
        """A value that was computed may also be None, which is not nothing."""
        key = cache.key()
        for value in (list(self.values), *self.values[:2], *self.values[-2:], None):
            assert await cache.compute(key, value)
            assert same(await cache.found(key), value)
            assert same(await cache.got(key), value)
            await cache.by_hand(key, value)
            assert same(await cache.get(key), value)

    @in_each_regime
    async def test_long_values_come_back_whole(self, cache: Hands) -> None:
        """Some 100 KB each."""
        keys = cache.keys("a b c")
        await cache.set(keys[0], LONG)
        assert await cache.get(keys[0]) == LONG
        await cache.set_many(dict.fromkeys(keys, LONG[::-1]))
        assert await cache.get_many(*keys) == [LONG[::-1]] * 3
        assert await cache.compute(keys[0], LONG)
        assert await cache.found(keys[0]) == LONG

    @in_each_regime
    async def test_nobody_changes_what_is_stored(self, cache: Hands) -> None:
        """By mutating what was set or got."""
        needs(self.copies_values, "keeps the objects that it was given")
        names = cache.keys("set many add computed")
        value: dict[str, Any] = {"a": [1, {"b": 2}]}
        pristine = copy.deepcopy(value)
        await cache.set(names[0], value)
        await cache.set_many({names[1]: value})
        await cache.add(names[2], value)
        await cache.compute(names[3], value)
        value["a"][1]["b"] = "changed"
        for _ in range(2):
            for name in names[:3]:
                assert await cache.get(name) == pristine
                (await cache.get(name))["a"].append("changed")
            several: Any = await cache.get_many(*names[:3])
            assert several == [pristine] * 3
            for each in (*several, await cache.found(names[3]), await cache.got(names[3])):
                assert each == pristine
                each["a"][1].clear()

    @in_each_regime
    async def test_any_text_is_a_key(self, cache: Hands) -> None:
        """Long, with spaces, braces, control characters and letters of all scripts."""
        for odd in ODD + BRACES:
            key = cache.key(odd)
            assert await cache.add(key, odd)
            assert await cache.get(key) == odd
            assert await cache.delete(key)

    @in_each_regime
    async def test_no_two_keys_are_the_same(self, cache: Hands) -> None:
        """Neither at the front nor at the end, one by one or together."""
        odd = ODD + BRACES
        keys = [*map(cache.key, odd), *(cache.key() + each for each in odd)]
        values = dict(zip(keys, range(len(keys)), strict=True))
        assert len(values) == len(keys)
        await cache.set_many(values)
        assert await cache.get_dict(*keys) == values
        await cache.delete_many(*keys[::2])
        left = [value if value % 2 else None for value in values.values()]
        assert await cache.get_many(*keys) == left
        for key in keys[:20:2]:
            assert await cache.inc(key) == 1
        assert await cache.get_many(*keys[1::2]) == left[1::2]

    @in_each_regime
    async def test_any_text_is_a_key_of_a_computation(self, cache: Hands) -> None:
        """It is stored, and a deletion wins, whatever is in the key."""
        for odd in ODD[::6] + BRACES:
            key = cache.key(odd)
            assert await cache.compute(key, odd)
            assert await cache.found(key) == odd
            late = await cache.begin(key)
            await cache.steps.invalidate((key,), ())
            await late.end("late")
            assert await cache.found(key) is MISSING
