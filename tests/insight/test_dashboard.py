"""The dashboard: whom it lets in, what it shows, and what its buttons do."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.exceptions import ConfigurationError
from flask_caching_async.insight.dashboard import dashboard


@pytest.fixture
def shown(app: Flask) -> Any:
    """A cache with a dashboard for all, that has computed something."""
    app.secret_key = "a secret"
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    app.register_blueprint(dashboard(cache, authorize=lambda: True), url_prefix="/seen")
    cache.memoize(make_name=lambda name: "square")(square)(3)
    cache.set("<script>key", 1)
    return cache


def square(number: int) -> int:
    """A function with figures."""
    return number * number


def test_there_is_no_dashboard_without_a_function_that_lets_in(cache: Cache) -> None:
    """It is refused where it is made."""
    with pytest.raises(Exception, match="authorize"):
        dashboard(cache, authorize=None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="say who may"):
        dashboard(cache)


def test_who_is_not_let_in_sees_nothing(app: Flask) -> None:
    """403, with nothing of the cache in it; and an error where ``authorize`` has one."""
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    answers: list[Any] = [False]
    app.register_blueprint(dashboard(cache, authorize=lambda: answers[0]), url_prefix="/seen")
    app.register_blueprint(
        dashboard(cache, authorize=lambda: 1 // 0, name="other"), url_prefix="/other"
    )
    refused = app.test_client().get("/seen/")
    assert refused.status_code == 403
    assert b"SimpleCache" not in refused.data
    assert app.test_client().get("/other/").status_code == 500


def test_the_page_shows_what_was_used_and_is_stored_nowhere(app: Flask, shown: Cache) -> None:
    """Names are escaped; nothing of it comes from another host."""
    answer = app.test_client().get("/seen/")
    assert answer.status_code == 200
    text = answer.get_data(as_text=True)
    assert "square" in text and "SimpleCache" in text
    assert "<script>key" not in text
    assert "no-store" in answer.headers["Cache-Control"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert not re.search(r"(src|href)=\"(https?:)?//", text)


def test_a_button_works_only_with_the_token_of_its_page(app: Flask, shown: Cache) -> None:
    """Without it nothing is done."""
    client = app.test_client()
    token = re.search('name="token" value="([^"]+)"', client.get("/seen/").get_data(as_text=True))
    assert token is not None
    form = {"action": "delete-key", "key": "<script>key"}
    assert client.post("/seen/act", data=form).status_code == 400
    assert client.post("/seen/act", data={**form, "token": token[1][:-1]}).status_code == 400
    assert app.test_client().post("/seen/act", data={**form, "token": token[1]}).status_code == 400
    assert shown.get("<script>key") == 1
    assert client.post("/seen/act", data={**form, "token": token[1]}).status_code == 303
    assert shown.get("<script>key") is None
