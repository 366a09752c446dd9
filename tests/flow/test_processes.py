"""All of it between processes: over files in one folder, Redis and Memcached."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator

import pytest

from support.backends import ON_SERVERS, SHARED, FileBackend, ServerBackend
from support.crew import Crew
from support.waiting import until

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system"),
    pytest.mark.timeout(150),  # many processes, perhaps on a busy machine
]

names = (f"page-{number}" for number in itertools.count())


@pytest.fixture(scope="module", params=SHARED)
def backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> FileBackend | ServerBackend:
    """Each backend that processes share."""
    if request.param == "FileSystemCache":
        return FileBackend(tmp_path_factory.mktemp("files"))
    return ServerBackend(request.param, request.getfixturevalue)


@pytest.fixture(scope="module")
def lasting_crew(
    backend: FileBackend | ServerBackend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crew]:
    """Four processes, one of each kind, for all tests of this file."""
    crew = Crew(tmp_path_factory.mktemp("crew"), backend.config)
    crew.hire("threads", "tasks", "views", "mixed")
    yield crew
    crew.part(*crew.members)
    assert crew.complaints() == ""


@pytest.fixture
def crew(lasting_crew: Crew) -> Iterator[Crew]:
    """These four, with nothing to complain about after the test."""
    yield lasting_crew
    lasting_crew.rest()
    assert lasting_crew.complaints() == ""


# --- one computation ------------------------------------------------------------------------------


def test_four_processes_and_a_hundred_callers_cause_one_computation(crew: Crew) -> None:
    """Threads, tasks of a long-lived loop, and async views: all get its value."""
    page, missed = next(names), crew.misses()
    crew.hold(page)
    crew.ask(25, "page", page)
    until(lambda: crew.misses() == missed + 100)
    crew.free(page)
    assert crew.answers() == [1] * 100
    assert crew.computed(page) == 1


def test_a_race_for_many_cold_keys_computes_each_of_them_once(crew: Crew) -> None:
    """Nobody is held: who leads, who waits and who comes too late is up to chance."""
    pages = [next(names) for _ in range(20)]
    crew.ask(4, "page", *pages)
    assert crew.answers() == [1] * 4 * 20 * 4
    assert [crew.computed(page) for page in pages] == [1] * 20


@pytest.mark.parametrize("which", ["private", "nothing"])
def test_what_may_not_be_stored_releases_all_who_wait_at_once(crew: Crew, which: str) -> None:
    """The 99 others, in all processes, compute together: not one process after the other."""
    page, missed = next(names), crew.misses()
    crew.hold(page, "first")
    crew.hold(page, "others")
    crew.ask(25, which, page)
    until(lambda: crew.misses() == missed + 100)
    assert crew.computed(page) == 1
    crew.free(page, "first")
    until(lambda: crew.computed(page) == 100)  # while none of the 99 has ended
    crew.free(page, "others")
    crew.answers()
    assert crew.computed(page) == 100


# --- leases ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ON_SERVERS, indirect=True)
def test_a_leader_that_is_killed_has_exactly_one_successor(crew: Crew) -> None:
    """When its lease ends; the others wait for the successor, and get its value."""
    page, (victim,) = next(names), crew.hire("threads")
    crew.hold(page)
    crew.ask(1, "brief", page, of=[victim])
    until(lambda: crew.computed(page) == 1)
    began = time.monotonic()
    others = crew.members[:4]
    missed = crew.misses()
    crew.ask(25, "brief", page, of=others)
    until(lambda: crew.misses() == missed + 100)
    until(lambda: time.monotonic() > began + 1.5)  # in the middle of what is allowed, 6 seconds
    victim.kill()
    crew.part(victim)
    until(lambda: crew.computed(page) == 2)
    crew.free(page)
    assert crew.answers() == [2] * 100
    assert crew.computed(page) == 2


@pytest.mark.parametrize("backend", ON_SERVERS, indirect=True)
def test_a_leader_that_is_slow_keeps_its_lease(crew: Crew) -> None:
    """It is renewed, so that the others, who are patient, do not compute."""
    page, (leader,) = next(names), crew.hire("threads", CACHE_LOCK_TIMEOUT=6)
    crew.hold(page)
    crew.ask(1, "page", page, of=[leader])
    until(lambda: crew.computed(page) == 1)
    began = time.monotonic()
    crew.ask(5, "page", page, of=crew.members[:4])
    until(lambda: time.monotonic() > began + 2.5 or crew.computed(page) > 1)  # its life is 2 s
    crew.free(page)
    assert crew.answers() == [1] * 21
    assert crew.computed(page) == 1
    crew.part(leader)


@pytest.mark.parametrize("backend", ["FileSystemCache"], indirect=True)
def test_the_lock_of_a_process_that_is_killed_is_free_at_once(crew: Crew) -> None:
    """However long its life would have been: the system gives it back."""
    page, (victim,) = next(names), crew.hire("threads", CACHE_LOCK_TIMEOUT=3600)
    crew.hold(page)
    crew.ask(1, "page", page, of=[victim])
    until(lambda: crew.computed(page) == 1)
    others = crew.hire("threads", "views", CACHE_LOCK_TIMEOUT=3600)
    missed = sum(other.do("misses()") for other in others)
    crew.ask(5, "page", page, of=others)
    until(lambda: sum(other.do("misses()") for other in others) == missed + 10)
    victim.kill()
    crew.part(victim)
    until(lambda: crew.computed(page) == 2)
    crew.free(page)
    assert crew.answers(of=others) == [2] * 10
    assert crew.computed(page) == 2
    crew.part(*others)


def test_a_refresh_in_another_process_is_joined(crew: Crew) -> None:
    """A forced caller takes what another process finished after its call, and nothing older."""
    page, (a, b) = next(names), crew.members[:2]
    crew.ask(1, "page", page)
    assert crew.answers() == [1] * 4
    missed = b.do("misses()")
    crew.hold(page)
    a.do(f"refresh('page', {page!r})")
    until(lambda: crew.computed(page) == 2)
    b.do(f"refresh('page', {page!r})")
    until(lambda: b.do("misses()") == missed + 1)
    crew.free(page)
    assert crew.answers(of=[a, b]) == [2, 2]
    assert crew.computed(page) == 2
    b.do(f"refresh('page', {page!r})")
    assert crew.answers(of=[b]) == [3]


def test_errors_release_all_who_wait_at_once(crew: Crew) -> None:
    """The processes that waited fail for themselves, together: not one after the other."""
    page, missed = next(names), crew.misses()
    crew.hold(page, "first")
    crew.hold(page, "others")
    crew.ask(25, "broken", page)
    until(lambda: crew.misses() == missed + 100)
    assert crew.computed(page) == 1
    crew.free(page, "first")
    until(lambda: crew.computed(page) == 76)  # all but the 24 who got the first one's error
    crew.free(page, "others")
    assert crew.failures() == 100
    assert crew.computed(page) == 76


@pytest.mark.parametrize("backend", ON_SERVERS, indirect=True)
@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_waiting_for_another_process_holds_no_connection(
    crew: Crew, backend: ServerBackend, kind: str
) -> None:
    """24 callers wait with two connections, which are free for something else."""
    pages = [next(names) for _ in range(24)]
    (waiting,) = crew.hire(kind, CACHE_OPTIONS=backend.limit(2))
    leader = crew.members[0]
    for page in pages:
        crew.hold(page)
    crew.ask(1, "page", *pages, of=[leader])
    until(lambda: all(crew.computed(page) == 1 for page in pages))
    open_led = backend.connections()
    crew.ask(1, "page", *pages, of=[waiting])
    until(lambda: waiting.do("misses()") == 24)
    for number in range(20):  # while they ask again and again
        assert waiting.do(f"do('set', 'other', {number})") is True
        assert waiting.do("do('get', 'other')") == number
    # Two for its threads, and two for its loop.
    until(lambda: backend.connections() <= open_led + (2 if kind == "threads" else 4))
    for page in pages:
        crew.free(page)
    assert crew.answers(of=[leader, waiting]) == [1] * 48
    assert [crew.computed(page) for page in pages] == [1] * 24
    crew.part(waiting)


# --- invalidation ---------------------------------------------------------------------------------

INVALIDATIONS = {
    "delete": ("page", "do('delete', key({0!r}))"),
    "delete_many": ("page", "do('delete_many', 'x', key({0!r}))"),
    "unlink": ("page", "do('unlink', 'x', key({0!r}))"),
    "set": ("page", "do('set', key({0!r}), 99)"),
    "set_many": ("page", "do('set_many', {{key({0!r}): 99, 'x': 1}})"),
    "delete_memoized": ("page", "do('delete_memoized', page)"),
    "delete_memoized of a call": ("page", "do('delete_memoized', page, {0!r})"),
    "delete_tags": ("page", "do('delete_tags', 'tag')"),
    "clear": ("page", "do('clear')"),
    "delete_cached": ("view", "do('delete_cached', view)"),
    "delete_cached of a path": ("view", "do('delete_cached', view, '/view/' + {0!r})"),
    "delete of a view's key": ("view", "do('delete', 'view//view/' + {0!r})"),
    "delete_tags of a view": ("view", "do('delete_tags', 'tag')"),
    "clear of a view": ("view", "do('clear')"),
}


@pytest.mark.parametrize(
    ("computing", "deleting", "there"),
    [(0, 1, "a value before"), (1, 0, "no value before"), (3, 2, "a value before")],
    ids=["threads-tasks", "tasks-threads", "mixed-views"],
)
@pytest.mark.parametrize("how", INVALIDATIONS)
def test_an_invalidation_in_another_process_wins(
    crew: Crew, how: str, computing: int, deleting: int, there: str
) -> None:
    """What A computes is not stored once B has deleted it, and B does not wait for it."""
    a, b = crew.members[computing], crew.members[deleting]
    page, (which, line) = next(names), INVALIDATIONS[how]
    if there == "a value before":
        crew.ask(1, which, page)
        assert crew.answers() == [1] * 4
    old = crew.computed(page) + 1
    crew.hold(page, a.pid)
    a.do(f"refresh({which!r}, {page!r})")
    until(lambda: crew.computed(page) == old)
    b.do(line.format(page))
    new = 99 if how.startswith("set") else old + 1
    crew.ask(1, which, page, of=[b])
    assert crew.answers(of=[b]) == [new]
    crew.free(page, a.pid)
    assert crew.answers(of=[a]) == [old]  # it asked before the deletion
    crew.ask(1, which, page)
    assert crew.answers() == [new] * 4
    assert crew.computed(page) == old + (new != 99)
