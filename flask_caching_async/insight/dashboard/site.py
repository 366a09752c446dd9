"""Which page answers a request, and with which headers."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..._frameworks.asking import Answer, Asked, Colour
from ...stats import CAUSES, StatsByUse, UseStats
from ...typing import Value
from ..health import Health
from . import units
from .actions import ACTIONS, act
from .figures import COLUMNS, as_json, causes_of, hit_ratio, rows_of, state_of, totals_of
from .known_keys import known_keys, only_path, plans_of, tags_of_all
from .tokens import (
    came_from_elsewhere,
    is_genuine,
    made_token,
    read_told,
    seed_cookie,
    seed_of,
    told_cookie,
)

__all__ = ["Site"]

FILES = Path(__file__).parent / "files"

#: Nothing but what is ours may run, be shown or be asked, and nobody may put the page in a frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    # Not no-referrer: with that, browsers would hide the Origin of a form.
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("X-Robots-Tag", "noindex"),
)
HTML, JSON = "text/html; charset=utf-8", "application/json"

environment = Environment(
    loader=FileSystemLoader(FILES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
environment.filters |= {name: getattr(units, name) for name in units.__all__}


def _answer(body: str, kind: str, status: int = 200, *more: tuple[str, str]) -> Answer:
    return Answer(body, status, (("Content-Type", kind), *HEADERS, *more))


class Site:
    """The dashboard of one cache, for any framework.

    :param cache: the :class:`.Cache`; it may be set up for its app later.
    """

    pages: Mapping[str, tuple[str, ...]] = {
        "": ("GET",),
        "figures": ("GET",),
        "dashboard.css": ("GET",),
        "dashboard.js": ("GET",),
        "act": ("POST",),
    }

    def __init__(self, cache: Value) -> None:
        self.cache = cache

    async def answer(self, asked: Asked, colour: Colour) -> Answer:
        """The answer to a request of somebody who may see it."""
        if asked.page == "figures":
            stats, health = await self._condition(colour)
            # Neither "<" nor "&": it is never taken for a page, whatever stands in a name.
            text = json.dumps(as_json(stats, health)).replace("<", "\\u003c")
            return _answer(text.replace("&", "\\u0026"), JSON)
        if asked.page == "act":
            return await self._act(asked, colour)
        if asked.page:
            kind = "text/css" if asked.page.endswith("css") else "text/javascript"
            return _answer((FILES / asked.page).read_text("utf-8"), f"{kind}; charset=utf-8")
        return await self._overview(asked, colour)

    async def _condition(self, colour: Colour) -> tuple[StatsByUse, Health]:
        """The figures, and how the backend is; one that is left alone is not asked."""
        stats: StatsByUse = await colour.of_cache("shared_stats")
        backend = stats.backend
        if backend.is_open:
            return stats, Health(
                ok=False,
                backend=backend.name,
                where=backend.where,
                is_open=True,
                pending=len(backend.pending),
            )
        return stats, await colour.of_cache("ping")

    async def _overview(self, asked: Asked, colour: Colour) -> Answer:
        stats, health = await self._condition(colour)
        seed, told = seed_of(asked), read_told(asked)
        cookies = [] if told is None else [told_cookie(asked, None)]
        if seed is None:
            seed = secrets.token_urlsafe(32)
            cookies.append(seed_cookie(asked, seed))
        shown = self._shown(asked, stats, health)
        shown |= {"told": told, "token": made_token(asked, seed)}
        shown["use"] = await self._use(asked, stats, colour)
        body = environment.get_template("page.html").render(shown)
        return _answer(body, HTML, HTTPStatus.OK, *cookies)

    def _shown(self, asked: Asked, stats: StatsByUse, health: Health) -> dict[str, Any]:
        """What stands on the page, whatever else was asked for."""
        order = asked.query.get("sort", "calls")
        sort, down = order.removesuffix("-up"), not order.endswith("-up")
        totals = totals_of(stats)
        return {
            "cache_name": getattr(self.cache, "name", "cache"),
            "app_name": self.cache._binding().app_name,
            "stats": stats,
            "health": health,
            "state": state_of(health),
            "totals": totals,
            "hit_ratio": hit_ratio(totals),
            "columns": COLUMNS,
            "rows": rows_of(stats, sort, down),
            "sort": sort,
            "down": down,
            "causes": causes_of(stats.values()),
        }

    async def _use(self, asked: Asked, stats: StatsByUse, colour: Colour) -> dict[str, Any] | None:
        """All about one use; ``None`` if none was asked for."""
        kind, name = asked.query.get("kind", ""), asked.query.get("name", "")
        if not name:
            return None
        plans = plans_of(self.cache, kind, name)
        counted = [use for use in stats.values() if (use.kind, use.name) == (kind, name)]
        if not (plans or counted):
            return {"missing": name}
        use = counted[0] if counted else UseStats(plans[0].use, name)
        return {
            "stats": use,
            "keys": known_keys(self.cache, use.kind, name),
            "causes": causes_of([use]),
            "can_refresh": kind == "view" and bool(plans),
            "can_delete": bool(tags_of_all(kind, name)),
            "path": asked.query.get("path") or next(map(only_path, plans), ""),
            "explanation": await self._explanation(asked, colour),
            "sentences": CAUSES,
        }

    async def _explanation(self, asked: Asked, colour: Colour) -> Value:
        """What would answer a request for a path now, if that was asked: an explanation, or why
        there is none, as a text."""
        path = asked.query.get("path", "")
        if not path:
            return None
        if not path.startswith("/") or path.startswith("//"):
            return f"The path of a page begins with one slash, and {path!r} does not."
        try:
            return await colour.of_cache("explain", path)
        except Exception as error:  # of the backend, or of what a user gave to the decorator
            return f"That cannot be explained: {error}"

    async def _act(self, asked: Asked, colour: Colour) -> Answer:
        """Do what a form of this page asks for, and lead back to it."""
        elsewhere = came_from_elsewhere(asked)
        if elsewhere:
            return self._refusal(
                f"This form was sent from {elsewhere}, and not from this page at {asked.host}. "
                "If it was, a proxy changes the name of the host: let the app know that one, with "
                "werkzeug's ProxyFix for example."
            )
        if not is_genuine(asked):
            return self._refusal(
                "The token of this form is missing, or it is not that of this browser. Go back, "
                "load the page again, and repeat it. If that does not help: cookies must be on."
            )
        if asked.form.get("action") not in ACTIONS:
            return self._refusal(f"There is no action {asked.form.get('action')!r}.")
        told = await act(self.cache, colour, asked.form)
        names = ("kind", "name") if asked.form.get("back") == "use" else ()
        back = {name: asked.form.get(name, "") for name in names}
        where = f"./?{urlencode(back)}#use" if back else "./"
        cookie = told_cookie(asked, told)
        return _answer("", HTML, HTTPStatus.SEE_OTHER, ("Location", where), cookie)

    def _refusal(self, why: str) -> Answer:
        """Nothing was done, and why."""
        body = environment.get_template("refusal.html").render(why=why)
        return _answer(body, HTML, HTTPStatus.BAD_REQUEST)
