"""Passwords stand in no error, no line of the log and no repr, whatever answers at that port."""

from __future__ import annotations

import asyncio
import logging
import socketserver
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.backends._connections.secrets import Secrets
from flask_caching_async.exceptions import BackendError, ConfigurationError
from support.params import cases, table
from support.servers import HOST, RedisServer, free_port

WORD = "s3cr3t/&'é word"


def whole(error: BaseException) -> str:
    """An error as a traceback shows it, with all that led to it."""
    return "".join(traceback.format_exception(error))


# --- the rule -------------------------------------------------------------------------------------

TEXTS = {
    "as it is": (f"I do not know '{WORD}'", "I do not know '***'"),
    "in a URL": ("redis://:s3cr3t%2F%26%27%C3%A9%20word@here", "redis://:***@here"),
    "escaped": (f"{WORD!r} {WORD.encode()!r}", "'***' b'***'".replace("'", '"')),
    "in the words of a Redis that cuts it": (
        "unknown command 'HELLO', with args beginning with: '3' 'AUTH' 's3cr",
        "unknown command 'HELLO', with args beginning with: ...",
    ),
    "nowhere": ("Connection refused", "Connection refused"),
}


@table("name", TEXTS)
def test_a_text_is_shown_without_a_password(name: str) -> None:
    """In every way in which drivers and servers write it."""
    text, shown = TEXTS[name]
    assert Secrets([None, "", WORD]).hide(text) == shown


def test_a_short_password_hides_no_part_of_a_word() -> None:
    """``1`` stands in most ports."""
    assert Secrets(["1", b"6379"]).hide("127.0.0.1:16379 '1'") == "127.0.0.***:1*** '***'"


def test_an_error_leaves_with_nothing_in_what_led_to_it() -> None:
    """Causes and contexts are printed with it; one that cannot be changed is left out."""

    class Stubborn(Exception):
        def __str__(self) -> str:
            return WORD

    with pytest.raises(KeyError) as caught, Secrets([WORD.encode()]):
        try:
            try:
                raise Stubborn
            except Stubborn:
                raise ValueError(WORD.encode(), 1, OSError(WORD))  # noqa: B904
        except ValueError as error:
            raise KeyError(WORD) from error
    cause = caught.value.__cause__
    assert cause is not None and cause.args == (b"***", 1, "***") and cause.__context__ is None
    assert "s3cr3t" not in whole(caught.value)


# --- what answers at that port --------------------------------------------------------------------

#: What servers say to a password that they do not understand.
ANSWERS: dict[str, Callable[[bytes], bytes]] = {
    "an old Redis": lambda sent: (
        b"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `%b`, \r\n" % word()
    ),
    "a Redis without users": lambda sent: b"-ERR wrong number of arguments for 'auth' command\r\n",
    "a Redis that knows another": lambda sent: (
        b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
    ),
    "an echo": lambda sent: sent,
    "an error that quotes": lambda sent: b"-ERR what is %b?\r\n" % word(),
    "a web server": lambda sent: b"HTTP/1.1 400 Bad Request\r\n\r\n" + sent,
}


def word() -> bytes:
    """The password as it is sent."""
    return WORD.encode()


@contextmanager
def answering(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """The port of a server that says one thing to whatever it is told."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                while sent := self.request.recv(1 << 16):
                    self.request.sendall(answer(sent))
            except OSError:
                pass

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Listener((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def redis_config(kind: str, port: int) -> dict[str, Any]:
    """The configuration of a cache on one port, which is told the password."""
    if kind == "RedisSentinelCache":
        words = {"CACHE_REDIS_SENTINEL_PASSWORD": WORD, "CACHE_REDIS_PASSWORD": WORD}
        return {"CACHE_REDIS_SENTINELS": [(HOST, port)], **words}
    if kind == "RedisClusterCache":
        return {"CACHE_REDIS_CLUSTER": f"{HOST}:{port}", "CACHE_REDIS_PASSWORD": WORD}
    url = f"redis{'s' * (kind == 'TLS')}://{HOST}:{port}"
    if kind == "a client":

        class Client(redis.Redis):
            """One whose connections are its own business."""

        from redis.backoff import NoBackoff
        from redis.retry import Retry

        once = Retry(NoBackoff(), 0)
        return {"CACHE_REDIS_HOST": Client.from_url(url, password=WORD, protocol=3, retry=once)}
    return {"CACHE_REDIS_URL": url, "CACHE_REDIS_PASSWORD": WORD}


KINDS = ("RedisCache", "RedisSentinelCache", "RedisClusterCache", "a client", "TLS")


def outcome(config: dict[str, Any], colour: str) -> list[BaseException]:
    """What a cache with this configuration raises, or raises not: everything is tried once."""
    caught: list[BaseException] = []
    cache = Cache(Flask("site"), config={"CACHE_KEY_PREFIX": "p:", **config})

    def sync() -> None:
        for call in (lambda: cache.get("k"), lambda: cache.set("k", 1), lambda: cache.delete("k")):
            try:
                call()
            except BackendError as error:
                caught.append(error)
        cache.close()

    async def native() -> None:
        async with cache:
            for call in (cache.aget("k"), cache.aset("k", 1), cache.adelete("k")):
                try:
                    await call
                except BackendError as error:
                    caught.append(error)

    if colour == "sync":
        sync()
    else:
        asyncio.run(native())
    return caught


@cases(
    "kind,answer",  # redis-py's own clients take an echo for an answer
    [(k, a) for k in KINDS for a in ANSWERS if (k, a) != ("a client", "an echo")],
    everywhere=[f"{kind}-an error that quotes" for kind in KINDS],
)
def test_no_password_stands_in_what_fails_to_connect(
    kind: str, answer: str, colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in what is raised and its causes, nor in the log, tracebacks included."""
    caplog.set_level(logging.DEBUG)
    name = kind if kind.startswith("Redis") else "RedisCache"
    with answering(ANSWERS[answer]) as port:
        config = {"CACHE_TYPE": name, "CACHE_CONNECT_TIMEOUT": 10, **redis_config(kind, port)}
        caught = outcome({**config, "CACHE_ON_ERROR": "raise"}, colour)
        assert len(caught) == 3 and all("s3cr3t" not in whole(error) for error in caught)
        assert str(port) in str(caught[0])
        assert not outcome({**config, "CACHE_ON_ERROR": "log"}, colour)
    assert "s3cr3t" not in caplog.text
    lines = [r for r in caplog.records if r.levelno > logging.DEBUG and r.name != "asyncio"]
    failed = [record for record in lines if "the pages go on without it" in record.getMessage()]
    assert len(failed) == 1 and not any(record.exc_info for record in lines)
    assert str(port) in failed[0].getMessage() and "\n" not in failed[0].getMessage()


@pytest.mark.parametrize(
    "config",
    [
        {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": "redis://{}"},
        {"CACHE_TYPE": "RedisSentinelCache", "CACHE_REDIS_SENTINELS": "{}"},
        {"CACHE_TYPE": "RedisClusterCache", "CACHE_REDIS_CLUSTER": "{}"},
        {"CACHE_TYPE": "MemcachedCache", "CACHE_MEMCACHED_SERVERS": "{}"},
        {"CACHE_TYPE": "SASLMemcachedCache", "CACHE_MEMCACHED_SERVERS": "{}"},
    ],
    ids=lambda config: config["CACHE_TYPE"],
)
def test_a_server_that_does_not_listen_is_one_line_with_its_name_and_the_cause(
    config: dict[str, Any], colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The traceback is there for who looks at the level DEBUG."""
    caplog.set_level(logging.DEBUG, logger="flask_caching_async")
    where = f"{HOST}:{free_port()}"
    config = {name: value.format(where) for name, value in config.items()}
    if config["CACHE_TYPE"].startswith("SASL"):
        pytest.importorskip("pylibmc", exc_type=ImportError)
        config |= {"CACHE_MEMCACHED_USERNAME": "us", "CACHE_MEMCACHED_PASSWORD": WORD}
    outcome({**config, "CACHE_ON_ERROR": "log"}, colour)
    first = next(r for r in caplog.records if r.levelno > logging.DEBUG)
    line = first.getMessage()
    assert line.startswith(config["CACHE_TYPE"]) and where in line and "\n" not in line
    cause = line.partition("the pages go on without it: ")[2]
    assert any(word in cause for word in ("refused", "Connect call failed", "FAILED", "network:"))
    assert first.exc_info is None and "Traceback" not in first.getMessage()
    traces = [record for record in caplog.records if record.exc_info]
    assert traces and all(record.levelno == logging.DEBUG for record in traces)


def test_of_several_servers_the_one_that_fails_is_named(
    colour: str, caplog: pytest.LogCaptureFixture, memcached_port: int
) -> None:
    """The line names all of them, and the cause the one that does not listen."""
    dead = f"{HOST}:{free_port()}"
    config = {"CACHE_TYPE": "MemcachedCache", "CACHE_ON_ERROR": "raise"}
    config["CACHE_MEMCACHED_SERVERS"] = [f"{HOST}:{memcached_port}", dead]
    cache = Cache(Flask("site"), config=config)

    async def use() -> None:
        async with cache:
            await cache.aget_many(*[f"key {n}" for n in range(50)])

    with pytest.raises(BackendError) as caught:
        if colour == "sync":
            cache.get_many(*[f"key {n}" for n in range(50)])
        asyncio.run(use())
    assert str(caught.value.__cause__).endswith(f": '{dead}'")


def test_a_refused_password_opens_the_breaker(colour: str) -> None:
    """Each request would fail as the one before; it is no answer to what was asked."""
    with answering(ANSWERS["an old Redis"]) as port:
        config = {"CACHE_TYPE": "RedisCache", "CACHE_BREAKER_THRESHOLD": 2, "CACHE_ON_ERROR": "log"}
        config |= redis_config("RedisCache", port)
        cache = Cache(Flask("site"), config=config)
        assert cache.get("a") is None and cache.get("a") is None
        assert cache._binding().engine.store.failures.breaker.is_open


def test_a_wrong_password_is_named_as_the_cause_and_not_shown(
    colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By a Redis of today."""
    with RedisServer(requirepass="other") as server:
        outcome(
            {
                "CACHE_TYPE": "RedisCache",
                "CACHE_REDIS_URL": f"redis://user:s3cr3t@{HOST}:{server.port}",
                "CACHE_ON_ERROR": "log",
            },
            colour,
        )
    (line, *_) = [record.getMessage() for record in caplog.records]
    assert "invalid username-password pair" in line and str(server.port) in line
    assert "s3cr3t" not in caplog.text


# --- settings -------------------------------------------------------------------------------------

SENTINEL = {"CACHE_TYPE": "RedisSentinelCache"}
CLUSTER = {"CACHE_TYPE": "RedisClusterCache"}
MEMCACHED = {"CACHE_TYPE": "MemcachedCache"}

WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {**SENTINEL, "CACHE_REDIS_SENTINELS": "redis://:s3cr3t@here:1"},
        "CACHE_REDIS_SENTINELS must be a list",
    ),
    (
        {**SENTINEL, "CACHE_REDIS_SENTINELS": ":s3cr3t@here:1"},
        "CACHE_REDIS_SENTINELS must be a list",
    ),
    (
        {**SENTINEL, "CACHE_REDIS_SENTINELS": [{"password": "s3cr3t"}]},
        "CACHE_REDIS_SENTINELS must be a list",
    ),
    (
        {**SENTINEL, "CACHE_REDIS_SENTINELS": [("here", "s3cr3t")]},
        "CACHE_REDIS_SENTINELS must be a list",
    ),
    (
        {**CLUSTER, "CACHE_REDIS_CLUSTER": "redis://:s3cr3t@here:1"},
        "CACHE_REDIS_CLUSTER must list nodes",
    ),
    ({**CLUSTER, "CACHE_REDIS_CLUSTER": "u:s3cr3t@here:1"}, "CACHE_REDIS_CLUSTER must list nodes"),
    ({**CLUSTER, "CACHE_REDIS_CLUSTER": "here:s3cr3t"}, "CACHE_REDIS_CLUSTER must list nodes"),
    (
        {**MEMCACHED, "CACHE_MEMCACHED_SERVERS": "memcached://u:s3cr3t@here:1"},
        "memcached://... is none",
    ),
    (
        {**MEMCACHED, "CACHE_MEMCACHED_SERVERS": ["u:s3cr3t@here:1"]},
        "text without a scheme is none of these",
    ),
    ({**MEMCACHED, "CACHE_MEMCACHED_SERVERS": [("here", "s3cr3t")]}, "a tuple is none of these"),
    ({**MEMCACHED, "CACHE_MEMCACHED_SERVERS": {"u:s3cr3t@here"}}, "or a client, not a set"),
    ({"CACHE_TYPE": "redis://:s3cr3t@here.org"}, "not redis://...; a URL is given as CACHE_REDIS"),
    ({"CACHE_TYPE": "u:s3cr3t@here.org"}, "CACHE_TYPE is the name of a class"),
    ({"CACHE_TYPE": b"s3cr3t"}, "CACHE_TYPE must be a name or a dotted path, not a bytes"),
    ({**MEMCACHED, "CACHE_ARGS": "redis://:s3cr3t@here"}, "CACHE_ARGS must be a list"),
    ({**MEMCACHED, "CACHE_OPTIONS": ["s3cr3t"]}, "CACHE_OPTIONS must be a dict"),
    (
        {"CACHE_TYPE": "SASLMemcachedCache", "CACHE_MEMCACHED_SERVERS": ["u:s3cr3t@here:1"]},
        "text without a scheme is none of these",
    ),
    (
        {"CACHE_TYPE": "SASLMemcachedCache", "CACHE_MEMCACHED_SERVERS": [("u", "s3cr3t", 3)]},
        "pylibmc does not take these settings",
    ),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_a_wrong_setting_is_not_shown_if_a_password_may_stand_in_it(number: int) -> None:
    """Neither in the error nor in what led to it."""
    config, message = WRONG[number]
    if config["CACHE_TYPE"] == "SASLMemcachedCache":
        pytest.importorskip("pylibmc", exc_type=ImportError)
    config = {"CACHE_KEY_PREFIX": "p:", **config}
    with pytest.raises(ConfigurationError) as caught:
        Cache(Flask("site"), config=config)
    assert message in str(caught.value) and "s3cr3t" not in whole(caught.value)


def test_no_repr_shows_a_password() -> None:
    """Of a backend, a cache, or what a cache is to an app."""
    for kind in KINDS[:3]:
        config = {"CACHE_TYPE": kind, "CACHE_KEY_PREFIX": "p:", **redis_config(kind, 1)}
        cache = Cache(Flask("site"), config=config)
        for thing in (cache, cache.cache, cache._binding(), vars(cache.cache)):
            assert "s3cr3t" not in repr(thing)
