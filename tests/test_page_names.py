"""Pages that are named by hand: a deletion drops all that its arguments, or its path, lead to."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, g, request, url_for
from flask.views import MethodView
from werkzeug.local import LocalProxy

from flask_caching_async import Cache
from support.faces import COLOURS, Face
from support.params import cases
from support.sites import Site

#: What a test registers: the rules of its view, with the options of each.
Rules = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def site(app: Flask, face: Face) -> Site:
    """An app in either colour, on a cache in memory."""
    return Site(app, face.cache, face.colour)


@pytest.fixture
def any_site(app: Flask, any_face: Face) -> Site:
    """An app in either colour, on each backend."""
    return Site(app, any_face.cache, any_face.colour)


def registered(site: Site, rules: Rules, **options: Any) -> Any:
    """A view under several rules, which answers with the number of its computation."""

    def view(**view_args: Any) -> str:
        return str(site.calls)

    cached = site.face.cached(**options)(site.counted(view))
    for rule, more in rules:
        site.app.add_url_rule(rule, "view", cached, **more)
    return cached


def dropped(site: Site, delete: Callable[[], Any], *paths: str) -> list[str]:
    """Which pages must be computed again after a deletion."""
    before = [site.text(path) for path in paths]
    assert [site.text(path) for path in paths] == before
    assert delete() is True
    return [path for path, page in zip(paths, before, strict=True) if site.text(path) != page]


# --- by the view's arguments ----------------------------------------------------------------------

#: The rules of a view, the arguments of a deletion, what it drops, and what it does not.
LEADING: dict[str, tuple[Rules, dict[str, Any], list[str], list[str]]] = {
    "two rules": (
        [("/a/<int:n>", {}), ("/b/<int:n>", {})], {"n": 3}, ["/a/3", "/b/3"], ["/a/4", "/b/4"],
    ),
    "a value as text": ([("/a/<int:n>", {})], {"n": "3"}, ["/a/3"], ["/a/4"]),
    "zeros": ([("/a/<int:n>", {})], {"n": 3}, ["/a/3", "/a/003", "/a/03"], ["/a/30", "/a/004"]),
    "digits of a float": (
        [("/a/<float:n>", {})], {"n": 1.5}, ["/a/1.5", "/a/1.50"], ["/a/1.51", "/a/2.5"],
    ),
    "an identifier in capitals": (
        [("/a/<uuid:n>", {})],
        {"n": "ABCDEF00-0000-4000-8000-000000000000".lower()},
        [f"/a/{'abcdef00-0000-4000-8000-000000000000'}", "/a/ABCDEF00-0000-4000-8000-000000000000"],
        ["/a/abcdef00-0000-4000-8000-000000000001"],
    ),
    "a slash at the end or none": (
        [("/a/<n>", {"strict_slashes": False}), ("/b/<n>/", {"strict_slashes": False})],
        {"n": "x"}, ["/a/x", "/a/x/", "/b/x", "/b/x/"], ["/a/y/", "/b/y"],
    ),
    "a default of a rule": (
        [("/a", {"defaults": {"n": 1}}), ("/a/<int:n>", {})], {"n": 1}, ["/a"], ["/a/2"],
    ),
    "no value of a default": (
        [("/a", {"defaults": {"n": 1}}), ("/a/<int:n>", {})], {"n": 2}, ["/a/2"], ["/a"],
    ),
    "escapes": ([("/a/<n>", {})], {"n": "é %?#"}, ["/a/%C3%A9%20%25%3F%23"], ["/a/e"]),
}  # fmt: skip


@cases("case", LEADING.values(), ids=LEADING)
def test_a_deletion_drops_all_pages_that_its_arguments_lead_to(site: Site, case: Any) -> None:
    """Over all rules, however a visitor has written the path; and no other page."""
    rules, arguments, gone, kept = case
    view = registered(site, rules)
    assert dropped(site, lambda: site.do("delete_cached", view, **arguments), *gone, *kept) == gone


def test_pages_with_another_spelling_are_dropped_on_every_backend(any_site: Site) -> None:
    """By the usual path, too; the page of the other spelling alone by its own."""
    view = registered(any_site, [("/a/<int:n>", {"strict_slashes": False})], query_string=True)
    pages = ["/a/3", "/a/3/", "/a/003", "/a/003?x=1", "/a/4", "/a/004"]
    assert dropped(any_site, lambda: any_site.do("delete_cached", view, n=3), *pages) == pages[:4]
    any_site.do("delete", "view//a/3")
    assert (
        dropped(any_site, lambda: any_site.do("delete", "view//a/4") in (True, False), *pages)
        == pages[4:]
    )
    assert (
        dropped(any_site, lambda: any_site.do("delete_cached", view, "/a/003"), *pages)
        == pages[2:4]
    )


def test_a_default_of_the_function_is_its_argument(site: Site) -> None:
    """A rule without an argument leads to the function's default of it."""

    def view(n: int = 1, size: int = 5) -> str:
        return str(site.calls)

    cached = site.face.cached()(site.counted(view))
    for rule in ("/a", "/a/<int:n>", "/a/<int:n>/<int:size>"):
        site.app.add_url_rule(rule, "view", cached)
    pages = ["/a", "/a/1", "/a/1/5", "/a/2", "/a/2/5", "/a/1/6"]
    assert dropped(site, lambda: site.do("delete_cached", cached, n=1), *pages) == pages[:3]
    assert dropped(site, lambda: site.do("delete_cached", cached, size=6, n=1), *pages) == pages[5:]


def test_a_blueprint_that_is_registered_twice_has_the_pages_of_both(site: Site) -> None:
    """Each registration has an endpoint of its own."""
    shop = Blueprint("shop", __name__)
    view = site.face.cached()(site.counted(lambda n: str(site.calls)))
    shop.add_url_rule("/<int:n>", "view", view)
    site.app.register_blueprint(shop, url_prefix="/one")
    site.app.register_blueprint(shop, url_prefix="/two", name="other")
    pages = ["/one/3", "/two/3", "/one/4", "/two/4"]
    assert dropped(site, lambda: site.do("delete_cached", view, n=3), *pages) == pages[:2]


def test_a_method_that_classes_of_views_inherit_has_the_pages_of_all(site: Site) -> None:
    """``Dog.get`` is the function of ``Pet``; a class with a method of its own has pages"""

    class Pet(MethodView):
        @site.face.cached()
        def get(self, n: int) -> str:
            site.calls += 1
            return str(site.calls)

    class Cat(Pet):
        @site.face.cached()
        def get(self, n: int) -> str:
            site.calls += 1
            return str(site.calls)

    class Dog(Pet):
        pass

    for kind in (Cat, Dog, Pet):
        name = kind.__name__.lower()
        site.app.add_url_rule(f"/{name}/<int:n>", view_func=kind.as_view(name))
    pages = ["/dog/3", "/pet/3", "/cat/3", "/dog/4"]
    for view in (Dog.get, Pet.get, Dog().get):
        assert dropped(site, lambda: site.do("delete_cached", view, n=3), *pages) == pages[:2]  # noqa: B023
        assert dropped(site, lambda: site.do("delete_cached", view, 3), *pages) == pages[:2]  # noqa: B023
    assert dropped(site, lambda: site.do("delete_cached", Cat.get, n=3), *pages) == ["/cat/3"]
    assert dropped(site, lambda: site.do("delete_cached", Dog.get, "/dog/3"), *pages) == ["/dog/3"]


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("matching", ["hosts", "subdomains"])
def test_a_deletion_drops_the_pages_of_all_hosts(matching: str, colour: str) -> None:
    """What stands in the host need not be given."""
    app = Flask(
        __name__, **({"host_matching": True, "static_host": "x"} if matching == "hosts" else {})
    )
    where = {"host": "<tenant>.example.org"}
    if matching == "subdomains":
        app.config["SERVER_NAME"] = "example.org"
        app.subdomain_matching, where = True, {"subdomain": "<tenant>"}
    site = Site(app, Cache(app, config={"CACHE_TYPE": "SimpleCache"}), colour)
    view = registered(site, [("/a/<int:n>", where)])

    def pages() -> list[str]:
        hosts = [{"base_url": f"http://{host}.example.org"} for host in ("a", "b")]
        return [site.text(path, **host) for host in hosts for path in ("/a/3", "/a/03", "/a/4")]

    for delete in (
        lambda: site.do("delete_cached", view, n=3),
        lambda: site.do("delete_cached", view, n=3, tenant="a"),
        lambda: site.do("delete_cached", view, "/a/3"),
        lambda: site.do("delete_cached", view, "http://b.example.org/a/3"),
    ):
        before = pages()
        assert pages() == before and delete() is True
        assert [a == b for a, b in zip(before, pages(), strict=True)] == [False, False, True] * 2


def test_url_defaults_give_what_is_not_given(site: Site) -> None:
    """As with ``url_for``; a value preprocessor may take an argument away from the view."""
    app = site.app

    @app.url_value_preprocessor
    def take(endpoint: str | None, values: dict[str, Any] | None) -> None:
        g.language = (values or {}).pop("language", None)

    @app.url_defaults
    def give(endpoint: str, values: dict[str, Any]) -> None:
        values.setdefault("language", "de")

    view = registered(site, [("/<language>/<int:n>", {})])
    pages = ["/de/3", "/de/003", "/fr/3", "/fr/003"]
    assert dropped(site, lambda: site.do("delete_cached", view, n=3), *pages) == pages[:2]
    delete = lambda: site.do("delete_cached", view, n=3, language="fr")  # noqa: E731
    assert dropped(site, delete, *pages) == pages[2:]


# --- by a path, or by position --------------------------------------------------------------------

#: What is passed to delete_cached for the page of ``/user/<name>/<int:n>`` at "/user/é/3".
SPELLINGS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "as a request has it": (("/user/é/3",), {}),
    "by its name": ((), {"path": "/user/é/3"}),
    "encoded": (("/user/%C3%A9/3",), {}),
    "without a slash": (("user/é/3",), {}),
    "with a host": (("http://localhost/user/%C3%A9/3",), {}),
    "with a host and no scheme": (("//localhost/user/%C3%A9/3",), {}),
    "with a query and a fragment": (("/user/%C3%A9/3?a=1#top",), {}),
    "a proxy": ((LocalProxy(lambda: "/user/é/3"),), {}),
    "arguments": ((), {"name": "é", "n": 3}),
    "arguments by position": (("é", 3), {}),
    "some by position": (("é",), {"n": 3}),
}


@cases(
    "outside,spelling,root",
    itertools.product([False, True], SPELLINGS.values(), ["", "/shop", "/é"]),
    ids=map(
        "-".join,
        itertools.product(["in a request", "outside"], SPELLINGS, ["at the root", "/shop", "/é"]),
    ),
    everywhere=("in a request-by its name-/é", "outside-by its name-/é"),
)
def test_a_page_is_found_by_every_spelling_of_its_path(
    site: Site, spelling: Any, root: str, outside: bool
) -> None:
    """What ``url_for`` builds, what a request has, and what ``refresh`` takes are one page."""
    site.app.config["APPLICATION_ROOT"] = root or "/"
    mount = {"SCRIPT_NAME": root.encode().decode("latin-1")}
    view = site.face.cached()(site.counted(lambda name, n: str(site.calls)))
    site.app.add_url_rule("/user/<name>/<int:n>", "view", view)
    args, kwargs = spelling
    delete = lambda: site.do("delete_cached", view, *args, **kwargs)  # noqa: E731
    pages = ["/user/%C3%A9/3", "/user/e/3"]
    if outside:
        assert dropped(site, delete, *pages) == pages[:1]
        return
    before = [site.text(page) for page in pages]
    with site.app.test_request_context(environ_overrides=mount):
        built = url_for("view", name="é", n=3, _external=True)
        assert delete()
    assert [site.text(page) for page in pages] == ["3", before[1]]
    with site.app.test_request_context(environ_overrides=mount):
        assert site.do("delete_cached", view, built) and request.root_path == root
    assert [site.text(page) for page in pages] == ["4", before[1]]
    for path in ({"path": built}, {"path": "/user/é/3"}):
        with site.app.test_request_context(environ_overrides=mount):
            page = site.call(view.refresh, **path)
            assert page == site.text(pages[0], environ_overrides=mount)


def test_a_key_is_made_of_every_spelling_of_a_path(site: Site) -> None:
    """Of a path that leads nowhere, too: nothing is deleted by that."""
    view = registered(site, [("/user/<name>", {}), ("/other/<name>", {})])
    paths = ["/user/é", "/user/%C3%A9", "user/é", "http://localhost/user/%C3%A9"]
    assert {view.make_cache_key(path=path) for path in paths} == {"view//user/é"}
    assert view.make_cache_key(name="é") == "view//user/é"
    assert view.make_cache_key(path="/nowhere") == "view//nowhere"


@cases("name", ["path", "f", "query_args"])
def test_an_argument_of_a_view_may_be_called_like_one_of_a_deletion(site: Site, name: str) -> None:
    """Its value is taken for the argument where it is no path of the view."""
    rule = f"/files/<path:{name}>" if name == "path" else f"/files/<{name}>"
    view = registered(site, [(rule, {})])
    pages = ["/files/a", "/files/b"]
    assert dropped(site, lambda: site.do("delete_cached", view, **{name: "a"}), *pages) == pages[:1]
    if name == "path":
        assert (
            dropped(site, lambda: site.do("delete_cached", view, path="/files/b"), *pages)
            == pages[1:]
        )
    assert dropped(site, lambda: site.do("delete_cached", f=view), *pages) == pages


def test_a_query_in_a_path_is_that_query(site: Site) -> None:
    """As ``url_for`` builds it of what is no argument of the rule."""
    view = registered(site, [("/works", {})], query_string=True)
    pages = ["/works?page=2", "/works?page=3", "/works"]
    for delete in (
        lambda: site.do("delete_cached", view, "/works?page=2"),
        lambda: site.do("delete_cached", view, page=2),
    ):
        assert dropped(site, delete, *pages) == pages[:1]
    assert dropped(site, lambda: site.do("delete_cached", view, "/works"), *pages) == pages


@cases(
    "args,kwargs",
    [
        (("/usr/3",), {}), (("/user/x",), {}), (("x",), {}), ((-1,), {}), ((3, 4), {}),
        ((), {"n": "x"}), ((), {"other": 3}), ((3,), {"n": 3}), ((), {"n": None}),
        (("http://localhost/usr/3",), {}),
    ],
)  # fmt: skip
def test_what_leads_to_no_page_is_named(site: Site, args: Any, kwargs: Any) -> None:
    """A deletion that can match nothing says so."""
    view = registered(site, [("/user/<int:n>", {})])
    with pytest.raises(ValueError, match="view"):
        site.do("delete_cached", view, *args, **kwargs)


def test_a_function_that_is_no_view_is_found_by_the_path_of_the_page_that_calls_it(
    site: Site,
) -> None:
    """It has no rules that could tell a path that it never had; a view may be called by another."""
    part = site.face.cached(key_prefix="part/%s")(site.counted(lambda: str(site.calls)))
    view = registered(site, [("/view", {})], key_prefix="other/%s")
    site.app.add_url_rule("/page", "page", lambda: site.call(part) + site.call(view))
    assert [site.text("/page"), site.text("/page")] == ["12", "12"]
    assert site.do("delete_cached", part, "/page") and site.text("/page") == "32"
    assert site.do("delete_cached", view, "/page") and site.text("/page") == "34"
