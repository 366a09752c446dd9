"""Pages through a real shared cache: what it keeps, and that an invalidation gets through."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.caching_proxy import Answer, CachingProxy, needs_nginx, request
from support.waiting import until
from support.web_server import WebServer

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system"),
    needs_nginx,
    pytest.mark.timeout(150),
]

#: A server with its options, and the app that it serves.
SERVERS = {
    "gunicorn": [
        "gunicorn", "--no-control-socket", "--bind", "127.0.0.1:{port}", "--log-level", "warning",
        "--worker-class", "gthread", "--threads", "8", "support.proxied_apps:flask_app()",
    ],
    "hypercorn": [
        "hypercorn", "--bind", "127.0.0.1:{port}", "--workers", "0", "--log-level", "ERROR",
        "support.proxied_apps:quart_app()",
    ],
}  # fmt: skip


class Stage:
    """A server, and a proxy in front of it."""

    def __init__(self, server: WebServer, proxy: CachingProxy) -> None:
        self.server, self.proxy = server, proxy

    def get(self, path: str, **headers: str) -> Answer:
        """A page, through the proxy."""
        return request(self.proxy.port, path, **headers)

    def ask(self, path: str, **headers: str) -> Answer:
        """A page, from the server itself."""
        return request(self.server.port, path, **headers)

    def delete(self, path: str) -> None:
        """Delete a page from the cache of the app."""
        assert request(self.server.port, f"/delete{path}", "POST").status == 200


@pytest.fixture(scope="module", params=SERVERS)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """Each server behind the proxy."""
    folder: Path = tmp_path_factory.mktemp("served")
    proxy, config = CachingProxy(), {"CACHE_TYPE": "SimpleCache"}
    server = WebServer(folder, config, [], SERVERS[request.param], PROXY=str(proxy.port))
    try:
        yield Stage(server, proxy.before(server.port))
    finally:
        proxy.stop()
        server.terminate()
    assert "Traceback" not in server.stderr.read_text()


def test_an_invalidation_is_seen_by_the_next_request_through_the_proxy(stage: Stage) -> None:
    """Though the proxy keeps the page for ten minutes: it is told."""
    first, second = stage.get("/shared/news"), stage.get("/shared/news")
    assert (first.proxy, second.proxy) == ("MISS", "HIT")
    assert first.body == second.body and first.body.startswith("news 1 ")
    stage.delete("/shared/news")
    third = stage.get("/shared/news")
    assert (third.proxy, third.body[:7]) == ("HIT", "news 2 ")


def test_a_page_that_wants_to_be_asked_for_is_not_kept_by_the_proxy(stage: Stage) -> None:
    """The default: an invalidation is seen though nobody is told."""
    answers = [stage.get("/asked/default") for _ in range(2)]
    stage.delete("/asked/default")
    answers.append(stage.get("/asked/default", If_None_Match=answers[0].headers["etag"]))
    assert [answer.proxy for answer in answers] == ["MISS"] * 3
    assert [answer.body[:10] for answer in answers] == ["default 1 "] * 2 + ["default 2 "]
    assert answers[0].headers["cache-control"] == "no-cache"


def test_a_proxy_revalidates_what_it_has_kept(stage: Stage) -> None:
    """With a 304 of the cache; and after an invalidation it gets the new page."""
    assert stage.get("/short/a").proxy == "MISS"
    until(lambda: stage.get("/short/a").proxy == "REVALIDATED")
    assert stage.get("/short/a").body.startswith("a 1 ")
    stage.delete("/short/a")  # the app does not tell the proxy of these pages
    until(lambda: stage.get("/short/a").body.startswith("a 2 "))


def test_a_proxy_keeps_a_page_for_each_variant(stage: Stage) -> None:
    """``Vary`` has the header that is in the key."""
    german, english = (
        stage.get("/languages/a", Accept_Language=language) for language in ("de", "en")
    )
    assert (german.proxy, english.proxy) == ("MISS", "MISS")
    assert german.headers["vary"] == "Accept-Language"
    again = stage.get("/languages/a", Accept_Language="de")
    assert (again.proxy, again.body) == ("HIT", german.body)
    assert german.body != english.body


def test_a_proxy_keeps_nothing_that_the_cache_does_not(stage: Stage) -> None:
    """A page that is not stored says ``private``."""
    answers = [stage.get("/own/a") for _ in range(3)]
    assert [answer.proxy for answer in answers] == ["MISS"] * 3
    assert len({answer.body for answer in answers}) == 3
    assert answers[0].headers["cache-control"] == "private, no-cache"


def test_a_304_of_a_real_server_says_nothing_of_a_body(stage: Stage) -> None:
    """What frameworks add on the way out is not there either, for GET and HEAD."""
    full = stage.ask("/asked/raw")
    assert full.status == 200 and len(full.body) > 1000
    for method in ("GET", "HEAD"):
        answer = request(
            stage.server.port, "/asked/raw", method, If_None_Match=full.headers["etag"]
        )
        assert (answer.status, answer.body) == (304, "")
        assert answer.headers["etag"] == full.headers["etag"] and "date" in answer.headers
        assert answer.headers["cache-status"].startswith("app; hit; ttl=")
        assert not answer.headers.keys() & {"content-length", "content-type", "last-modified"}
