"""The public conformance kit sees what is wrong with a backend."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest

from flask_caching_async.backends import BaseCache, FileSystemCache, SimpleCache
from flask_caching_async.backends.base import Lease, new_token
from flask_caching_async.backends.memcache import MemcachedCache
from flask_caching_async.backends.rediscache import RedisCache
from flask_caching_async.testing import BackendConformance
from flask_caching_async.testing._regimes import REGIMES, every_way
from support.backends import AsyncOnly, SyncOnly
from support.servers import HOST


class Good(BaseCache):
    """A backend over a dict that keeps everything; each of those below has one fault."""

    blocking = False

    def __init__(self) -> None:
        super().__init__()
        self.held = SimpleCache(threshold=0)

    def get(self, key: str) -> Any:
        return self.held.get(key)

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        self.held.clock = self.clock
        return self.held.set(key, value, timeout)

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        return self.held.add(key, value, timeout)

    def delete(self, key: str) -> bool:
        return self.held.delete(key)

    def inc(self, key: str, delta: int = 1) -> int:
        return self.held.inc(key, delta)

    def clear(self) -> bool:
        return self.held.clear()

    def lease(self, key: str, life: float) -> Lease | None:
        return Turn(self.held, key)


class Turn(Lease):
    """A lease in a dict. It never ends by itself."""

    def __init__(self, held: SimpleCache, key: str) -> None:
        self.held, self.key, self.token = held, "lease " + key, new_token()

    def acquire(self) -> bool:
        taken = self.held.add(self.key, self.token, 0)
        self.holder = self.held.get(self.key)
        return taken

    def release(self, shared: bool = True) -> None:
        if self.held.get(self.key) == self.token:
            if not shared:
                self.held.set("unshared " + self.token, True)
            self.held.delete(self.key)

    def unshared(self, holder: str | None) -> bool:
        return bool(self.held.get(f"unshared {holder}"))


class OneLoop(Good):
    """Its client belongs to the first event loop that used it."""

    loop: Any = None

    def get(self, key: str) -> Any:
        return super().get(key)

    async def aget(self, key: str) -> Any:
        loop = asyncio.get_running_loop()
        self.loop = self.loop or loop
        assert self.loop is loop, "attached to a different loop"
        return self.held.get(key)


class TwoStores(Good):
    """Its async half does not see what the sync half stores."""

    def __init__(self) -> None:
        super().__init__()
        self.other: dict[str, Any] = {}

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        return super().set(key, value, timeout)

    async def aset(self, key: str, value: Any, timeout: Any = None) -> bool:
        self.other[key] = value
        return True

    def get(self, key: str) -> Any:
        return super().get(key)

    async def aget(self, key: str) -> Any:
        return self.other.get(key)


class Deaf(Good):
    """A deletion changes no key version."""

    def invalidate(self, keys: Any, tags: Any = ()) -> list[str]:
        for name in tags:
            self.delete(name)
        return [key for key in keys if self.delete(key)]


class Overwritten(Good):
    """A value that is set by hand changes no key version."""

    def set_and_supersede(self, mapping: Any, timeout: Any = None) -> list[str]:
        return [str(key) for key in self.set_many(mapping, timeout)]


class Stubborn(Good):
    """A tag version cannot be dropped."""

    def invalidate(self, keys: Any, tags: Any = ()) -> list[str]:
        return super().invalidate(keys)


class Racing(Good):
    """It counts in two steps."""

    def inc(self, key: str, delta: int = 1) -> int:
        total = (self.get(key) or 0) + delta
        time.sleep(0.001)
        self.set(key, total)
        return total


class Careless(Good):
    """Two may add."""

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        exists = self.has(key)
        time.sleep(0.001)
        return not exists and self.set(key, value, timeout)


class Lowercase(Good):
    """It takes some keys for the same."""

    def get(self, key: str) -> Any:
        return super().get(key.lower())

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        return super().set(key.lower(), value, timeout)

    def delete(self, key: str) -> bool:
        return super().delete(key.lower())


class Eternal(Good):
    """It knows no time."""

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        return super().set(key, value, 0)


class Hasty(Good):
    """0 is over at once."""

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        return super().set(key, value, timeout or 0.001 if timeout is not None else None)


class Mutable(Good):
    """It gives out the objects that it keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, Any] = {}

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        self.objects[key] = value
        return super().set(key, value, timeout)

    def get(self, key: str) -> Any:
        return super().get(key) and self.objects.get(key)


class Textual(Good):
    """It keeps numbers as text."""

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        return super().set(key, str(value) if type(value) is int else value, timeout)


class LostOnceOpened(Good):
    """What it opens for a loop that lasts finds nothing."""

    opened = False

    async def aopen(self) -> None:
        self.opened = True

    async def aclose(self) -> None:
        self.opened = False

    def get(self, key: str) -> Any:
        return super().get(key)

    async def aget(self, key: str) -> Any:
        return None if self.opened else self.held.get(key)


class Polygamous(Good):
    """Each who wants a lease has it."""

    def lease(self, key: str, life: float) -> Lease | None:
        return Turn(self.held, key + new_token())


class Stealing(Good):
    """Whoever gives back a lease frees it, be it theirs or not."""

    def lease(self, key: str, life: float) -> Lease | None:
        turn = Turn(self.held, key)
        turn.release = lambda shared=True: self.held.delete(turn.key)  # type: ignore
        return turn


class Closed(Good):
    """Once closed, it stays so."""

    closed = False

    def close(self) -> None:
        self.closed = True

    def get(self, key: str) -> Any:
        assert not self.closed, "closed"
        return super().get(key)


FAULTS = {
    OneLoop: "test_what_was_set_is_got",
    LostOnceOpened: "test_what_was_set_is_got",
    TwoStores: "test_what_one_regime_stores_all_others_see",
    Deaf: "test_a_delete_beats_a_computation_that_began_before_it",
    Overwritten: "test_what_was_set_by_hand_is_not_overwritten",
    Stubborn: "test_a_dropped_tag_version_ends_all_its_entries",
    Racing: "test_no_count_is_lost",
    Careless: "test_one_of_many_adds",
    Lowercase: "test_no_two_keys_are_the_same",
    Eternal: "test_values_end_with_their_timeouts",
    Hasty: "test_a_value_lives_until_its_timeout",
    Mutable: "test_nobody_changes_what_is_stored",
    Textual: "test_values_come_back_with_their_types",
    Polygamous: "test_a_lease_has_one_holder",
    Stealing: "test_whoever_did_not_get_a_lease_holds_nothing",
    Closed: "test_a_closed_backend_opens_again",
}


def failures_of(kind: type[BaseCache], name: str) -> list[AssertionError]:
    """How a check of the kit fails on a backend, in each regime where it does."""
    check = getattr(BackendConformance(), name)
    regimes = [()] if check.__code__.co_argcount == 2 else [(regime,) for regime in REGIMES]
    failures = []
    for regime in regimes:
        with contextlib.suppress(SkipTest):
            try:
                check(kind(), *regime)
            except AssertionError as error:
                failures.append(error)
                assert not regime or "This check used" in error.__notes__[0]
    return failures


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_a_fault_is_seen(kind: type[BaseCache]) -> None:
    """By the check that is there for it, in words that say what it used; without it, by none."""
    assert failures_of(kind, FAULTS[kind])
    assert not failures_of(Good, FAULTS[kind])


def ways(backend: BaseCache) -> list[str]:
    return [way.name for way in every_way(backend)]


def test_only_what_makes_a_difference_is_tried(tmp_path: Path) -> None:
    """Loops by the number of calls, or opened ones, only where the backend has to do with them."""
    for plain in (Good(), SyncOnly(), SimpleCache(), FileSystemCache(tmp_path)):
        assert ways(plain) == ["sync", "one"], "no loop ever reaches it"
    for native in (OneLoop(), TwoStores(), AsyncOnly()):
        assert ways(native) == ["sync", "one", "each"]
    for opening in (LostOnceOpened(), RedisCache(HOST), MemcachedCache(f"{HOST}:1")):
        assert ways(opening) == ["sync", "one", "each", "opened"]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (TwoStores, "all on one event loop that ends"),
        (OneLoop, "each call on an event loop of its own"),
        (LostOnceOpened, "between aopen() and aclose() on one event loop"),
    ],
)
def test_a_failure_says_on_which_loops_it_came(kind: type[BaseCache], told: str) -> None:
    """The first of those on which it comes."""
    (error,) = failures_of(kind, "test_add_stores_only_what_is_missing")
    assert error.__notes__ == [f"This check used the awaitable methods, {told}."]


def test_the_kit_needs_no_pytest_to_be_imported() -> None:
    """FakeClock is for other test frameworks, too."""
    code = "import sys, flask_caching_async.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_check_that_fails_shows_what_it_compared() -> None:
    """Its assertions are rewritten by pytest."""
    with pytest.raises(AssertionError, match=r"assert None == 'one'"):
        BackendConformance().test_what_was_set_is_got(Forgetful(), "sync")


class Forgetful(Good):
    """Whatever is got was never set."""

    def get(self, key: str) -> Any:
        return None
