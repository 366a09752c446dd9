"""Memcached through pylibmc: clients of it, with a password, and with values in pieces."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

from backends.test_memcache_clients import ReadyClients, cache_with
from flask_caching_async.backends import BaseCache, memcache
from flask_caching_async.backends.memcache import SASLMemcachedCache, SpreadSASLMemcachedCache
from flask_caching_async.exceptions import BackendError, ConfigurationError
from support.conformance import Conformance, Crowds, PlainOperations, ValuesAndKeys
from support.faces import COLOURS, Face
from support.lanes import PREFIX, use_everything
from support.memcached_items import raw
from support.servers import HOST, MemcachedServer, free_port
from support.waiting import together, until

pylibmc = pytest.importorskip("pylibmc", reason="pylibmc is not installed")

KINDS = ("SASLMemcachedCache", "SpreadSASLMemcachedCache")


@pytest.fixture
def server(clean_memcached: MemcachedServer) -> MemcachedServer:
    """An empty server."""
    return clean_memcached


@pytest.fixture
def where(server: MemcachedServer) -> list[str]:
    """Its address."""
    return [f"{HOST}:{server.port}"]


class TestReadyClients(ReadyClients):
    """Those of pylibmc."""

    clients: ClassVar[dict[str, Callable[[int], Any]]] = {
        "text": lambda port: pylibmc.Client([f"{HOST}:{port}"]),
        "binary": lambda port: pylibmc.Client([f"{HOST}:{port}"], binary=True),
        "threads": lambda port: pylibmc.ThreadMappedPool(pylibmc.Client([f"{HOST}:{port}"])),
    }


class TestSASLMemcachedCache(Conformance):
    """This server wants no password. What computations need is asked of the one below."""

    leases = False
    parts: tuple[type, ...] = (PlainOperations, ValuesAndKeys, Crowds)
    kind = "SASLMemcachedCache"
    options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    def backend(self, memcached_server: MemcachedServer) -> BaseCache:
        kind = getattr(memcache, self.kind)
        where = [f"127.0.0.1:{memcached_server.port}"]
        patient = {"connect_timeout": 20, "operation_timeout": 20}  # a busy machine is not dead
        return kind(where, key_prefix=f"{self.kind}:", **patient, **self.options)


class TestSpreadSASLMemcachedCache(TestSASLMemcachedCache):
    """The same, with values in pieces."""

    parts = Conformance.parts
    kind = "SpreadSASLMemcachedCache"
    options: ClassVar[dict[str, Any]] = {"chunksize": 10_000}


# --- with a password ------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS)
async def test_everything_works_through_pylibmc(where: list[str], kind: str) -> None:
    """On a server that asks for no password; awaitable methods call worker threads."""
    cache = cache_with(kind, where)
    for colour in COLOURS:
        await use_everything(Face(cache, colour))
        assert cache.clear()
    async with cache:
        await use_everything(Face(cache, "async"))
    cache.close()
    assert cache.set("a", 1) and cache.get("a") == 1
    cache.close()
    cache.close()


def test_flask_cachings_settings_and_arguments(where: list[str]) -> None:
    """``CACHE_MEMCACHED_USERNAME`` and ``_PASSWORD``; the options of pylibmc; by position, too."""
    cache = SASLMemcachedCache(where, 60, "pre_", None, None, 3, True, True)
    assert (cache.default_timeout, cache.key_prefix, cache._pool.limit) == (60, "pre_", 3)
    assert cache.shared and not cache.two_coloured
    options = {"behaviors": {"connect_timeout": 123}, "pool_size": 2}
    told = cache_with("SASLMemcachedCache", where, CACHE_OPTIONS=options).cache
    behaviors = told._pool.opener._client.behaviors
    assert behaviors["connect_timeout"] == 123 and behaviors["receive_timeout"] == 20_000_000
    assert told.key_prefix == PREFIX and told._pool.limit == 2
    pairs = cache_with("SASLMemcachedCache", [tuple(where[0].split(":"))])
    assert pairs.set("a", 1)
    pairs.close()
    for wrong in ({"nonsense": 1}, {"behaviors": {"nonsense": 1}}):
        with pytest.raises(ConfigurationError, match="pylibmc does not take"):
            cache_with("SASLMemcachedCache", where, CACHE_OPTIONS=wrong)


def test_no_count_is_lost_between_clients(where: list[str]) -> None:
    """Several caches, each with clients of its own."""
    caches = [cache_with("SASLMemcachedCache", where) for _ in range(4)]
    counted = together(*[lambda c=c: [c.inc("n") for _ in range(20)] for c in caches * 2])
    assert sorted(sum(counted, [])) == list(range(1, 161))
    for cache in caches:
        cache.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_hangs_costs_no_more_than_its_budget(kind: str) -> None:
    """And when it is back, so is the cache."""
    with MemcachedServer() as server:
        little = {"CACHE_OPERATION_TIMEOUT": 0.2, "CACHE_BREAKER_THRESHOLD": 0}
        cache = cache_with(kind, [f"{HOST}:{server.port}"], **little)
        until(lambda: _quietly(lambda: cache.set("a", 1)))
        server.pause()
        with pytest.raises(BackendError):
            cache.get("a")
        server.resume()
        until(lambda: _quietly(lambda: cache.get("a")) == 1)
        server.restart()
        until(lambda: _quietly(lambda: cache.set("a", 2)))
        until(lambda: _quietly(lambda: cache.get("a")) == 2)
        cache.close()


def _quietly(call: Callable[[], Any]) -> Any:
    with suppress(BackendError):
        return call()
    return None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")
def test_a_forked_child_leaves_the_parents_connections_alone(where: list[str]) -> None:
    """Also when it ends, and frees all that it has inherited."""
    cache = cache_with("SASLMemcachedCache", where)
    cache.set_many({str(number): number for number in range(50)})
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if all(cache.get(str(n % 50)) == n % 50 for n in range(300)):
                cache.close()
                status = 0
        finally:
            os._exit(status)
    assert all(cache.get(str(n % 50)) == n % 50 for n in range(300))
    assert os.waitpid(child, 0)[1] == 0
    assert cache.get("1") == 1
    cache.close()


class Passwords:
    """Answers a server's questions for passwords, as the daemon saslauthd does."""

    def __init__(self, path: Path, **known: str) -> None:
        self.known, self.asked = known, 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client, client.makefile("rb") as words:
                name, word, *_ = [words.read(*struct.unpack("!H", words.read(2))) for _ in "1234"]
                right = self.known.get(name.decode()) == word.decode()
                self.asked += 1
                client.sendall(b"\0\2OK" if right else b"\0\2NO")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def guarded() -> Iterator[int]:
    """The port of a server that lets in only alice, whose password is s3cr3t."""
    with tempfile.TemporaryDirectory(prefix="sasl-") as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        # Two, because libmemcached 1.0 reads beyond the end of the list, and spoils the last name.
        lines = [
            "mech_list: plain login",
            "pwcheck_method: saslauthd",
            f"saslauthd_path: {folder}/mux",
        ]
        (folder / "memcached.conf").write_text("\n".join(lines))
        passwords = Passwords(folder / "mux", alice="s3cr3t")
        (folder / "mux").chmod(0o777)
        words = ["memcached", "-S", "-B", "binary", "-l", HOST, "-p", str(port), "-U", "0"]
        words += ["-u", "root"] if os.geteuid() == 0 else []
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                words, env={**os.environ, "SASL_CONF_PATH": name}, stdout=log, stderr=log
            )
        try:
            until(lambda: process.poll() is not None or _listens(port))
            if process.poll() is not None:
                pytest.skip("this Memcached was built without SASL")
            yield port
        finally:
            process.kill()
            process.wait()
            passwords.close()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_only_who_knows_the_password_is_let_in(guarded: int, kind: str) -> None:
    """On a real server; the others are told that they are not."""
    mechanisms = next(Path("/usr/lib").glob("**/sasl2/libplain.so*"), None)
    if mechanisms is None:
        pytest.skip("SASL's mechanism PLAIN is not installed")
    script = f"""
        import asyncio, logging
        from flask import Flask
        from flask_caching_async import Cache, BackendError

        # asyncio complains, where it debugs, of steps that took long.
        logging.getLogger("asyncio").addFilter(lambda record: record.msg[:9] != "Executing")

        def cache(name, word):
            config = {{"CACHE_TYPE": "{kind}", "CACHE_MEMCACHED_SERVERS": ["{HOST}:{guarded}"]}}
            config |= {{"CACHE_MEMCACHED_USERNAME": name, "CACHE_MEMCACHED_PASSWORD": word}}
            config |= {{"CACHE_ON_ERROR": "raise", "CACHE_OPERATION_TIMEOUT": 10}}
            return Cache(Flask("site"), config=config)

        # At the end it is said what could not be stored, nor deleted.
        logging.getLogger("flask_caching_async").setLevel(logging.CRITICAL)

        alice = cache("alice", "s3cr3t")
        assert alice.set("a", [1]) and alice.get("a") == [1] and alice.inc("n") == 1
        assert asyncio.run(alice.aget("a")) == [1]
        for stranger in (cache("alice", "wrong"), cache("bob", "s3cr3t"), cache(None, None)):
            try:
                stranger.set("a", 1)
            except BackendError:
                stranger.close()
            else:
                raise AssertionError("it was let in")
        alice.close()
    """
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(script)],
        # pylibmc's wheel has a SASL library of its own, which looks elsewhere for mechanisms.
        env={**os.environ, "SASL_PATH": str(mechanisms.parent)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- in pieces ------------------------------------------------------------------------------------


@pytest.fixture
def spread(where: list[str]) -> Iterator[SpreadSASLMemcachedCache]:
    """A backend that takes values of up to about 20 times 1 KB."""
    made = SpreadSASLMemcachedCache(where, key_prefix="p:", chunksize=1000, maxchunk=20)
    yield made
    made.close()


def test_a_value_that_is_larger_than_an_item_comes_back_whole(where: list[str]) -> None:
    """Three megabytes, by default in pieces that fit; through a cached function, too."""
    cache, large = cache_with("SpreadSASLMemcachedCache", where), os.urandom(3_000_000)
    assert cache.set("a", large) and cache.get("a") == large
    calls: list[int] = []

    @cache.memoize()
    def f() -> bytes:
        calls.append(1)
        return large

    assert f() == large == f() and calls == [1]
    assert asyncio.run(cache.aget("a")) == large
    assert cache.clear() and cache.get("a") is None
    cache.close()


def test_a_value_lies_in_numbered_pieces(spread: Any, server: MemcachedServer) -> None:
    """What fits is one item under its key; deleting a large one deletes its pieces."""
    assert spread.set("small", "x" * 500) and spread.set("large", "x" * 2500)
    assert raw(server, "p:small") and not raw(server, "p:small~~0")
    assert [bool(raw(server, f"p:large~~{n}")) for n in range(4)] == [True, True, True, False]
    assert int((raw(server, "p:large~~0") or "").split()[2]) <= 1000
    assert spread.delete("large") is True and spread.delete("large") is False
    assert not any(raw(server, f"p:large{end}") for end in ("", "~~0", "~~1", "~~2"))
    assert spread.get("small") == "x" * 500


def test_a_shorter_value_has_no_tail_of_a_longer_one(spread: Any) -> None:
    """Nor the other way round."""
    for size in (9000, 100, 3500, 2500, 9000, 1, 15_000):
        value = os.urandom(size)
        assert spread.set("a", value) and spread.get("a") == value
        assert spread.get_many("a", "b") == [value, None]


def test_a_missing_piece_is_a_missing_value(spread: Any, server: MemcachedServer) -> None:
    """The server may drop any of them."""
    for piece in range(3):
        assert spread.set("a", "x" * 2500)
        assert server.ask(f"delete p:a~~{piece}") == "DELETED"
        assert spread.get("a") is None and not spread.has("a")
        assert spread.add("a", "y" * 2500) and spread.get("a") == "y" * 2500


def test_pieces_of_two_values_are_never_put_together(spread: Any) -> None:
    """While several threads set a large value, everybody reads one of them, or nothing."""
    values = [str(number) * (1500 + 700 * number) for number in range(1, 5)]
    found: dict[Any, int] = {}

    def enough() -> bool:
        """Whether each value was read a few times."""
        return all(found.get(value, 0) >= 5 for value in values)

    def write(value: str) -> None:
        while not enough():
            assert spread.set("a", value)
            time.sleep(random.random() * 0.002)

    def read() -> None:
        while not enough():
            value = spread.get("a")
            found[value] = found.get(value, 0) + 1

    outcomes = together(*[lambda v=v: write(v) for v in values], read, read)
    assert outcomes == [None] * 6
    assert found.keys() <= {*values, None}


def test_more_pieces_than_allowed_are_not_stored(spread: Any, caplog: Any) -> None:
    """Nor without ``chunk`` what needs more than one; nobody gets what was there before."""
    with caplog.at_level(logging.WARNING):
        for stored in (True, False):
            assert spread.set("a", "before")
            assert spread.set("a", "x" * (5000 if stored else 30_000)) is stored
        assert spread.get("a") is None
        assert spread.set("b", "before") and spread.set("b", "x" * 5000, chunk=False) is False
        assert spread.get("b", chunk=False) is None
        assert spread.add("c", "x" * 30_000) is False
    assert len([line for line in caplog.messages if "too large" in line]) == 2


def test_values_can_be_set_and_got_without_spreading(spread: Any) -> None:
    """``chunk=False``, as in Flask-Caching."""
    assert spread.set("a", "small", 60, chunk=False) and spread.get("a", chunk=False) == "small"
    assert spread.set("a", "small", timeout=60, chunk=True) and spread.get("a", True) == "small"


@pytest.mark.parametrize("key", ["k" * 245, "世界" * 200, "a b"])
def test_long_keys_have_pieces_too(spread: Any, key: str) -> None:
    """Whose names are not too long."""
    assert spread.set(key, "x" * 2500) and spread.get(key) == "x" * 2500
    assert spread.delete(key) and spread.get(key) is None
