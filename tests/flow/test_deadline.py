"""Time limits on an event loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from flask_caching_async._runtime.deadline import Deadline


@pytest.mark.asyncio
async def test_what_takes_too_long_is_a_timeout() -> None:
    """As with ``asyncio.timeout``, a little later."""
    with pytest.raises(TimeoutError):
        async with Deadline(0.01):
            await asyncio.sleep(20)


@pytest.mark.asyncio
async def test_a_loop_that_was_blocked_finds_an_answer_that_is_there() -> None:
    """A view that computes without a pause is not the server's fault."""
    reader, writer = await _connected()
    async with Deadline(0.05):
        time.sleep(0.2)  # the answer comes meanwhile
        assert await reader.readexactly(2) == b"ok"
    writer.close()
    await writer.wait_closed()


async def _connected() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to somebody who says ok at once."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"ok")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    connection = await asyncio.open_connection(host, port)
    await asyncio.sleep(0)
    server.close()
    return connection


@pytest.mark.asyncio
async def test_a_cancellation_from_elsewhere_is_one() -> None:
    """It is not taken for a timeout, and what ends in time is not cancelled."""

    async def work() -> None:
        async with Deadline(20):
            await asyncio.sleep(20)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with Deadline(0.01):
        pass
    await asyncio.sleep(0.05)
