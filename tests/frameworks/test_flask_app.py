"""What a cache does to an app: a few things in ``init_app``, and nothing during requests."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask, Response, abort, request_started

from flask_caching_async import Cache
from flask_caching_async.exceptions import NotInitializedError
from support.backends import config_for
from support.params import each_pace
from support.sites import Site


def picture(app: Flask) -> dict[str, Any]:
    """Everything on an app that a cache could be tempted to change."""
    named = {
        name: dict(getattr(app, name))
        for name in ("view_functions", "extensions", "config", "blueprints", "error_handler_spec")
    }
    lists = {
        name: {key: list(value) for key, value in getattr(app, name).items()}
        for name in ("before_request_funcs", "after_request_funcs", "teardown_request_funcs")
    }
    others = {
        "caches": dict(app.extensions.get("cache", {})),
        "identities": [id(getattr(app, name)) for name in (*named, *lists, "jinja_env")],
        "teardown": list(app.teardown_appcontext_funcs),
        "jinja": (dict(app.jinja_env.extensions), dict(app.jinja_env.globals)),
        "attributes": dict(vars(app)),
        "rules": list(app.url_map.iter_rules()),
    }
    others["attributes"].pop("_got_first_request")
    return {**named, **lists, **others}


@each_pace
def test_requests_change_nothing_on_the_app(app: Flask, any_cache: Cache, colour: str) -> None:
    """Hits, misses, headers, errors and deletions: views, hooks, config and extensions stay."""
    site = Site(app, any_cache, colour)
    view = site.numbers(response_hit_indication=True, query_string=True, vary_on="X-A", tags="t")
    site.view("/gone", endpoint="gone")(lambda: abort(404))
    site.view("/stream", endpoint="stream")(lambda: Response(iter("abc")))
    site.app.after_request(lambda response: response)
    blueprint = Blueprint("b", __name__)
    blueprint.add_url_rule("/b", view_func=site.face.cached()(lambda: "b"), endpoint="b")
    app.register_blueprint(blueprint)
    site.get("/b")
    site.get("/looked-for-in-vain")  # Flask itself remembers which handlers it has looked for
    before = picture(app)
    for path in ("/works", "/works", "/works?a=1", "/gone", "/gone", "/stream", "/b", "/nowhere"):
        site.get(path)
    site.do("delete_cached", view)
    site.do("clear")
    site.get()
    assert picture(app) == before


def test_after_the_first_request_no_signal_has_anybody_to_tell(app: Flask) -> None:
    """Blinker looks for who is connected at each request of each app, while anybody ever was."""
    before = set(request_started.receivers)
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    assert set(request_started.receivers) != before
    app.add_url_rule("/", view_func=cache.cached()(lambda: "page"))
    app.test_client().get("/")
    assert set(request_started.receivers) == before


@each_pace
def test_a_request_leaves_nothing_behind_in_g_or_the_environ(
    app: Flask, any_cache: Cache, colour: str
) -> None:
    """What the cache needs during a request is its own."""
    from flask import g, request

    site = Site(app, any_cache, colour)
    site.numbers(response_hit_indication=True)
    seen: list[Any] = []
    app.teardown_request(lambda error: seen.append((list(g), sorted(request.environ))))
    site.get()
    site.get()
    assert [names for names, _ in seen] == [[], []]
    assert not [name for _, environ in seen for name in environ if "cach" in name.lower()]


def test_init_app_of_a_wrong_configuration_changes_nothing(app: Flask) -> None:
    """It fails before it begins."""
    before = picture(app)
    with pytest.raises(ValueError, match="CACHE_TYPE"):
        Cache(app, config={"CACHE_TYPE": "NoSuchCache"})
    assert picture(app) == before


def test_a_view_may_be_decorated_before_the_cache_has_an_app(colour: str, tmp_path: Any) -> None:
    """The factory pattern; before ``init_app`` a call says what to do."""
    cache = Cache()
    site = Site(Flask(__name__), cache, colour)
    view = site.face.cached()(site.counted(lambda: str(site.calls)))
    with pytest.raises(NotInitializedError, match="init_app"):
        site.call(view)
    for _ in range(2):
        site.app = Flask(__name__)
        site.app.add_url_rule("/works", "works", view)
        cache.init_app(site.app, config_for("SimpleCache", tmp_path))
        assert site.text() == site.text() == str(site.calls)
    assert site.calls == 2


def test_an_app_without_the_cache_says_so(app: Flask, cache: Cache, colour: str) -> None:
    """Not silently another app's pages."""
    site = Site(app, cache, colour)
    view = site.numbers()
    other = Flask(__name__)
    other.add_url_rule("/works", "works", view)
    cache.init_app(Flask(__name__), {"CACHE_TYPE": "SimpleCache"})
    other.testing = True
    with pytest.raises(NotInitializedError, match="was not set up for"):
        other.test_client().get("/works")


@pytest.mark.parametrize("off", [{"CACHE_TYPE": "NullCache", "CACHE_NO_NULL_WARNING": True}])
def test_a_null_cache_computes_every_time(app: Flask, colour: str, off: dict[str, Any]) -> None:
    """Caching is off: every option is taken, and nothing is kept."""
    site = Site(app, Cache(app, config=off), colour)
    view = site.numbers(response_hit_indication=True, query_string=True, tags="t", vary_on="X-A")
    assert [site.text() for _ in range(3)] == ["1", "2", "3"]
    assert "hit_cache" not in site.get().headers
    assert site.do("delete_cached", view, "/works") in (True, False)
