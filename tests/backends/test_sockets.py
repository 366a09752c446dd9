"""Blocking sockets: whoever counts the seconds, they are the same."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from flask_caching_async.backends._connections import sockets
from flask_caching_async.backends._connections.sockets import Socket, has_more, limit

LIMIT = 0.2

pytestmark = pytest.mark.parametrize(
    "kernel",
    [pytest.param(True, marks=pytest.mark.skipif(not sockets.IN_KERNEL, reason="no Linux")), False],
)


@pytest.fixture
def ends(kernel: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Socket, socket.socket]]:
    """A socket of ours with a limit, and the other end of its connection."""
    monkeypatch.setattr(sockets, "IN_KERNEL", kernel)
    with socket.create_server(("127.0.0.1", 0)) as server, Socket(socket.AF_INET) as mine:
        mine.connect(server.getsockname())
        limit(mine, LIMIT)
        other, _ = server.accept()
        with other:
            yield mine, other


def test_it_is_seen_whether_there_is_more(ends: tuple[Socket, socket.socket]) -> None:
    """Nothing, something, nothing again, and an end: none of them takes time, or what has come."""
    mine, other = ends
    began = time.monotonic()
    assert not has_more(mine) and not has_more(mine)
    other.sendall(b"x")
    assert until(lambda: has_more(mine)) and has_more(mine)
    assert mine.recv(10) == b"x" and not has_more(mine)
    with pytest.raises((BlockingIOError, TimeoutError)):  # after LIMIT, as before all those looks
        mine.recv(10)
    assert time.monotonic() - began >= LIMIT * 0.9
    other.close()
    assert until(lambda: has_more(mine))
    assert mine.recv(1) == b""
    assert time.monotonic() - began < 20


def until(condition: Callable[[], bool]) -> bool:
    """Whether something comes to be so soon."""
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
    return True


@pytest.mark.parametrize("step", ["recv", "sendall"])
def test_a_step_that_gets_no_answer_ends_in_time(
    ends: tuple[Socket, socket.socket], step: str
) -> None:
    """Nothing comes, or nobody takes what is sent; also after it was seen that there is no more."""
    mine, _ = ends
    for look in (False, True):
        assert not (look and has_more(mine))
        began = time.monotonic()
        with pytest.raises((BlockingIOError, TimeoutError)):
            while True:
                getattr(mine, step)(b"x" * 1_000_000 if step == "sendall" else 10)
        assert time.monotonic() - began >= LIMIT * 0.9


def test_without_a_limit_a_step_waits(ends: tuple[Socket, socket.socket]) -> None:
    """As the budget of a user may say."""
    mine, other = ends
    limit(mine, None)
    later = threading.Timer(2 * LIMIT, other.sendall, [b"x"])
    later.start()
    assert mine.recv(1) == b"x"
    later.join()
