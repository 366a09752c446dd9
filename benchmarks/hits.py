"""What a hit in memory costs: memoized functions and methods, whole requests, a fragment.

``python benchmarks/hits.py``. A request is a call of the WSGI app, without sockets. A memoized
function is compared to a dict with a tuple as the key, which is the least that can be done.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Iterator
from typing import Any

from _candidates import calls, note_of
from _harness import Candidate, LeftOut, Table, contest, main, timed
from _peers import MEMORY, TIMEOUT, VERY_OBJECT, Ours, Peer, peers
from flask import Flask, Response, request
from werkzeug.wrappers import Response as WerkzeugResponse

FLAT = {"id": 7, "name": "Emma", "year": 1815, "text": "x" * 200}
NESTED = {"id": 7, "name": "Emma", "tags": ["novel", "1815"], "text": "x" * 200}
DICT = "a dict"

ENVIRON = {
    "REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": "", "SCRIPT_NAME": "",
    "SERVER_NAME": "localhost", "SERVER_PORT": "80", "wsgi.url_scheme": "http",
}  # fmt: skip


# --- memoized functions ---------------------------------------------------------------------------


def memoized(value: Any) -> Iterator[Candidate]:
    """A hit of a memoized ``def``."""

    def function(number: int) -> Any:
        return value

    gives = VERY_OBJECT if isinstance(value, dict) else ""
    yield Candidate(DICT, timed("held[(number,)]", held={(7,): value}, number=7), gives)
    lru = functools.lru_cache(500)(function)
    yield Candidate("functools.lru_cache", timed("lru(7)", lru=lru), "no timeout; C")
    if gives:
        data = pickle.dumps(value, -1)
        yield Candidate("pickle.loads", timed("f(d)", f=pickle.loads, d=data), "a deep copy")
    yield from calls(MEMORY, function, note=gives_of(value))


def amemoized(value: Any) -> Iterator[Candidate]:
    """A hit of a memoized ``async def``, awaited."""
    held = {(7,): value}

    async def look(number: int) -> Any:
        return held[(number,)]

    async def function(number: int) -> Any:
        return value

    gives = VERY_OBJECT if isinstance(value, dict) else ""
    yield Candidate(
        DICT, timed("await look(7)", look=look), "in a coroutine" + f"; {gives}" * bool(gives)
    )
    yield from calls(MEMORY, function, note=gives_of(value))


def gives_of(value: Any) -> Callable[[Peer], str]:
    """What a peer hands out, where the value can be changed; what else is to be said of it."""
    changes = isinstance(value, dict)
    return lambda peer: "; ".join(filter(None, [peer.gives * changes, note_of(peer)]))


def methods(is_async: bool) -> Iterator[Candidate]:
    """A hit of a memoized method; each instance has entries of its own."""

    class Shop:
        def price(self, number: int) -> int:
            return number

        async def aprice(self, number: int) -> int:
            return number

    shop = Shop()
    look = timed("held[(shop, 7)]", held={(shop, 7): 7}, shop=shop)
    yield Candidate(DICT, look, "the instance is a part of the key")
    for peer in peers(MEMORY):
        if not peer.keeps_instances_apart or (is_async and not peer.awaits):
            continue
        try:
            method = peer.amemoize(Shop.aprice) if is_async else peer.memoize(Shop.price)
        except LeftOut:
            continue
        bound = type("Cached", (Shop,), {"price": method})()
        yield Candidate(peer.name, timed(f"{'await ' * is_async}shop.price(7)", shop=bound))


# --- requests -------------------------------------------------------------------------------------


def request_to(app: Flask, **environ: str) -> Callable[[], None]:
    """One whole request, through the app's WSGI interface."""
    wsgi, wanted = app.wsgi_app, {**ENVIRON, **environ}

    def call() -> None:
        b"".join(wsgi(dict(wanted), lambda status, headers: None))

    return call


def view_of(app: Flask, answer: Callable[[], Any], is_async: bool, cached: Any = None) -> None:
    """Add a view that gives this answer, below a decorator."""

    def view() -> Any:
        return answer()

    async def aview() -> Any:
        return answer()

    function: Any = aview if is_async else view
    app.add_url_rule("/", "view", cached(function) if cached else function)


def requests(
    answer: Callable[[], Any],
    colours: tuple[bool, ...] = (False, True),
    query: str = "",
    **options: Any,
) -> Iterator[Candidate]:
    """A request to a view that is not cached, and hits of both libraries."""
    for is_async in (False, *filter(None, colours)):
        app = Flask("benchmark")
        view_of(app, answer, is_async)
        call = request_to(app, QUERY_STRING=query)
        yield Candidate(BARE[is_async], timed("call()", call=call), "no cache")
    for peer in [peer for peer in peers(MEMORY) if isinstance(peer, Ours)]:
        for is_async in colours:
            app = Flask("benchmark")
            cache = type(peer.cache)(app, config={"CACHE_TYPE": "SimpleCache"})
            view_of(app, answer, is_async, cache.cached(TIMEOUT, **options))
            call = request_to(app, QUERY_STRING=query)
            call()
            yield Candidate(peer.name, timed("call()", call=call), "an async view" * is_async)


BARE = {False: "a bare sync view", True: "a bare async view"}


def pages() -> Iterator[Candidate]:
    """A browser has the page already: by hand, and with ``http=True``."""
    app = Flask("benchmark")

    @app.get("/")
    def by_hand() -> WerkzeugResponse:
        response = Response(status=200)
        response.set_etag("7")
        return response.make_conditional(request)

    call = request_to(app, HTTP_IF_NONE_MATCH='"7"')
    yield Candidate(BARE[False], timed("call()", call=call), "an ETag set by hand, no body made")
    for size in (5, 1 << 20):
        cached = next(peers(MEMORY))
        assert isinstance(cached, Ours)
        view_of(cached.app, lambda size=size: "x" * size, False, cached.cache.cached(http=True))
        etag = cached.app.test_client().get("/").headers["ETag"]
        call = request_to(cached.app, HTTP_IF_NONE_MATCH=etag)
        name = cached.name if size == 5 else f"{cached.name}, 1 MB"
        yield Candidate(name, timed("call()", call=call))


# --- a fragment of a template ---------------------------------------------------------------------

LIST = "{% for n in range(50) %}<li>{{ n }}</li>{% endfor %}"
FRAGMENT = f'<ul>{{% cache 300, "nav" %}}{LIST}{{% endcache %}}</ul>'


def fragments() -> Iterator[Candidate]:
    """A template with one cached fragment."""
    text = Flask("benchmark").jinja_env.from_string(f"<ul>{LIST}</ul>")
    plain = Flask("benchmark").jinja_env.from_string(f"<ul>{'<li>7</li>' * 50}</ul>")
    yield Candidate("a constant text", timed("t.render()", t=plain), "no tag in the template")
    for peer in [peer for peer in peers(MEMORY) if isinstance(peer, Ours)]:
        template = peer.app.jinja_env.from_string(FRAGMENT)
        with peer.app.app_context():
            template.render()
        render = within(peer.app, timed("t.render()", t=template))
        yield Candidate(peer.name, render)
    yield Candidate("the fragment, rendered", timed("t.render()", t=text), "no cache")


def within(app: Flask, turn: Callable[[int], float]) -> Callable[[int], float]:
    """The turn in a context of the app."""

    def inside(times: int) -> float:
        with app.app_context():
            return turn(times)

    return inside


def tables() -> Iterator[Table]:
    """All of it."""
    yield contest("memoized def, a number", memoized(7), limit=DICT)
    yield contest("memoized def, a flat dict", memoized(FLAT), limit=DICT)
    yield contest("memoized def, a nested dict", memoized(NESTED), limit=DICT)
    yield contest("memoized async def, a number", amemoized(7), limit=DICT)
    yield contest("memoized async def, a nested dict", amemoized(NESTED), limit=DICT)
    yield contest("memoized method", methods(False), limit=DICT)
    yield contest("memoized async method", methods(True), limit=DICT)
    hello, answered = {"limit": BARE[False]}, {"Content-Type": "text/plain", "X-By": "us"}
    yield contest("request: a text, sync view", requests(lambda: "hello", (False,)), **hello)
    yield contest("request: a text, async view", requests(lambda: "hello", (True,)), **hello)
    queried = requests(lambda: request.args["a"], (False,), "b=2&a=1", query_string=True)
    yield contest("request: with query_string", queried, **hello)
    queried = requests(lambda: request.args["a"], (True,), "b=2&a=1", query_string=True)
    yield contest("request: with query_string, async view", queried, **hello)
    built = requests(lambda: Response("hello", headers=answered), (False,))
    yield contest("request: a Response", built, **hello)
    yield contest("request: a dict", requests(lambda: dict(FLAT), (False,)), **hello)
    yield contest("request: a 304", pages(), **hello)
    yield contest("a fragment of a template", fragments(), limit="a constant text")


if __name__ == "__main__":
    main("hits", tables, waits=False)
