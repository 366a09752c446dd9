"""What connections to all servers have in common: slots, and conversations on a loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from flask_caching_async.backends._connections.conversation import Conversation
from flask_caching_async.backends._connections.slots import AsyncSlots
from support.waiting import PATIENCE

#: Seconds for an answer, where that is what a test is about; elsewhere none is late.
LITTLE = 0.2


# --- slots ----------------------------------------------------------------------------------------


@given(limit=st.integers(1, 3), steps=st.lists(st.sampled_from(["come", "go", "cancel"])))
def test_tasks_get_slots_in_their_order_and_never_too_many(limit: int, steps: list[str]) -> None:
    """Whoever comes, goes, or is cancelled, and when; in the end all slots are free."""

    async def play() -> None:
        slots, holding, waiting = AsyncSlots(limit), 0, []
        had: list[int] = []

        async def want(number: int) -> None:
            await slots.take()
            had.append(number)

        for number, step in enumerate(steps):
            if step == "come" and not slots.take_now():
                waiting.append((number, asyncio.ensure_future(want(number))))
                await asyncio.sleep(0)
            elif step == "come":
                holding += 1
            elif step == "go" and holding:
                holding -= 1
                slots.give_back()
                # Some are cancelled at the very moment at which they are given one.
                if waiting and number % 2:
                    _, task = waiting.pop(0)
                    task.cancel()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            elif step == "cancel" and waiting:
                _, task = waiting.pop(len(waiting) // 2)
                task.cancel()
                await asyncio.sleep(0)
            while waiting and waiting[0][1].done():
                number, _ = waiting.pop(0)
                assert had.pop(0) == number
                holding += 1
            assert holding <= limit and not had
            assert holding == limit or not waiting
        while holding or waiting:
            holding -= 1
            slots.give_back()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            while waiting and waiting[0][1].done():
                waiting.pop(0)
                holding += 1
        assert [slots.take_now() for _ in range(limit + 1)] == [True] * limit + [False]

    asyncio.run(play())


# --- conversations --------------------------------------------------------------------------------


class Echo(asyncio.Protocol):
    """A server that answers when it is told to."""

    transport: Any = None
    heard = b""

    def connection_made(self, transport: Any) -> None:
        """A client has come."""
        Echo.transport, Echo.heard = transport, b""

    def data_received(self, data: bytes) -> None:
        """A client has asked."""
        Echo.heard += data


def ended() -> Exception:
    """What is raised when the server has closed."""
    return ConnectionError("closed")


@pytest_asyncio.fixture
async def talk() -> AsyncIterator[Conversation]:
    """A conversation with an ``Echo``."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    where = server.sockets[0].getsockname()
    _, made = await loop.create_connection(lambda: Conversation(PATIENCE, ended), *where)
    while Echo.transport is None:
        await asyncio.sleep(0)
    yield made
    made.transport.abort()
    Echo.transport.abort()
    Echo.transport = None
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0)


class Lines:
    """Reads so many lines."""

    def __init__(self, count: int) -> None:
        self.count, self.read = count, b""

    def __call__(self, data: bytes) -> list[bytes] | None:
        """Take what has come."""
        self.read += data
        if b"!" in data:
            raise ValueError(data)
        lines = self.read.split(b"\n")
        return lines[:-1] if len(lines) > self.count else None


async def heard(what: bytes) -> None:
    """Wait until the server has heard something."""
    async with asyncio.timeout(30):
        while what not in Echo.heard:
            await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_an_answer_may_come_in_pieces(talk: Conversation) -> None:
    """Question after question over one connection."""
    for number in range(3):
        asked = talk.send(b"q%d" % number, Lines(2))
        await heard(b"q%d" % number)
        for piece in (b"a", b"\nb", b"%d\n" % number):
            assert not asked.done()
            Echo.transport.write(piece)
            await asyncio.sleep(0.001)
        assert await asked == [b"a", b"b%d" % number]
    assert talk.stands


@pytest.mark.asyncio
async def test_what_is_no_answer_is_raised(talk: Conversation) -> None:
    """By whoever reads it."""
    asked = talk.send(b"q", Lines(1))
    Echo.transport.write(b"!")
    with pytest.raises(ValueError, match="!"):
        await asked


@pytest.mark.asyncio
async def test_what_nobody_asked_for_ends_a_conversation(talk: Conversation) -> None:
    """It would be taken for the answer to the next question."""
    Echo.transport.write(b"a\n")
    async with asyncio.timeout(30):
        while talk.stands:
            await asyncio.sleep(0.001)
    with pytest.raises(ConnectionError, match="closed"):
        talk.send(b"q", Lines(1))


@pytest.mark.asyncio
async def test_the_end_of_a_connection_ends_its_question(talk: Conversation) -> None:
    """Without waiting for the time that it has."""
    asked = talk.send(b"q", Lines(1))
    await heard(b"q")
    Echo.transport.abort()
    with pytest.raises(ConnectionError):
        await asked
    assert not talk.stands


@pytest.mark.asyncio
async def test_each_question_has_its_whole_time(talk: Conversation) -> None:
    """Though one alarm serves all: one that rings for an older question is set anew."""
    talk._patience = LITTLE
    began = time.monotonic()
    while time.monotonic() < began + LITTLE / 2:  # the alarm is set by the first of them
        asked = talk.send(b"q", Lines(1))
        Echo.transport.write(b"a\n")
        assert await asked == [b"a"]
    late, began = talk.send(b"late", Lines(1)), time.monotonic()
    with pytest.raises(TimeoutError):
        await late
    assert time.monotonic() - began >= LITTLE


@pytest.mark.asyncio
async def test_an_answer_that_came_while_the_loop_was_blocked_counts(talk: Conversation) -> None:
    """The server is not to blame for a view that computes."""
    talk._patience = LITTLE
    asked = talk.send(b"q", Lines(1))
    await heard(b"q")
    Echo.transport.write(b"a\n")
    until = time.monotonic() + LITTLE * 1.5
    while time.monotonic() < until:  # not a sleep: nothing may block a loop here
        pass
    assert await asked == [b"a"]


@pytest.mark.asyncio
async def test_an_alarm_for_nobody_says_nothing(talk: Conversation) -> None:
    """Its question was answered, or is not waited for any more."""
    talk._patience = LITTLE
    asked = talk.send(b"q", Lines(1))
    Echo.transport.write(b"a\n")
    assert await asked == [b"a"]
    asked = talk.send(b"q", Lines(1))
    asked.cancel()
    await asyncio.sleep(LITTLE * 1.5)
    assert talk.stands
