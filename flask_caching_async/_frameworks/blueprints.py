"""Blueprints for pages of ours: who is let in, and how a request of each framework is read.

:class:`Guarded` is a blueprint of Flask. Registered on a Quart app, it puts one of Quart there, so
that who registers it need not say which it is.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import flask
from flask import Blueprint
from flask.sansio.blueprints import Blueprint as AnyBlueprint
from werkzeug.datastructures import Headers
from werkzeug.sansio.response import Response as AnyResponse

from .._runtime.colour import run_now
from ..typing import Callback, Value
from .asking import NEVER_STORED, Answering, Asked

__all__ = ["Guarded"]

#: What a view may return as a response, besides responses: what ``authorize`` returns of these is
#: sent, and lets nobody in.
SENT = (AnyResponse, str, bytes, tuple, dict)


def verdict(answer: Value) -> Value:
    """What is sent instead of a page; ``None`` if the visitor may see it.

    :param answer: what ``authorize`` returned.
    :raises TypeError: if it says nothing: a generator, say, is true whatever it would yield.
    """
    if inspect.isawaitable(answer) or inspect.isgenerator(answer) or inspect.isasyncgen(answer):
        raise TypeError(f"authorize must return whether the visitor is let in, not {answer!r}")
    if not answer:
        flask.abort(403)
    return answer if isinstance(answer, SENT) else None


def never_stored(response: Value) -> Value:
    """Let no cache store an answer, be it a refusal.

    What is no refusal says so itself: this package's own cache, around a view, has it before this.
    """
    for name, value in NEVER_STORED:
        response.headers[name] = value
    return response


class Instantly:
    """Acts on a cache in sync code."""

    def __init__(self, cache: Value) -> None:
        self.cache = cache

    async def of_cache(self, method: str, *args: Value) -> Value:
        """What a method of the cache returns."""
        return getattr(self.cache, method)(*args)

    async def invalidate(self, invalidation: Value) -> Value:
        """Make an invalidation; ``None`` if the backend did not."""
        return self.cache._invalidate("delete", invalidation)

    async def refresh(self, function: Value, path: str) -> None:
        """Compute and store one page; an async view runs as Flask runs it."""
        flask.current_app.ensure_sync(function.refresh)(path=path, strict=True)


class Awaiting:
    """Acts on a cache in async code."""

    def __init__(self, cache: Value) -> None:
        self.cache = cache

    async def of_cache(self, method: str, *args: Value) -> Value:
        """What the awaitable twin of a method of the cache returns."""
        return await getattr(self.cache, f"a{method}")(*args)

    async def invalidate(self, invalidation: Value) -> Value:
        """Make an invalidation; ``None`` if the backend did not."""
        return await self.cache._ainvalidate(invalidation)

    async def refresh(self, function: Value, path: str) -> None:
        """Compute and store one page; a sync view runs in a thread."""
        await function.arefresh(path=path, strict=True)


class Guarded(Blueprint):
    """A blueprint whose pages only those see whom ``authorize`` lets in.

    :param site: answers its requests.
    :param authorize: called without arguments before each of them; may be async.
    """

    def __init__(self, site: Answering, authorize: Callback, name: str, url_prefix: str) -> None:
        super().__init__(name, __name__, url_prefix=url_prefix)
        self._site, self._authorize = site, authorize
        self._quart: AnyBlueprint | None = None
        self.before_request(self._let_in)
        _equip(self, site, self._view)

    def register(self, app: Any, options: dict[str, Any]) -> None:
        """Put it on an app; on one of Quart, its twin."""
        if "quart" in sys.modules and isinstance(app, sys.modules["quart"].Quart):
            if self._quart is None:
                given = (self._site, self._authorize, self.name, self.url_prefix)
                self._quart = quart_blueprint(*given)
            self._quart.register(app, options)
        else:
            super().register(app, options)

    def _let_in(self) -> Value:
        answer = flask.current_app.ensure_sync(self._authorize)()
        if inspect.isawaitable(answer):  # of a lambda that calls an async function
            answer = flask.current_app.async_to_sync(_awaited)(answer)
        return verdict(answer)

    def _view(self, page: str) -> Callback:
        def view() -> Value:
            asked = _asked(page, flask.request, flask.request.form, flask.current_app)
            steps = self._site.answer(asked, Instantly(self._site.cache))
            body, status, headers = run_now(steps)
            return flask.Response(body, status, Headers(headers))

        return view


def quart_blueprint(
    site: Answering, authorize: Callback, name: str, url_prefix: str | None
) -> AnyBlueprint:
    """The twin of :class:`Guarded` for Quart; its views are async, and block no loop."""
    import quart

    blueprint = quart.Blueprint(name, __name__, url_prefix=url_prefix)

    async def let_in() -> Value:
        # A sync function runs in a thread, as Quart runs all of an app's.
        answer = await quart.current_app.ensure_async(authorize)()
        return verdict(await answer if inspect.isawaitable(answer) else answer)

    def make_view(page: str) -> Callback:
        async def view() -> Value:
            form = await quart.request.form
            asked = _asked(page, quart.request, form, quart.current_app)
            body, status, headers = await site.answer(asked, Awaiting(site.cache))
            return quart.Response(body, status, Headers(headers))

        return view

    blueprint.before_request(let_in)
    _equip(blueprint, site, make_view)
    return blueprint


def _equip(blueprint: Any, site: Answering, make_view: Callable[[str], Callback]) -> None:
    """Add the pages of a site to a blueprint, and what holds for all of its answers."""
    is_async = inspect.iscoroutinefunction(make_view(""))

    async def anever_stored(response: Value) -> Value:
        return never_stored(response)

    blueprint.after_request(anever_stored if is_async else never_stored)
    for page, methods in site.pages.items():
        endpoint = page.replace(".", "-") or "overview"
        blueprint.add_url_rule(f"/{page}", endpoint, make_view(page), methods=methods)


def _asked(page: str, request: Any, form: Any, app: Any) -> Asked:
    """A request of either framework, as a site wants to have it."""
    secret = app.secret_key or b""
    return Asked(
        method=request.method,
        page=page,
        query=request.args.to_dict(),
        form=form.to_dict(),
        cookies=request.cookies.to_dict(),
        headers={name.lower(): value for name, value in request.headers.items()},
        host=request.host,
        is_secure=request.is_secure,
        secret=secret.encode() if isinstance(secret, str) else bytes(secret),
    )


async def _awaited(answer: Awaitable[Value]) -> Value:
    return await answer
