"""What the page "In production" says of servers that apps share."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.exceptions import BackendError
from flask_caching_async.serializers import JSONSerializer
from support.faces import Face
from support.servers import RedisServer

PAGE = Path(__file__).parent.parent / "docs" / "production.rst"


def an_app(server: RedisServer, **settings: Any) -> tuple[Cache, Any]:
    """An app as ``app.py`` has it, with a page and a function of the usual names; and a client."""
    app = Flask(__name__)
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": server.url, **settings}
    cache = Cache(app, config={"CACHE_ON_ERROR": "raise", **config})
    title = settings.get("TITLE", "untitled")

    @app.get("/")
    @cache.cached()
    def index() -> str:
        return f"welcome to {title}"

    return cache, app.test_client()


@pytest.mark.parametrize("prefixes", [{}, {"shop": "shop:", "blog": "blog:"}], ids=["same", "own"])
def test_apps_on_one_server_are_one_cache_unless_each_has_a_prefix(
    prefixes: dict[str, str], clean_redis: RedisServer
) -> None:
    """Values, pages, tags and ``clear`` are those of both, or of one."""

    def make(title: str) -> tuple[Cache, Any]:
        prefix = {"CACHE_KEY_PREFIX": prefixes[title]} if prefixes else {}
        return an_app(clean_redis, TITLE=title, **prefix)

    (shop, shop_client), (blog, blog_client) = make("shop"), make("blog")
    shared = not prefixes
    assert shop_client.get("/").text == "welcome to shop"
    assert blog_client.get("/").text == f"welcome to {'shop' if shared else 'blog'}"
    shop.set("greeting", "hello", tags=["words"])
    assert blog.get("greeting") == ("hello" if shared else None)
    blog.delete_tags("words")
    assert shop.get("greeting") == (None if shared else "hello")
    shop.set("greeting", "hello")
    blog.clear()
    assert shop.get("greeting") == (None if shared else "hello")
    shop.close()
    blog.close()


@pytest.mark.asyncio
async def test_the_user_of_the_page_may_do_what_a_cache_does_and_no_more(
    colour: str, clean_redis: RedisServer
) -> None:
    """Each operation is allowed under its prefix, and nothing elsewhere."""
    (line,) = re.findall(r"^ +(ACL SETUSER shop .+)", PAGE.read_text("utf-8"), re.M)
    clean_redis.ask(*line.split())
    url = clean_redis.url.replace("redis://", "redis://shop:secret@")
    cache, client = an_app(clean_redis, CACHE_REDIS_URL=url, CACHE_KEY_PREFIX="shop:")
    face, calls = Face(cache, colour), []
    function = face.memoize(60)(lambda: len(calls.append(0) or calls))
    try:
        assert client.get("/").text == client.get("/").text == "welcome to untitled"
        assert [await face.call(function) for _ in range(2)] == [1, 1]
        assert await face.set("key", "value", tags=["tag"]) and await face.add("other", 1)
        assert await face.inc("number") == 1
        assert await face.get_many("key", "other") == ["value", 1]
        assert await face.delete("other") and await face.delete_tags("tag")
        assert await face.get("key") is None
        assert await face.delete_memoized(function) and await face.call(function) == 2
        assert await face.clear() and await face.call(function) == 3
        cache.close()
        elsewhere, _ = an_app(clean_redis, CACHE_REDIS_URL=url, CACHE_KEY_PREFIX="blog:")
        with pytest.raises(BackendError, match="no permissions"):
            elsewhere.set("key", "value")
        elsewhere.close()
    finally:
        clean_redis.ask("ACL", "DELUSER", "shop")


class Program:
    """What a pickle of it says is run by those who load it."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.made),)


@pytest.mark.parametrize("serializer", [None, JSONSerializer], ids=["pickle", "JSON"])
def test_what_another_program_writes_can_run_only_if_values_are_pickled(
    serializer: Any, clean_redis: RedisServer, tmp_path: Path
) -> None:
    """A pickle runs when it is loaded; under JSON it is a miss."""
    cache, _ = an_app(clean_redis, CACHE_SERIALIZER=serializer, CACHE_ON_ERROR="log")
    made = tmp_path / "made"
    clean_redis.ask("SET", "flask_cache_key", b"!" + pickle.dumps(Program(made)))
    assert cache.get("key") is None
    assert made.exists() == (serializer is None)
    cache.close()
