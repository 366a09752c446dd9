"""Whatever a view reads: nobody is given a page that they would not have got without a cache."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import flask
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_caching_async.exceptions import CacheWarning
from support.visitors import Pages

#: What a view may read: what it says of it.
INPUTS: dict[str, Any] = {
    "page": lambda: flask.request.args.get("page"),
    "size": lambda: flask.request.args.get("size"),
    "args": lambda: sorted(flask.request.args.items()),
    "values": lambda: flask.request.values.get("page"),
    "language": lambda: flask.request.accept_languages.best_match(["de", "en"]),
    "x": lambda: flask.request.headers.get("X"),
    "theme": lambda: flask.request.cookies.get("theme"),
    "session": lambda: flask.session.get("user"),
    "user": lambda: flask.g.get("user"),
    "given": lambda: getattr(flask.request, "language", None),
    "token": lambda: flask.request.authorization and flask.request.authorization.token,
    "host": lambda: flask.request.host,
    "url": lambda: flask.url_for("login", name="x", _external=True),
    "template": lambda: flask.render_template_string("{{ request.args.page }} {{ g.user }}"),
    "processor": lambda: flask.render_template_string("{{ theme_of_processor }}"),
    "method": lambda: flask.request.method,
}
#: Which of them make a page its visitor's own, given what is read before the view.
PERSONAL = frozenset({"session", "user", "token", "given", "template"})

#: A program: reads one input, and goes on in one of two ways by what it says; an end is ``None``.
PROGRAMS = st.recursive(
    st.none(),
    lambda inner: st.tuples(st.sampled_from(sorted(INPUTS)), inner, inner),
    max_leaves=6,
)
REQUESTS = st.fixed_dictionaries(
    {
        "query": st.sampled_from(["", "page=1", "page=2", "size=1&page=1", "page=1&size=1", "z=1"]),
        "language": st.sampled_from(["de", "en"]),
        "x": st.sampled_from([None, "1", "2"]),
        "theme": st.sampled_from([None, "dark", "light"]),
        "user": st.sampled_from([None, "ann", "bob"]),
        "token": st.sampled_from([None, "t"]),
        "host": st.sampled_from(["a.example", "b.example"]),
    }
)


def run(program: Any) -> str:
    """What a program says."""
    said: list[str] = []
    while program is not None:
        name, left, right = program
        said.append(f"{name}={INPUTS[name]()}")
        program = left if len(said[-1]) % 2 else right
    return " ".join(said)


class AnyView:
    """An app whose view runs a program, and the same one without a cache."""

    def __init__(self, before: list[str], parts: bool) -> None:
        self.pages = pages = Pages("sync")
        self.program: Any = None

        def load() -> None:
            for name in before:
                INPUTS[name]()
            flask.g.user = flask.session.get("user") if "session" in before else "nobody"
            if "language" in before:
                flask.request.language = INPUTS["language"]()  # type: ignore[attr-defined]

        pages.app.before_request(load)
        pages.app.context_processor(lambda: {"theme_of_processor": INPUTS["theme"]()})

        @pages.cache.cached(key_prefix="part")
        def part() -> str:
            return run(self.program and self.program[1])

        def body() -> str:
            return run(self.program) + (" | " + part() if parts else "")

        def model() -> str:
            inner = run(self.program and self.program[1])
            return run(self.program) + (" | " + inner if parts else "")

        pages.view()(body)
        pages.app.add_url_rule("/model", "model", model)

    def get(self, path: str, asked: dict[str, Any]) -> str:
        """What somebody is told."""
        client = self.pages.app.test_client()
        headers = {"Accept-Language": asked["language"], "Host": asked["host"]}
        if asked["x"]:
            headers["X"] = asked["x"]
        if asked["token"]:
            headers["Authorization"] = f"Bearer {asked['token']}"
        if asked["theme"]:
            client.set_cookie("theme", asked["theme"], domain=asked["host"])
        if asked["user"]:
            with client.session_transaction(base_url=f"http://{asked['host']}") as session:
                session["user"] = asked["user"]
        url = f"{path}?{asked['query']}"
        return str(client.get(url, headers=headers, base_url=f"http://{asked['host']}").text)


def reads_of(said: str) -> set[str]:
    """The inputs that a page says something of."""
    return {word.partition("=")[0] for word in said.split() if "=" in word} & INPUTS.keys()


@given(
    program=PROGRAMS,
    before=st.lists(st.sampled_from(["session", "language", "theme", "page"]), unique=True),
    parts=st.booleans(),
    asked=st.lists(REQUESTS, min_size=2, max_size=8),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_page_is_given_that_would_not_have_been_computed(
    program: Any, before: list[str], parts: bool, asked: list[dict[str, Any]]
) -> None:
    """And who asks again in the same way hits, if the page is not personal."""
    view = AnyView(before, parts)
    view.program = program
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        for one in itertools.chain(asked, reversed(asked)):
            said = view.get("/works", one)
            assert said == view.get("/model", one)
            if reads_of(said).isdisjoint(PERSONAL):
                calls = view.pages.calls
                assert view.get("/works", one) == said
                assert view.pages.calls == calls
    view.pages.close()


@pytest.mark.parametrize("name", sorted(INPUTS.keys() - PERSONAL))
def test_each_input_that_selects_hits_at_once(name: str) -> None:
    """So that the property above is not kept by storing nothing."""
    view = AnyView([], False)
    view.program = (name, None, None)
    asked = {"query": "page=1", "language": "de", "host": "a.example"}
    asked |= dict.fromkeys(("x", "theme", "user", "token"))
    assert view.get("/works", asked) == view.get("/works", asked) == view.get("/model", asked)
    assert view.pages.cache.stats().hits == 1
