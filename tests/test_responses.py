"""How responses are kept: what goes in comes out, on every backend, and nobody shares an object."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, abort, jsonify, make_response
from werkzeug.datastructures import Headers
from werkzeug.exceptions import (
    Gone,
    HTTPException,
    MethodNotAllowed,
    NotFound,
)
from werkzeug.sansio.response import Response as AnyResponse
from werkzeug.wrappers import Response as WerkzeugResponse

from flask_caching_async import Cache, CachedResponse
from flask_caching_async._entries.envelope import FORMS
from flask_caching_async._entries.isolation import FREEZERS
from flask_caching_async._frameworks import responses
from flask_caching_async._frameworks.responses import fate_of
from flask_caching_async.serializers import JSONSerializer
from support.backends import OURS, config_for, config_of_ours
from support.faces import COLOURS
from support.params import each_form, table
from support.sites import Site
from support.waiting import PATIENCE, together


class Page(Response):
    """A response class of an app."""

    default_mimetype = "text/x-page"

    class Inner(Response):
        """One that is defined in a class."""


class Sized(Response):
    """A response whose ``__init__`` wants something else."""

    def __init__(self, size: int) -> None:
        super().__init__("x" * size)


class Noted(Response):
    """A response with an attribute of its own."""

    note: str = ""


def noted() -> Noted:
    """A response that only pickle can keep."""
    response = Noted("page")
    response.note = "mine"
    return response


def without_type() -> Response:
    """A response that says nothing of its type."""
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


def repeated() -> Response:
    """A response with a header that occurs several times."""
    headers = Headers([("X-A", "1"), ("Link", "<a>"), ("x-a", "2"), ("Link", "<b>")])
    return Response("page", headers=headers)


def chunked() -> Response:
    """A response in several pieces, text and bytes."""
    response = Response()
    response.response = ["pa", b"ge", "ä"]
    return response


RESPONSES: dict[str, Any] = {
    "text": lambda: Response("page ä"),
    "empty": lambda: Response(),
    "binary": lambda: Response(bytes(range(256)), mimetype="image/png"),
    "charset": lambda: Response("ä".encode("latin-1"), content_type="text/plain; charset=latin-1"),
    "status-text": lambda: Response("page", "299 Rather Fine"),
    "status-only-text": lambda: Response("page", "404 NOT HERE"),
    "repeated-headers": repeated,
    "no-content-type": without_type,
    "content-length-of-a-head": lambda: Response("", headers={"Content-Length": "1000"}),
    "chunks": chunked,
    "werkzeug": lambda: WerkzeugResponse("page"),
    "subclass": lambda: Page("page"),
    "inner-class": lambda: Page.Inner("page", 203),
    "own-init": lambda: Sized(5),
    "own-attribute": noted,
    "cached-response": lambda: CachedResponse(Response("page", 201, {"X-A": "1"}), 7),
    "cached-response-default": lambda: CachedResponse(Response("page"), None),
}


def facts(response: Any) -> Any:
    """All that makes a response what it is."""
    return (
        type(response), response.status, response.status_code, list(response.headers),
        response.get_data(), getattr(response, "timeout", "none"), getattr(response, "note", ""),
        response.direct_passthrough, response.is_streamed,
    )  # fmt: skip


@pytest.fixture
def site(app: Flask, any_cache: Cache, colour: str) -> Site:
    """A site on each kind of backend, in both colours."""
    return Site(app, any_cache, colour)


def hands_out_what_it_holds(site: Site) -> bool:
    """Whether the backend gives back the very objects: then only what has a wire form is a copy."""
    return type(site.cache.cache).__name__ in ("SyncOnly", "AsyncOnly")


def test_a_response_comes_back_as_it_went_in(site: Site) -> None:
    """Class, status, headers with repeats, body and own timeout."""
    site.view("/<kind>")(lambda kind: RESPONSES[kind]())
    for calls, kind in enumerate(RESPONSES, 1):
        first, second = site.get(f"/{kind}"), site.get(f"/{kind}")
        assert site.calls == calls, kind
        assert (second.status, second.data) == (first.status, first.data), kind
        assert sorted(second.headers) == sorted(first.headers), kind
        assert facts(site.cache.get(f"view//{kind}")) == facts(RESPONSES[kind]()), kind


@table("kind", RESPONSES)
def test_freezing_leaves_the_response_usable(kind: str) -> None:
    """The one that was computed is still sent; a frozen one can be thawed many times."""
    response = RESPONSES[kind]()
    before = facts(RESPONSES[kind]())
    frozen = FREEZERS[WerkzeugResponse](response)
    assert facts(response) == before
    if kind == "own-attribute":
        assert frozen is None
        return
    assert frozen is not None
    kept, thaw = frozen
    first, second = thaw(kept), thaw(kept)
    first.headers["X-New"] = "1"
    first.set_data("changed")
    assert facts(second) == before


@each_form
@pytest.mark.parametrize("kind", ["text", "own-attribute", "cached-response"])
def test_each_hit_gets_a_response_of_its_own(site: Site, kind: str) -> None:
    """What ``after_request`` does to one is not in the next, nor in the cache."""

    @site.app.after_request
    def count(response: Any) -> Any:
        response.headers.add("X-Seen", "1")
        response.set_data(response.get_data() + b"!")
        return response

    if kind == "own-attribute" and hands_out_what_it_holds(site):
        return
    site.view()(RESPONSES[kind])
    bodies = set()
    for _ in range(4):
        response = site.get()
        assert response.headers.getlist("X-Seen") == ["1"]
        bodies.add(response.data)
    assert len(bodies) == 1
    assert "X-Seen" not in site.cache.get("view//works").headers


@each_form
def test_what_a_hit_returns_can_be_changed(site: Site) -> None:
    """Dicts and lists, too: a caller's own copy."""
    function = site.face.cached(key_prefix="k")(lambda: {"a": [1]})
    with site.app.app_context():
        for _ in range(3):
            value = site.call(function)
            assert value == {"a": [1]}
            if not hands_out_what_it_holds(site):
                value["a"].append(2)


@each_form
def test_a_404_hit_gets_an_exception_of_its_own(site: Site) -> None:
    """Handlers may change it."""
    seen: list[Any] = []

    @site.app.errorhandler(404)
    def handle(error: NotFound) -> Any:
        seen.append(error)
        error.description = f"{error.description}!"
        return error

    site.view()(lambda: abort(404, description="gone"))
    assert ["gone!</p>" in site.text() for _ in range(3)] == [True] * 3
    assert len({id(error) for error in seen}) == 3


# --- other serializers ----------------------------------------------------------------------------


class Counting(JSONSerializer):
    """JSON that proves it: what was dumped is JSON."""

    def dumps(self, value: Any) -> bytes:
        dumped = super().dumps(value)
        json.loads(dumped)
        return dumped


JSON_VALUES: dict[str, Any] = {
    "text": lambda: "page",
    "dict": lambda: {"a": [1, None, {"b": "ä"}]},
    "list": lambda: [1, "a"],
    "dict-and-status": lambda: ({"error": "gone"}, 404),
    "list-status-headers": lambda: ([1], 201, {"X-A": "1"}),
    "header-pairs": lambda: ("page", [("X-A", "1"), ("X-A", "2")]),
    "jsonify": lambda: jsonify(a=1),
    "jsonify-and-status": lambda: (jsonify(a=1), 201),
    "response": lambda: make_response(b"\xff\x00", 202, {"X-A": "ä"}),
    "subclass": lambda: Page.Inner("page"),
    "cached-response": lambda: CachedResponse(Response("page"), 9),
    "abort": lambda: abort(404, description="no such thing"),
    "abort-plain": lambda: abort(410),
    "abort-response": lambda: abort(make_response("gone", 410, {"X-A": "1"})),
}


@pytest.mark.parametrize("kind", JSON_VALUES)
def test_views_work_with_a_json_serializer(app: Flask, kind: str, tmp_path: Path) -> None:
    """G65: ``(dict, 404)`` does not come back as a list with status 200."""
    config = {**config_for("FileSystemCache", tmp_path), "CACHE_SERIALIZER": Counting}
    cache = Cache(app, config=config)
    sites = {colour: Site(app, cache, colour) for colour in COLOURS}
    for colour, site in sites.items():
        site.view(f"/{colour}", endpoint=colour)(JSON_VALUES[kind])
    for colour, site in sites.items():
        first, second = site.get(f"/{colour}"), site.get(f"/{colour}")
        assert (second.status, second.data) == (first.status, first.data), colour
        assert list(second.headers) == list(first.headers), colour
        assert site.calls == 1, colour
        assert not kind.startswith("abort") or second.status_code in (404, 410), colour


class WithArguments(Gone):
    """An error of the user's own, of which the constructor needs something."""

    def __init__(self, code: str, *, item: Any) -> None:
        super().__init__(f"{code} of {item}")
        self.item = item


class WithSlots(NotFound):
    """Not all of its attributes are in its ``__dict__``."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        super().__init__("gone")
        self.what = what


class WithoutBase(Gone, LookupError):
    """It does not call the constructor of its base."""

    def __init__(self, what: str) -> None:
        self.what = what


OWN_ERRORS: dict[str, tuple[Callable[[], HTTPException], str]] = {
    "with arguments": (lambda: WithArguments("c", item=[1]), "410 c of [1] [1]"),
    "with slots": (lambda: WithSlots("book"), "404 gone book"),
    "without its base": (lambda: WithoutBase("book"), f"410 {Gone.description} book"),
}


@pytest.mark.parametrize("backend", OURS)
@pytest.mark.parametrize("kind", OWN_ERRORS)
def test_an_http_exception_of_ones_own_is_stored_and_raised_again(
    app: Flask, backend: str, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With all that its handler reads, whatever its constructor takes."""
    make, expected = OWN_ERRORS[kind]

    @app.errorhandler(HTTPException)
    def handled(error: Any) -> Any:
        more = error.item if hasattr(error, "item") else error.what
        return f"{error.code} {error.description} {more}", 418

    cache = Cache(app, config=config_of_ours(backend, tmp_path, request.getfixturevalue))
    site = Site(app, cache, "sync")

    def body() -> Any:
        raise make()

    site.view()(body)
    assert [site.text() for _ in range(3)] == [expected] * 3
    assert site.calls == 1


def test_an_http_exception_comes_back_as_it_went_in(site: Site) -> None:
    """Class, description, response, and what else it carries."""
    errors: list[Any] = [
        NotFound(), NotFound("gone"), MethodNotAllowed(["GET"]), Gone("moved away"),
        NotFound(response=Response("gone", 404)),
    ]  # fmt: skip

    def body(n: int) -> Any:
        raise errors[n]

    site.view("/<int:n>")(body)
    for n, error in enumerate(errors):
        first, second = site.get(f"/{n}"), site.get(f"/{n}")
        assert (second.status, second.data, site.calls) == (first.status, first.data, n + 1), error
        assert list(second.headers) == list(first.headers), error
        kept = site.cache.get(f"view//{n}")
        assert (type(kept), kept.description) == (type(error), error.description)
        assert kept.__traceback__ is None or hands_out_what_it_holds(site), error


def test_a_class_that_cannot_be_found_again_is_not_stored(
    app: Flask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A response class in a function: the page works, and a log says that it is not cached."""

    class Local(Response):
        pass

    site = Site(app, Cache(app, config=config_for("FileSystemCache", tmp_path)))
    site.view()(lambda: Local(str(site.calls)))
    assert [site.text(), site.text()] == ["1", "2"]
    assert "Local" in caplog.text


@table("name", ["os:system", "builtins:dict", "flask:Nothing", "nowhere:X", ""])
def test_only_response_classes_are_built(name: str) -> None:
    """A stored entry imports no module, and chooses nothing else that is called."""
    with pytest.raises(LookupError):
        FORMS[WerkzeugResponse].build([name, "", "200 OK", [], {}])


def test_several_threads_may_look_for_the_classes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that two of them find is one class, which is built from then on."""
    all_below, barrier = responses._all_below, threading.Barrier(2)

    def together_with_another(*bases: type) -> Iterator[type]:
        if bases == (AnyResponse, HTTPException):
            barrier.wait(PATIENCE)
        return all_below(*bases)

    monkeypatch.setattr(responses, "_all_below", together_with_another)
    monkeypatch.setattr(responses, "_known", {})
    name, find = "flask.wrappers:Response", responses._class_called
    assert together(*[functools.partial(find, name)] * 2) == [Response, Response]
    assert find(name) is Response


def test_a_value_that_cannot_be_read_is_a_miss(app: Flask, tmp_path: Path) -> None:
    """A page of a class that has moved is computed again, and overwritten."""
    site = Site(app, Cache(app, config=config_for("FileSystemCache", tmp_path)))

    class Moved(Response):
        pass

    Moved.__qualname__ = "Moved"
    site.view()(lambda: Moved(str(site.calls)))
    assert [site.text(), site.text()] == ["1", "1"]
    Moved.__qualname__ = "Elsewhere"
    responses._known.clear()
    assert site.text() == "2"


# --- what a response is ---------------------------------------------------------------------------


@table(
    "value",
    [None, 5, "", (), ("x",), ("x", None), ("x", "bad"), ("x", 200, None), (1, 2, 3, 4), {}],
)
def test_any_value_has_a_fate(value: Any) -> None:
    """What is no response is nothing special: ``cached`` serves other functions too."""
    assert fate_of(value).name == "STORE"
