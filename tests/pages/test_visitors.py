"""Two visitors of one page: neither ever gets what was made for the other.

In production mode, as nobody has thought of a key. Every cause, and every excuse, in each kind of
app; what is stored of it does not depend on the backend, so Redis has one of each kind.
"""

from __future__ import annotations

import asyncio
import copy
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from flask_caching_async.exceptions import AddressKeyWarning, NotStoredError
from flask_caching_async.testing import FakeClock
from support.params import cases
from support.visitors import HOSTS, Pages, Visitor, pages, redis_pages, told
from support.waiting import auntil, together, until

__all__ = ["pages", "redis_pages"]


# --- causes ---------------------------------------------------------------------------------------


class Cause(NamedTuple):
    """A way in which a page becomes its visitor's own.

    :param make: gives the body of a view, having prepared the app.
    :param message: what is warned of.
    :param says: what the page says to somebody with this name.
    :param sends: what somebody with this name asks with.
    """

    make: Callable[[Pages], Callable[..., Any]]
    message: str
    says: str
    sends: Callable[[str], dict[str, Any]]


CAUSES: dict[str, Cause] = {}


def _authorized(name: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {name}"}}


FORM = {"headers": {"Content-Type": "application/x-www-form-urlencoded"}}


def _nothing(name: str) -> dict[str, Any]:
    return {}


def cause(
    message: str, says: str = "{}", sends: Callable[[str], dict[str, Any]] = _nothing
) -> Callable[[Callable[[Pages], Callable[..., Any]]], Any]:
    """Add a :class:`Cause`, which has the name of the function."""

    def add(make: Callable[[Pages], Callable[..., Any]]) -> Any:
        CAUSES[make.__name__] = Cause(make, message, says, sends)
        return make

    return add


def reads_of_session(read: Callable[[Any], Any], says: str = "{}") -> Callable[[Pages], Any]:
    """A cause that reads the session."""
    return lambda pages: lambda: str(read(pages.web.session))


for name, read in {
    "session_get": lambda session: session.get("user"),
    "session_item": lambda session: session["user"],
    "session_items": lambda session: dict(session.items())["user"],
    "session_copied": lambda session: dict(session)["user"],
    "session_pop": lambda session: session.pop("user"),
    "session_setdefault": lambda session: session.setdefault("user", "nobody"),
    "session_unpacked": lambda session: {**session}["user"],
    "session_or": lambda session: (session | {})["user"],
    "session_copy": lambda session: session.copy()["user"],
    "session_object": lambda session: session._get_current_object()["user"],
}.items():
    CAUSES[name] = Cause(reads_of_session(read), "read the session", "{}", _nothing)


@cause("read the session", "seen")
def session_written(pages: Pages) -> Callable[..., Any]:
    def body() -> str:
        pages.web.session["seen"] = "yes"
        return "seen"

    return body


@cause("read the session", "True")
def session_asked_for_a_name(pages: Pages) -> Callable[..., Any]:
    return lambda: str("user" in pages.web.session)


@cause("read the session", "flashed")
def flashed(pages: Pages) -> Callable[..., Any]:
    async def on_quart() -> str:
        await pages.web.flash("hello")
        return "flashed"

    def body() -> str:
        pages.web.flash("hello")
        return "flashed"

    return on_quart if pages.is_quart else body


@cause("read the session", "[]")
def flashes_shown(pages: Pages) -> Callable[..., Any]:
    return lambda: pages.render("{{ get_flashed_messages() }}")


@cause("read the session")
def session_in_a_template(pages: Pages) -> Callable[..., Any]:
    return lambda: pages.render("{{ session.user }}")


@cause("read the session")
def a_named_context_processors_variable(pages: Pages) -> Callable[..., Any]:
    pages.app.context_processor(lambda: {"user": pages.web.session["user"], "site": "works"})
    return lambda: pages.render("{{ user }}")


@cause("read the session")
def a_function_of_a_context_processor(pages: Pages) -> Callable[..., Any]:
    pages.app.context_processor(lambda: {"user": lambda: pages.web.session["user"]})
    return lambda: pages.render("{{ user() }}")


@cause("read Authorization", "Bearer {}", _authorized)
def authorization_header(pages: Pages) -> Callable[..., Any]:
    return lambda: pages.web.request.headers["authorization"]


@cause("read Authorization", sends=_authorized)
def authorization(pages: Pages) -> Callable[..., Any]:
    return lambda: pages.web.request.authorization.token


@cause("read all headers", "Bearer {}", _authorized)
def all_headers(pages: Pages) -> Callable[..., Any]:
    return lambda: dict([*pages.web.request.headers])["Authorization"]


@cause("read all cookies", "True")
def all_cookies(pages: Pages) -> Callable[..., Any]:
    return lambda: str(len(pages.web.request.cookies.to_dict()) > 0)


@cause("read the session", "True")
def the_sessions_cookie(pages: Pages) -> Callable[..., Any]:
    return lambda: str(bool(pages.web.request.cookies.get("session")))


@cause("read the body of the request", sends=lambda name: {"data": name})
def body_of_a_get(pages: Pages) -> Callable[..., Any]:
    return lambda: pages.web.request.get_data(as_text=True)


@cause("read the body of the request", sends=lambda name: {"json": name})
def json_of_a_get(pages: Pages) -> Callable[..., Any]:
    return lambda: pages.web.request.get_json()


@cause("read the body of the request", sends=lambda name: {"data": f"name={name}", **FORM})
def form_of_a_get(pages: Pages) -> Callable[..., Any]:
    async def on_quart() -> str:
        return str((await pages.web.request.form)["name"])

    return on_quart if pages.is_quart else lambda: pages.web.request.form["name"]


def sets_g_user(pages: Pages) -> None:
    """As in Flask's own tutorial."""
    pages.web.g.user = pages.web.session.get("user")


@cause("read g.user, which was set in a request of which the session had been read")
def g_set_by_before_request(pages: Pages) -> Callable[..., Any]:
    pages.before(lambda: sets_g_user(pages))
    return lambda: pages.web.g.user


@cause("read g.user, which was set in a request of which the session had been read")
def g_in_a_template(pages: Pages) -> Callable[..., Any]:
    pages.before(lambda: sets_g_user(pages))
    return lambda: pages.render("{{ g.user }}")


@cause("read g.user")
def g_asked_with_get(pages: Pages) -> Callable[..., Any]:
    pages.before(lambda: sets_g_user(pages))
    return lambda: pages.web.g.get("user")


@cause("read g.user")
def g_copied(pages: Pages) -> Callable[..., Any]:
    pages.before(lambda: sets_g_user(pages))
    return lambda: copy.copy(pages.web.g._get_current_object()).user


@cause("read request.user")
def the_request_as_a_whole(pages: Pages) -> Callable[..., Any]:
    def load() -> None:
        pages.web.request.user = pages.web.session.get("user")

    pages.before(load)
    return lambda: vars(pages.web.request._get_current_object())["user"]


@cause("read g.user", "True")
def g_asked_whether_it_is_there(pages: Pages) -> Callable[..., Any]:
    pages.before(lambda: sets_g_user(pages))
    return lambda: str("user" in pages.web.g)


@cause("read g.user")
def g_as_a_whole(pages: Pages) -> Callable[..., Any]:
    pages.before(lambda: sets_g_user(pages))
    return lambda: vars(pages.web.g._get_current_object())["user"]


@cause("read g.user, which was set in a request of which Authorization", "Bearer {}", _authorized)
def g_made_of_authorization(pages: Pages) -> Callable[..., Any]:
    def load() -> None:
        pages.web.g.user = pages.web.request.headers.get("Authorization")

    pages.before(load)
    return lambda: pages.web.g.user


@cause("read g.user, which was set in a request of which the session had been read", "True")
def g_made_of_the_sessions_cookie(pages: Pages) -> Callable[..., Any]:
    def load() -> None:
        pages.web.g.user = str(len(pages.web.request.cookies.get("session", "")) > 5)

    pages.before(load)
    return lambda: pages.web.g.user


@cause("read request.user, which was set in a request of which the session")
def an_attribute_of_the_request(pages: Pages) -> Callable[..., Any]:
    def load() -> None:
        pages.web.request.user = pages.web.session.get("user")

    pages.before(load)
    return lambda: pages.web.request.user


@cause("read g.user")
def a_change_of_what_g_holds(pages: Pages) -> Callable[..., Any]:
    pages.before(lambda: setattr(pages.web.g, "user", [pages.web.session.get("user")]))

    def body() -> str:
        names = pages.web.g.user
        pages.web.g.user = "the view's own"
        return str(names[0])

    return body


@cause("read the environment of the request")
def a_variable_of_a_middleware(pages: Pages) -> Callable[..., Any]:
    if pages.is_quart:
        served = pages.app.asgi_app

        async def asgi(scope: Any, receive: Any, send: Any) -> None:
            name = dict(scope.get("headers", ())).get(b"x-name", b"")
            await served({**scope, "my.user": name.decode()}, receive, send)

        pages.app.asgi_app = asgi
        return lambda: pages.web.request.scope["my.user"]
    wsgi = pages.app.wsgi_app

    def app(environ: Any, start: Any) -> Any:
        return wsgi({**environ, "my.user": environ.get("HTTP_X_NAME", "")}, start)

    pages.app.wsgi_app = app
    return lambda: pages.web.request.environ["my.user"]


def _with_x_name(name: str) -> dict[str, Any]:
    return {"headers": {"X-Name": name}}


CAUSES["a_variable_of_a_middleware"] = CAUSES["a_variable_of_a_middleware"]._replace(
    sends=_with_x_name
)


@cause("read after_this_request", "changed")
def a_change_after_this_request(pages: Pages) -> Callable[..., Any]:
    def change(response: Any) -> Any:
        response.headers["X-Seen"] = "yes"
        return response

    def body() -> str:
        pages.web.after_this_request(pages.dye(change) if pages.is_quart else change)
        return "changed"

    return body


NAMES = ("ann", "bob", "ann", "bob")


def visitors_of(pages: Pages, made: Cause | None = None) -> dict[str, Visitor]:
    """Ann and Bob."""
    sends = _nothing if made is None else made.sends
    return {name: pages.visitor(name, **sends(name)) for name in ("ann", "bob")}


#: Flask in both colours has the same requests and sessions. For an ``async def`` view the contexts
#: differ in which things are read, the functions that are called around it, and how it ends.
FLASK_AND_QUART = ("sync", "quart")


@cases(
    "what",
    CAUSES,
    ways=("pages", HOSTS),
    whole=FLASK_AND_QUART,
    everywhere=(
        "session_get", "session_written", "flashed", "session_in_a_template",
        "a_function_of_a_context_processor", "authorization", "all_cookies", "body_of_a_get",
        "g_set_by_before_request", "g_in_a_template", "g_as_a_whole", "an_attribute_of_the_request",
        "a_variable_of_a_middleware", "a_change_after_this_request",
    ),
)  # fmt: skip
def test_a_page_for_one_visitor_is_given_to_nobody_else(pages: Pages, what: str) -> None:
    """Each gets their own, however often; it is not stored, and that is told once."""
    made = CAUSES[what]
    pages.view()(made.make(pages))
    visitors = visitors_of(pages, made)
    with told() as found:
        said = [visitors[name].get() for name in NAMES[:2]]
        said += [visitors[name].get() for name in NAMES[2:]] if what != "session_pop" else []
    assert said == [made.says.format(name) for name in NAMES[: len(said)]]
    assert pages.calls == len(said)
    assert len(found) == 1 and made.message in found[0] and "Write " in found[0]


@cases(
    "what",
    ["session_get", "authorization", "g_set_by_before_request", "body_of_a_get"],
    ways=("redis_pages", HOSTS),
    everywhere=("session_get", "g_set_by_before_request"),
)
def test_nothing_of_one_visitor_is_kept_on_redis(redis_pages: Pages, what: str) -> None:
    """Nor given to those who wait in other processes."""
    made = CAUSES[what]
    redis_pages.view()(made.make(redis_pages))
    visitors = visitors_of(redis_pages, made)
    with told() as found:
        said = [visitors[name].get() for name in NAMES]
    assert said == [made.says.format(name) for name in NAMES]
    assert redis_pages.calls == 4 and len(found) == 1
    assert redis_pages.cache.stats().stored == 0


# --- decorators above the cache -------------------------------------------------------------------


def above(pages: Pages, before: Callable[[], Any]) -> Callable[[Any], Any]:
    """A decorator that does something before the view, in the colour of the site.

    :param before: what it does; gives the arguments that it adds.
    """

    def decorator(view: Any) -> Any:
        @functools.wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return view(*args, **{**kwargs, **(before() or {})})

        return pages.dye(wrapper)

    return decorator


def test_what_a_decorator_above_put_into_g_is_its_visitors(pages: Pages) -> None:
    """As ``@login_required`` does in its documented place."""
    login_required = above(pages, lambda: sets_g_user(pages))
    pages.view(above=login_required)(lambda: pages.web.g.user)
    visitors = visitors_of(pages)
    with told() as found:
        assert [visitors[name].get() for name in NAMES] == [*NAMES]
    assert pages.calls == 4 and len(found) == 1 and "g.user" in found[0]


def test_a_page_for_members_that_says_nothing_of_them_is_shared(pages: Pages) -> None:
    """Reads above the cache alone make nothing personal."""

    def check() -> None:
        sets_g_user(pages)
        if pages.web.g.user is None:
            pages.web.abort(403)

    pages.before(lambda: str(pages.web.session.get("user")) and None)
    pages.view(above=above(pages, check))(lambda: "for members")
    visitors = visitors_of(pages)
    with told() as found:
        assert [visitors[name].get() for name in NAMES] == ["for members"] * 4
        assert "Forbidden" in pages.visitor().get()
    assert pages.calls == 1 and found == []


def test_an_argument_of_a_decorator_selects_the_page(pages: Pages) -> None:
    """By its text, each visitor has one, which is stored."""
    pass_user = above(pages, lambda: {"user": pages.web.session["user"]})
    pages.view(above=pass_user)(lambda user: f"hello {user}")
    visitors = visitors_of(pages)
    with told() as found:
        said = [visitors[name].get() for name in NAMES]
    assert said == [f"hello {name}" for name in NAMES]
    assert pages.calls == 2 and found == []


class User:
    """Has no text of its own."""

    def __init__(self, name: str) -> None:
        self.name = name


def test_an_argument_without_a_text_is_its_visitors(pages: Pages) -> None:
    """A memory address tells nobody apart."""
    pass_user = above(pages, lambda: {"user": User(pages.web.session["user"])})
    pages.view(above=pass_user)(lambda user: f"hello {user.name}")
    visitors = visitors_of(pages)
    with pytest.warns(AddressKeyWarning, match="an argument"):
        said = [visitors[name].get() for name in NAMES]
    assert said == [f"hello {name}" for name in NAMES] and pages.calls == 4


# --- context processors ---------------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("source", ["hello", "{{ other }}", "{{ request.path }}"])
def test_a_page_that_does_not_name_the_user_is_shared(host: str, source: str) -> None:
    """Though a context processor, which reads the session, gives it to every template."""
    pages = Pages(host)

    @pages.app.context_processor
    def processor() -> dict[str, Any]:
        return {"user": pages.web.session.get("user")}

    pages.app.context_processor(lambda: {"other": "another processor's"})
    pages.view()(lambda: pages.render(source))
    visitors = visitors_of(pages)
    with told() as found:
        assert len({visitors[name].get() for name in NAMES}) == 1
    assert pages.calls == 1 and found == []
    pages.close()


TEMPLATES = {
    "base": "{% block body %}{% endblock %} {{ user }}",
    "extends": "{% extends 'base' %}{% block body %}hello{% endblock %}",
    "part": "{{ user }}",
    "includes": "hello {% include 'part' %}",
    "macros": "{% macro hello() %}{{ user }}{% endmacro %}",
    "imports": "{% from 'macros' import hello with context %}{{ hello() }}",
    "imports_without": "{% from 'macros' import hello %}{{ hello() }}",
    "sets": "{% set name = user %}{{ name }}",
    "scopes": "{% for n in [1] %}{{ user }}{% endfor %}",
    "dumps": "{{ self._TemplateReference__context.get('user') }}",
    "iterates": "{{ dict(**self._TemplateReference__context)['user'] }}",
    "exports": "{% include 'sets' %}",
}


@pytest.mark.parametrize("host", ["sync", "quart"])
@pytest.mark.parametrize("name", [n for n in TEMPLATES if n not in ("base", "part", "macros")])
def test_a_template_names_the_user_in_a_roundabout_way(host: str, name: str) -> None:
    """In what it extends, includes and imports."""
    import jinja2

    pages = Pages(host)
    pages.app.jinja_loader = jinja2.DictLoader(TEMPLATES)
    pages.app.context_processor(lambda: {"user": pages.web.session.get("user")})
    pages.view()(lambda: pages.web.render_template(name))
    visitors = visitors_of(pages)
    with told() as found:
        said = [visitors[who].get() for who in NAMES]
    expected = "" if name == "imports_without" else "ann"
    assert expected in said[0] and ("bob" in said[1] or not expected)
    assert len(found) == bool(expected)
    pages.close()


# --- excuses --------------------------------------------------------------------------------------


def session_user(pages: Pages) -> Any:
    """Who is logged in."""
    return pages.web.session.get("user")


EXCUSES: dict[str, tuple[str, Callable[[Pages], dict[str, Any]]]] = {
    "vary-session-cookie": ("session_get", lambda pages: {"vary_on": "cookie:session"}),
    "vary-cookie-header": ("session_get", lambda pages: {"vary_on": ["X-A", "cookie"]}),
    "vary-callable": ("session_get", lambda pages: {"vary_on": lambda: session_user(pages)}),
    "make-cache-key": (
        "session_get", lambda pages: {"make_cache_key": lambda: f"k{session_user(pages)}"}
    ),
    "key-prefix": ("session_get", lambda pages: {"key_prefix": lambda: f"k{session_user(pages)}"}),
    "vary-on-g": ("g_set_by_before_request", lambda pages: {"vary_on": lambda: pages.web.g.user}),
    "vary-session-for-g": (
        "g_set_by_before_request", lambda pages: {"vary_on": lambda: session_user(pages)}
    ),
    "vary-request-user": (
        "an_attribute_of_the_request", lambda pages: {"vary_on": lambda: pages.web.request.user}
    ),
    "vary-authorization": ("authorization_header", lambda pages: {"vary_on": "Authorization"}),
    "vary-authorization-for-g": (
        "g_made_of_authorization", lambda pages: {"vary_on": "authorization"}
    ),
}  # fmt: skip


@cases(
    "how",
    EXCUSES,
    ways=("pages", HOSTS),
    whole=FLASK_AND_QUART,
    everywhere=("vary-callable", "make-cache-key", "key-prefix", "vary-on-g"),
)
def test_what_is_in_the_key_is_stored_for_each_visitor(pages: Pages, how: str) -> None:
    """Nothing is told, and each has a page of their own."""
    what, options = EXCUSES[how]
    made = CAUSES[what]
    pages.view(**options(pages))(made.make(pages))
    visitors = visitors_of(pages, made)
    with told() as found:
        said = [visitors[name].get() for name in NAMES]
    assert said == [made.says.format(name) for name in NAMES]
    assert pages.calls == 2 and found == []


def test_what_is_in_the_key_is_stored_for_each_visitor_on_redis(redis_pages: Pages) -> None:
    """For others of the processes, too."""
    redis_pages.view(vary_on=lambda: session_user(redis_pages))(
        CAUSES["g_set_by_before_request"].make(redis_pages)
    )
    visitors = visitors_of(redis_pages)
    assert [visitors[name].get() for name in NAMES] == [*NAMES] and redis_pages.calls == 2


def test_whom_unless_refuses_gets_no_stored_page(pages: Pages) -> None:
    """The others share theirs, though the session was read for it."""
    pages.view(unless=lambda: session_user(pages) is not None)(lambda: str(session_user(pages)))
    visitors = {**visitors_of(pages), "None": pages.visitor()}
    with told() as found:
        said = [visitors[name].get() for name in (*NAMES, "None", "None")]
    assert said == [*NAMES, "None", "None"] and pages.calls == 5 and found == []


def test_another_callback_than_those_of_the_key_excuses_nothing(pages: Pages) -> None:
    """``forced_update`` and ``response_filter`` may read what they like."""
    read = session_user
    pages.view(forced_update=lambda: read(pages) == 1, response_filter=lambda r: read(pages) != 1)(
        lambda: str(session_user(pages))
    )
    visitors = visitors_of(pages)
    with told() as found:
        assert [visitors[name].get() for name in NAMES] == [*NAMES]
    assert len(found) == 1


@cases(
    "options", [{"key_prefix": "k"}, {"key_prefix": "k/%s"}, {"tags": ["t"]}], ways=("pages", HOSTS)
)
def test_a_key_prefix_of_text_excuses_nothing(pages: Pages, options: dict[str, Any]) -> None:
    """It is the same for everybody."""
    pages.view(**options)(lambda: str(session_user(pages)))
    visitors = visitors_of(pages)
    with told() as found:
        assert [visitors[name].get() for name in NAMES] == [*NAMES]
    assert len(found) == 1


@pytest.mark.parametrize("setting", [True, False])
def test_who_knows_better_shares_all(setting: bool) -> None:
    """``CACHE_STORE_PRIVATE`` and ``personal=True`` turn the rules off; no selecting is lost."""
    pages = Pages("sync", {"CACHE_STORE_PRIVATE": setting})
    options = {} if setting else {"personal": True}

    def body() -> str:
        return f"{session_user(pages)} {pages.web.request.args.get('page')}"

    pages.view(**options)(body)
    visitors = visitors_of(pages)
    with told() as found:
        said = [visitors[name].get(f"/works?page={page}") for page in "12" for name in NAMES]
    assert said == ["ann 1"] * 4 + ["ann 2"] * 4
    assert pages.calls == 2 and found == []
    pages.close()


@pytest.mark.parametrize("said", ["public", "S-MaxAge=5", "max-age=5, public, s-maxage=60"])
def test_an_answer_that_says_public_excuses_authorization(said: str) -> None:
    """RFC 9111, 3.5; and nothing else."""
    pages = Pages("sync")
    headers = {"Cache-Control": said}
    pages.view()(lambda: (str(bool(pages.web.request.authorization)), headers))
    pages.view("/mine", endpoint="mine")(lambda: (str(session_user(pages)), headers))
    visitors = visitors_of(pages, CAUSES["authorization"])
    with told() as found:
        assert [visitors[name].get() for name in NAMES] == ["True"] * 4
        assert (pages.calls, found) == (1, [])
        assert [visitors[name].get("/mine") for name in NAMES] == [*NAMES]
    pages.close()


# --- at the same time -----------------------------------------------------------------------------


def holding(pages: Pages, say: Callable[[], str], crowd: int = 2) -> Callable[[], Any]:
    """A body that says something when so many others wait for it, or have given that up."""

    def all_there() -> bool:
        return pages.cache.stats().waits >= crowd or pages.calls > 1

    async def on_quart() -> str:
        await auntil(all_there)
        return say()

    def body() -> str:
        until(all_there)
        return say()

    return on_quart if pages.is_quart else body


def ask_together(visitors: dict[str, Visitor], **kwargs: Any) -> list[str]:
    """What they get who all ask at once."""
    return together(*[functools.partial(v.get, **kwargs) for v in visitors.values()])


def crowd_of(pages: Pages) -> dict[str, Visitor]:
    """Who comes first leads, the others wait."""
    return {name: pages.visitor(name) for name in ("alice", "bob", "carol")}


@pytest.mark.parametrize("forced", [False, True], ids=["cold", "forced"])
def test_who_waited_for_somebody_elses_page_computes_their_own(pages: Pages, forced: bool) -> None:
    """They are released together, when it turns out to be personal."""
    pages.view(forced_update=lambda: forced)(holding(pages, lambda: str(session_user(pages))))
    visitors = crowd_of(pages)
    with told() as found:
        assert ask_together(visitors) == ["alice", "bob", "carol"]
    assert pages.calls == 3 and len(found) == 1


def test_who_waited_on_redis_computes_their_own(redis_pages: Pages) -> None:
    """The lease is given back so that nobody waits in line."""
    redis_pages.view()(holding(redis_pages, lambda: str(session_user(redis_pages))))
    visitors = crowd_of(redis_pages)
    with told():
        assert ask_together(visitors) == ["alice", "bob", "carol"]
    assert redis_pages.calls == 3


def _with_language(pages: Pages) -> str:
    return str(pages.web.request.headers.get("X-Language"))


def test_who_waited_for_a_page_in_another_language_gets_their_own(pages: Pages) -> None:
    """It is computed once for each, though three asked before anybody knew that it matters."""
    pages.view()(holding(pages, lambda: _with_language(pages)))
    languages = {"alice": "de", "bob": "en", "carol": "de"}
    visitors = {
        name: pages.visitor(name, headers={"X-Language": said}) for name, said in languages.items()
    }
    with told() as found:
        assert ask_together(visitors) == [*languages.values()]
    assert pages.calls <= 3 and found == []
    before = pages.calls
    assert [v.get() for v in visitors.values()] == [*languages.values()]
    assert pages.calls == before


# --- old pages, and renewed ones ------------------------------------------------------------------


def test_a_stale_page_is_renewed_for_its_own_variant(pages: Pages) -> None:
    """In the background, as the request that asked for it was."""
    clock = FakeClock()
    clock.install(pages.cache)
    pages.view(timeout=10, stale_while_revalidate=60)(
        lambda: f"{_with_language(pages)} {pages.calls}"
    )
    german, english = (pages.visitor(headers={"X-Language": said}) for said in ("de", "en"))
    assert [german.get(), english.get(), german.get()] == ["de 1", "en 2", "de 1"]
    clock.advance(20)
    assert german.get() == "de 1"
    until(lambda: german.get() == "de 3")
    assert english.get() == "en 2"
    until(lambda: english.get() == "en 4")
    assert german.get() == "de 3"


@pytest.mark.parametrize("personal", [False, True], ids=["for-all", "personal"])
def test_a_stale_page_that_becomes_personal_is_no_ones(pages: Pages, personal: bool) -> None:
    """A refresh in the background has the first visitor's session, whose page nobody else gets."""
    clock = FakeClock()
    clock.install(pages.cache)
    mode = {"personal": False}

    def body() -> str:
        return str(session_user(pages)) if mode["personal"] else "for all"

    pages.view(timeout=10, stale_while_revalidate=60)(body)
    visitors = visitors_of(pages)
    assert visitors["ann"].get() == "for all"
    mode["personal"] = personal
    clock.advance(20)
    with told() as found:
        assert visitors["ann"].get() == "for all"
        until(lambda: pages.calls == 2)
        until(lambda: pages.cache.stats().computed == 2)
        said = visitors["bob"].get()
        assert said in ("for all", "bob")
        clock.advance(100)
        if personal:
            assert [visitors[name].get() for name in NAMES] == [*NAMES]
    assert len(found) == personal


def test_a_page_that_fails_is_answered_with_an_old_one_of_its_variant(pages: Pages) -> None:
    """And not with the one of another visitor."""
    clock = FakeClock()
    clock.install(pages.cache)
    broken: list[int] = []

    def body() -> Any:
        said = _with_language(pages)
        return (said, 500) if broken else said

    pages.view(timeout=10, stale_if_error=60)(body)
    german, english = (pages.visitor(headers={"X-Language": said}) for said in ("de", "en"))
    assert [german.get(), english.get()] == ["de", "en"]
    clock.advance(20)
    broken.append(1)
    assert [german.get(), english.get(), german.get()] == ["de", "en", "de"]
    assert german.last.status_code == 200
    assert pages.visitor(headers={"X-Language": "fr"}).get() == "fr"


def test_a_personal_page_that_fails_is_no_one_elses(pages: Pages) -> None:
    """There is no old one."""

    def body() -> Any:
        return str(session_user(pages)), 500

    pages.view(timeout=10, stale_if_error=60)(body)
    visitors = visitors_of(pages)
    with told():
        assert [visitors[name].get() for name in NAMES] == [*NAMES]


def refreshed(pages: Pages, view: Any, **kwargs: Any) -> Any:
    """``view.refresh(...)`` in the colour of the site, outside of a request."""
    if pages.is_quart:
        return pages.run(view.arefresh(**kwargs))
    return asyncio.run(view.arefresh(**kwargs)) if pages.is_async else view.refresh(**kwargs)


def test_a_refresh_renews_the_variant_that_it_names(pages: Pages) -> None:
    """By its query string, or its headers."""
    view = pages.view()(
        lambda: f"{_with_language(pages)} {pages.web.request.args.get('page')} {pages.calls}"
    )
    german, english = (pages.visitor(headers={"X-Language": said}) for said in ("de", "en"))
    assert [german.get("/works?page=1"), english.get("/works?page=1")] == ["de 1 1", "en 1 2"]
    refreshed(pages, view, path="/works?page=1", headers={"X-Language": "de"})
    assert [german.get("/works?page=1"), english.get("/works?page=1")] == ["de 1 3", "en 1 2"]
    assert pages.calls == 3


def test_a_refresh_of_a_personal_page_stores_nothing(pages: Pages) -> None:
    """It says so."""
    view = pages.view()(lambda: str(session_user(pages)))
    with told() as found, pytest.raises(NotStoredError, match="made from the session"):
        refreshed(pages, view, path="/works", strict=True)
    assert len(found) == 1
    assert [v.get() for v in visitors_of(pages).values()] == ["ann", "bob"]


def test_a_forced_update_renews_one_variant(pages: Pages) -> None:
    """And does not give it to others."""
    forced: list[int] = []
    pages.view(forced_update=lambda: bool(forced))(lambda: f"{_with_language(pages)} {pages.calls}")
    german, english = (pages.visitor(headers={"X-Language": said}) for said in ("de", "en"))
    assert [german.get(), english.get()] == ["de 1", "en 2"]
    forced.append(1)
    assert german.get() == "de 3"
    forced.clear()
    assert [german.get(), english.get()] == ["de 3", "en 2"]


# --- parts of pages -------------------------------------------------------------------------------


def test_a_stale_helper_of_a_page_reads_nothing_of_its_visitor(pages: Pages) -> None:
    """What its refresh in the background takes from ``g`` is not what the page was made from."""
    clock = FakeClock()
    clock.install(pages.cache)
    pages.before(lambda: sets_g_user(pages))
    helper = pages.cache.memoize(1, stale_while_revalidate=1000)(pages.dye(lambda: "helper"))
    pages.view(timeout=10)(lambda: helper())
    visitors = visitors_of(pages)
    with told() as found:
        assert visitors["ann"].get() == "helper"
        clock.advance(20)
        assert [visitors[name].get() for name in NAMES] == ["helper"] * 4
    assert pages.calls == 2 and found == []


def test_a_part_that_is_personal_makes_its_page_so(pages: Pages) -> None:
    """A cached helper that reads the session, and one whose key has it."""
    plain = pages.cache.cached(key_prefix="plain")(pages.dye(lambda: str(session_user(pages))))
    keyed = pages.cache.cached(key_prefix="keyed", vary_on=lambda: session_user(pages))(
        pages.dye(lambda: str(session_user(pages)))
    )
    pages.view("/plain", endpoint="plain")(lambda: plain())
    pages.view("/keyed", endpoint="keyed")(lambda: keyed())
    visitors = visitors_of(pages)
    with told():
        assert [visitors[name].get("/plain") for name in NAMES] == [*NAMES]
        assert [visitors[name].get("/keyed") for name in NAMES] == [*NAMES]


def test_a_memoized_part_that_reads_the_session_makes_its_page_personal(pages: Pages) -> None:
    """For as long as it computes; what it gives later is its programmer's word."""
    part = pages.cache.memoize()(pages.dye(lambda who: f"{who} {session_user(pages)}"))
    pages.view()(lambda: part(str(session_user(pages))))
    visitors = visitors_of(pages)
    with told():
        assert [visitors[name].get() for name in NAMES] == [f"{n} {n}" for n in NAMES]
