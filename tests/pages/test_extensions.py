"""Extensions, as their documentation uses them: nobody gets what they made for somebody else."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from flask_babel import Babel, format_decimal, get_locale
from flask_cors import CORS, cross_origin
from flask_login import (
    LoginManager,
    UserMixin,
    current_user,
    login_required,
    login_user,
)
from flask_session import Session
from flask_wtf import CSRFProtect, FlaskForm
from wtforms import StringField

from support.visitors import Pages, Visitor, told

NAMES = ("ann", "bob", "ann", "bob")


@pytest.fixture(params=["sync", "async"])
def pages(request: pytest.FixtureRequest) -> Iterator[Pages]:
    """A Flask site."""
    pages = Pages(request.param)
    yield pages
    pages.close()


def visitors_of(pages: Pages, path: str = "/login/") -> dict[str, Visitor]:
    """Ann and Bob."""
    visitors = {name: pages.visitor() for name in ("ann", "bob")}
    for name, visitor in visitors.items():
        assert visitor.get(path + name) == name
    return visitors


# --- Flask-Login ----------------------------------------------------------------------------------


class User(UserMixin):
    """As in its quickstart."""

    def __init__(self, name: str) -> None:
        self.id = name


@pytest.fixture
def members(pages: Pages) -> Pages:
    """A site with Flask-Login."""
    manager = LoginManager(pages.app)
    manager.user_loader(User)
    anonymous = manager.anonymous_user
    anonymous.id = None

    @pages.app.route("/enter/<name>")
    @pages.app.route("/stay/<name>", defaults={"remember": True})
    def enter(name: str, remember: bool = False) -> str:
        login_user(User(name), remember)
        return name

    return pages


CURRENT_USER: dict[str, Callable[[], Any]] = {
    "id": lambda: str(current_user.id),
    "template": lambda: flask.render_template_string("{{ current_user.id }}"),
    "method": lambda: str(current_user.get_id()),
}


@pytest.mark.parametrize("how", CURRENT_USER)
@pytest.mark.parametrize("required", [True, False], ids=["required", "free"])
def test_a_page_that_says_who_is_logged_in_is_theirs(
    members: Pages, how: str, required: bool
) -> None:
    """With ``@login_required`` in its documented place, and without it."""
    members.view(above=login_required if required else None)(CURRENT_USER[how])
    visitors = visitors_of(members, "/enter/")
    with told() as found:
        assert [visitors[name].get() for name in NAMES] == [*NAMES]
    assert members.calls == 4 and len(found) == 1
    if not required:
        with told():
            assert members.visitor().get() == "None"


@pytest.mark.parametrize("source", ["for members", "{{ 1 + 1 }}"])
def test_a_page_for_members_is_shared_by_them(members: Pages, source: str) -> None:
    """Flask-Login gives ``current_user`` to each template; this one does not name it."""
    members.view(above=login_required)(lambda: flask.render_template_string(source))
    visitors = visitors_of(members, "/enter/")
    with told() as found:
        assert len({visitors[name].get() for name in NAMES}) == 1
        assert "Unauthorized" in members.visitor().get()
    assert members.calls == 1 and found == []


def test_a_login_that_is_asked_for_below_the_cache_lets_nobody_in(members: Pages) -> None:
    """The order that everybody is warned of: what is stored is for nobody."""
    members.view()(login_required(lambda: "secret"))
    visitors = visitors_of(members, "/enter/")
    with told() as found:
        assert [visitors[name].get() for name in NAMES] == ["secret"] * 4
        assert "Unauthorized" in members.visitor().get()
    assert len(found) == 1


def test_members_have_pages_of_their_own_by_vary_on(members: Pages) -> None:
    """As the warning says."""
    members.view(above=login_required, vary_on=lambda: current_user.get_id())(CURRENT_USER["id"])
    visitors = visitors_of(members, "/enter/")
    with told() as found:
        assert [visitors[name].get() for name in NAMES] == [*NAMES]
    assert members.calls == 2 and found == []


@pytest.mark.filterwarnings("ignore:datetime.*utc:DeprecationWarning")  # of Flask-Login's own
def test_somebody_who_comes_again_by_a_cookie_is_themselves(members: Pages) -> None:
    """The cookie that remembers them is read where the session says nothing."""
    members.view()(CURRENT_USER["id"])
    visitors = visitors_of(members, "/stay/")
    for visitor in visitors.values():
        visitor.client.delete_cookie("session")
    with told() as found:
        assert [visitors[name].get() for name in NAMES] == [*NAMES]
    assert members.calls == 4 and found


# --- Flask-WTF ------------------------------------------------------------------------------------


class NameForm(FlaskForm):
    """As in its quickstart."""

    name = StringField("name")


FORMS: dict[str, str] = {
    "token": "{{ csrf_token() }}",
    "hidden-tag": "{{ form.hidden_tag() }}",
    "form": "{{ form.csrf_token }} {{ form.name(size=20) }}",
}


@pytest.mark.parametrize("source", FORMS.values(), ids=FORMS)
def test_a_page_with_a_token_is_its_visitors(pages: Pages, source: str) -> None:
    """Everybody's form can be sent."""
    CSRFProtect(pages.app)
    pages.view()(lambda: flask.render_template_string(source, form=NameForm()))
    pages.app.add_url_rule("/send", "send", lambda: "sent", methods=["POST"])
    visitors = visitors_of(pages)
    with told() as found:
        for visitor in visitors.values():
            said = visitor.get()
            token = said.partition('value="')[2].partition('"')[0] or said
            sent = {"method": "POST", "headers": {"X-CSRFToken": token}}
            assert visitor.get("/send", **sent) == "sent"
    assert pages.calls == 2 and len(found) == 1 and "read the session" in found[0]


def test_a_page_without_a_form_is_shared_though_forms_are_protected(pages: Pages) -> None:
    """What Flask-WTF does before each request is nothing of the page."""
    CSRFProtect(pages.app)
    pages.view()(lambda: flask.render_template_string("hello {{ request.path }}"))
    visitors = visitors_of(pages)
    with told() as found:
        assert {visitors[name].get() for name in NAMES} == {"hello /works"}
    assert pages.calls == 1 and found == []


# --- Flask-Session --------------------------------------------------------------------------------


@pytest.fixture
def at_server(pages: Pages, tmp_path: Path) -> Pages:
    """A site with sessions on the server."""
    from cachelib.file import FileSystemCache

    pages.app.config.from_mapping(
        SESSION_TYPE="cachelib", SESSION_CACHELIB=FileSystemCache(str(tmp_path))
    )
    Session(pages.app)
    return pages


SERVER_SIDE: dict[str, Callable[[], Any]] = {
    "get": lambda: str(flask.session.get("user")),
    "item": lambda: str(flask.session["user"]),
    "template": lambda: flask.render_template_string("{{ session.user }}"),
    "sid": lambda: str(len(flask.session.sid) > 0 and flask.session.get("user")),
}


@pytest.mark.parametrize("how", SERVER_SIDE)
def test_a_session_on_the_server_is_its_visitors(at_server: Pages, how: str) -> None:
    """It is of another class."""
    at_server.view()(SERVER_SIDE[how])
    visitors = visitors_of(at_server)
    with told() as found:
        assert [visitors[name].get() for name in NAMES] == [*NAMES]
    assert at_server.calls == 4 and len(found) == 1 and "read the session" in found[0]


def test_the_id_of_a_session_is_its_visitors(at_server: Pages) -> None:
    """Though nothing is read of what it holds."""
    at_server.view()(lambda: flask.session.sid)
    visitors = visitors_of(at_server)
    with told() as found:
        assert len({visitors[name].get() for name in NAMES}) == 2
    assert len(found) == 1


def test_a_page_that_does_not_read_the_session_is_shared(at_server: Pages) -> None:
    """The extension has read it for itself."""
    at_server.view()(lambda: "page")
    visitors = visitors_of(at_server)
    with told() as found:
        assert {visitors[name].get() for name in NAMES} == {"page"}
        assert visitors["ann"].get("/login/carol") == "carol"
    assert at_server.calls == 1 and found == []


# --- Flask-Babel ----------------------------------------------------------------------------------


def babel_on(pages: Pages, selector: Callable[[], Any]) -> None:
    """A site in two languages."""
    Babel(pages.app, locale_selector=selector)


def by_header() -> str | None:
    """As in its quickstart."""
    return flask.request.accept_languages.best_match(["de", "en"])


@pytest.mark.parametrize("early", [True, False], ids=["asked-before", "asked-within"])
def test_a_page_in_the_visitors_language_is_for_all_who_speak_it(pages: Pages, early: bool) -> None:
    """Whether it was asked for before the view or in it."""
    babel_on(pages, by_header)
    if early:
        pages.before(lambda: get_locale() and None)
    pages.view()(lambda: f"{get_locale()} {format_decimal(1.5)}")
    languages = {"de": "de 1,5", "en": "en 1.5"}
    with told() as found:
        for language, says in [*languages.items(), *languages.items()]:
            headers = {"Accept-Language": language}
            assert pages.visitor("ann", headers=headers).get() == says
    assert pages.calls == 2 and found == []


def test_a_language_that_the_session_says_is_its_visitors(pages: Pages) -> None:
    """It is no header."""
    babel_on(pages, lambda: {"ann": "de"}.get(flask.session.get("user", ""), "en"))
    pages.before(lambda: get_locale() and None)
    pages.view()(lambda: str(get_locale()))
    visitors = visitors_of(pages)
    with told() as found:
        assert [visitors[name].get() for name in NAMES] == ["de", "en", "de", "en"]
    assert len(found) == 1


# --- flask-cors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "host"),
    [
        ("above", "sync"),  # as a decorator of sync views only
        *itertools.product(["below", "app"], ["sync", "async"]),
    ],
)
def test_an_origin_gets_its_own_header(host: str, place: str) -> None:
    """Wherever it is made."""
    pages = Pages(host)
    allowed = {"origins": ["https://a.example", "https://b.example"]}

    def body() -> str:
        return "page"

    if place == "app":
        CORS(pages.app, **allowed)
        pages.view()(body)
    elif place == "below":
        pages.view()(cross_origin(**allowed)(body))
    else:
        pages.view(above=cross_origin(**allowed))(body)
    visitor = pages.visitor("ann")
    with told() as found:
        for origin in ["https://a.example", "https://b.example", "https://c.example"] * 2:
            assert visitor.get(headers={"Origin": origin}) == "page"
            said = visitor.last.headers.get("Access-Control-Allow-Origin")
            assert said == (origin if "c." not in origin else None)
    assert pages.calls == (3 if place == "below" else 1) and found == []
    pages.close()
