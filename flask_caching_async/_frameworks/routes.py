"""Which pages a view has: over all its rules, endpoints and hosts, and from what a user calls them.

``url_for`` builds one URL, of one rule, and wants a request or ``SERVER_NAME``. A deletion is meant
for all pages that its arguments lead to, and is made anywhere.
"""

from __future__ import annotations

import contextlib
import re
import types
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from flask.sansio.app import App
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import (
    AnyConverter,
    MapAdapter,
    PathConverter,
    RequestRedirect,
    Rule,
    UnicodeConverter,
)

from .._entries.isolation import IMMUTABLE
from ..keys import signature_of
from ..pages.given import url_args_of
from ..typing import Callback, Kwargs, Value
from .base import Place

__all__ = [
    "arguments_of",
    "below",
    "endpoint_for",
    "endpoints_of",
    "has_other_spellings",
    "instance_of",
    "is_method",
    "leads_to",
    "places_at",
    "places_of",
    "usual_path",
]


def leads_to(view: Value, function: Callback) -> bool:
    """Whether ``view`` is ``function``, bound to an instance or not, or a decorator around it."""
    while view is not None and view is not function:
        bound = getattr(view, "__func__", None)
        view = function if bound is function else getattr(view, "__wrapped__", None)
    return view is function


def is_method(kind: object, methods: Iterable[str], function: Callback) -> bool:
    """Whether a request to a class of views leads to ``function`` by one of these methods."""
    names = ("dispatch_request", *[method.lower() for method in methods])
    return any(leads_to(getattr(kind, name, None), function) for name in names)


def instance_of(view: Value) -> Value:
    """An instance of a class of views, made as the app makes it when a request gets to ``view``.

    ``as_view`` leaves the arguments of the class, or its only instance, in the closure of the
    function that it returns; decorators of the class, or of an extension, may stand around that.
    """
    kind: Value = view.view_class
    for kept in _closures(view):
        if "class_args" in kept and "class_kwargs" in kept:
            return kind(*kept["class_args"], **kept["class_kwargs"])
        if type(kept.get("self")) is kind:
            return kept["self"]
    return kind()


def _closures(view: Value) -> Iterator[Kwargs]:
    """What a view closes over, and what the functions in it do, which a decorator has wrapped."""
    found = [view]
    while hasattr(found[-1], "__wrapped__"):
        found.append(found[-1].__wrapped__)
    seen: list[Value] = []
    while found:
        function = found.pop(0)
        if isinstance(function, types.FunctionType) and function not in seen:
            seen.append(function)
            kept = {}
            cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
            for name, cell in cells:
                with contextlib.suppress(ValueError):  # it has no value yet
                    kept[name] = cell.cell_contents
            yield kept
            found += kept.values()


def endpoints_of(app: App, function: Callback) -> list[str]:
    """The endpoints of a view or its class, also below decorators with ``functools.wraps``.

    Several where a blueprint is registered twice, or classes of views inherit a method.
    """
    found = []
    for endpoint, registered in app.view_functions.items():
        kind = getattr(registered, "view_class", None)
        methods = getattr(kind, "methods", None) or ()
        if leads_to(registered, function) or is_method(kind, methods, function):
            found.append(str(endpoint))
    name = getattr(function, "__name__", "")
    return found or [name] if name in app.view_functions else found


def rules_of(app: App, endpoints: Iterable[str]) -> list[Rule]:
    """The rules by which a request gets to one of these endpoints."""
    rules = [rule for endpoint in endpoints for rule in app.url_map.iter_rules(endpoint)]
    return [rule for rule in rules if not (rule.build_only or rule.websocket)]


def endpoint_for(app: App, function: Callback, values: Kwargs) -> str:
    """The first endpoint of a view that has a rule for these arguments; else its name."""
    found = endpoints_of(app, function)
    for endpoint in found:
        if any(rule.suitable_for(values) for rule in rules_of(app, [endpoint])):
            return endpoint
    return found[0] if found else getattr(function, "__name__", "")


def arguments_of(app: App, function: Callback) -> set[str]:
    """The names of the arguments that a view gets of its rules."""
    rules = rules_of(app, endpoints_of(app, function))
    return {name for rule in rules for name in rule.arguments}


# --- from the arguments of a view -----------------------------------------------------------------


def places_of(app: App, function: Callback, values: Kwargs) -> list[Place]:
    """All pages of a view that have these arguments.

    What is no argument of its rules is part of the query string, as with ``url_for``; what is not
    given has the default of the function.
    """
    found: list[Place] = []
    names, defaults = arguments_of(app, function), _defaults(function)
    extra = [(n, v) for n, v in values.items() if n not in names]
    query = urlencode([(n, v) for n, v in extra if v is not None], doseq=True)
    endpoints = endpoints_of(app, function)
    for endpoint in endpoints:
        given = dict(values)
        app.inject_url_defaults(endpoint, given)
        for rule in rules_of(app, [endpoint]):
            others = (names & given.keys()) - rule.arguments
            if all(n in defaults and _alike(defaults[n], given[n]) for n in others):
                path = _path_of(app, rule, {**defaults, **given}, endpoints, given)
                found += [] if path is None else [Place(path, query)]
    return list(dict.fromkeys(found))


def _defaults(function: Callback) -> Kwargs:
    parameters = signature_of(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _alike(one: Value, other: Value) -> bool:
    """Whether two values of an argument are written alike in a path: ``3`` and ``"3"`` are."""
    return bool(one == other) or str(one) == str(other)


def _path_of(
    app: App, rule: Rule, values: Kwargs, endpoints: list[str], given: Kwargs
) -> str | None:
    """The path that a rule makes of these values, if a request for it gets to the view."""
    fixed = rule.defaults or {}
    if not all(_alike(value, given[n]) for n, value in fixed.items() if n in given):
        return None
    domain = (rule.host if app.url_map.host_matching else rule.subdomain) or ""
    free = [n for n in re.findall(r"<(?:[^<>]*:)?(\w+)>", domain) if n not in values]
    chosen = {**{n: values[n] for n in rule.arguments if n in values}, **fixed}
    for stand_in in _stand_ins(rule, free):
        built = _build(rule, {**chosen, **stand_in})
        if built is not None:
            path = unquote(built[1])
            return path if free else _answered(_adapter(app, built[0]), path, endpoints)
    return None


def _stand_ins(rule: Rule, free: list[str]) -> Iterator[dict[str, str]]:
    """Values for the parts of a host that are not given: the pages of all hosts are meant."""
    yield dict.fromkeys(free, "0")
    yield {n: next(iter(getattr(rule._converters.get(n), "items", ())), "x") for n in free}


def _build(rule: Rule, values: Kwargs) -> tuple[str, str] | None:
    if not rule.suitable_for(values):
        return None
    try:
        return rule.build(values, append_unknown=False)
    except (TypeError, ValueError, AttributeError):  # a converter that takes no such value
        return None


# --- from a path ----------------------------------------------------------------------------------


def places_at(
    app: App, function: Callback, path: str, root: str, of_others: bool = False
) -> list[Place]:
    """The pages that a path, or a URL, may mean: decoded or not, below the root or not.

    Of a function that is no view, all that it may mean.

    :param of_others: whether pages of other views count, which may call the function.
    """
    candidates = _readings(path, root)
    endpoints = endpoints_of(app, function)
    if not endpoints:
        return candidates
    adapters = list(_adapters(app))
    if not adapters:
        return candidates
    found: list[Place] = []
    answering = app.view_functions if of_others else endpoints
    for place in candidates:
        for adapter in adapters:
            answered = _answered(adapter, place.path, answering)
            found += [] if answered is None else [place._replace(path=answered)]
    return list(dict.fromkeys(found))


def _readings(path: str, root: str) -> list[Place]:
    """What a text may mean: a URL, or the path of a request."""
    url, plain = path, f"/{path.lstrip('/')}"
    if re.match(r"(https?:)?//[^/]", path):
        parts = urlsplit(path)
        url = parts.path + (f"?{parts.query}" if parts.query else "")
    url, _, query = url.partition("#")[0].partition("?")
    url = f"/{url.lstrip('/')}"
    read = [Place(unquote(below(root, url)), query), Place(unquote(url), query)]
    return list(dict.fromkeys([*read, Place(below(root, plain)), Place(plain)]))


def below(root: str, path: str) -> str:
    """The rest of a path below the root of the app; all of it where it is not below that."""
    for prefix in filter(None, (root, quote(root))):
        if path == prefix or path.startswith(f"{prefix}/"):
            return path[len(prefix) :] or "/"
    return path


def _adapters(app: App) -> Iterator[MapAdapter]:
    """One for each host of the app; none where a host has parts that may be anything."""
    if not (app.url_map.host_matching or app.subdomain_matching):
        yield _adapter(app, "")
        return
    hosted = app.url_map.host_matching
    rules = app.url_map.iter_rules()
    domains = {(rule.host if hosted else rule.subdomain) or "" for rule in rules}
    if not any("<" in domain for domain in domains):
        yield from [_adapter(app, domain) for domain in sorted(domains)]


def _adapter(app: App, domain: str) -> MapAdapter:
    if app.url_map.host_matching:
        return app.url_map.bind(domain or "localhost")
    subdomain = domain if app.subdomain_matching else app.url_map.default_subdomain
    return app.url_map.bind("localhost", subdomain=subdomain)


def _answered(adapter: MapAdapter, path: str, endpoints: Iterable[str]) -> str | None:
    """The path of the page that a request for a path ends at, if one of these answers it."""
    for _ in range(2):
        try:
            rule, _values = adapter.match(path, method="GET", return_rule=True)
        except RequestRedirect as redirect:
            path = unquote(urlsplit(redirect.new_url).path)
        except NotFound:
            return None
        except HTTPException:  # it answers other methods only
            return path
        else:
            return path if rule.endpoint in endpoints else None
    return path


# --- from a request -------------------------------------------------------------------------------

#: Where what stands in the path is the value, so that a value is written in one way only.
EXACT = (UnicodeConverter, PathConverter, AnyConverter)


def has_other_spellings(rule: Rule) -> bool:
    """Whether several paths may lead to the same arguments: ``/3``, ``/003``, ``/3/``."""
    return not rule.strict_slashes or any(type(c) not in EXACT for c in rule._converters.values())


def usual_path(request: Any, adapter: Any) -> str | None:
    """The path that ``url_for`` builds for what a request asks for."""
    rule, values = request.url_rule, url_args_of(request)
    # An object that a converter has made may have been changed since.
    if values is None or not IMMUTABLE.issuperset(map(type, values.values())):
        rule, values = adapter.match(return_rule=True)
    built = rule.build(values, append_unknown=False)
    return None if built is None else unquote(built[1])
