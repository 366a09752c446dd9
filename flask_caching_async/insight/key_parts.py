"""What a key is made of, in pairs for people: ``("path", "/users/7")``, ``("argument id", "7")``.

The keys themselves are made by the plans, of hashes mostly; here it is said what went into them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence

from werkzeug.sansio.request import Request

from .._flow.callbacks import resolved
from ..decorators.cached import ViewPlan
from ..decorators.memoize import CallPlan
from ..decorators.page_options import other_arguments, said_of
from ..decorators.plan import Plan, State
from ..identity import PLAIN, Notes, NoText, canonical, no_text
from ..pages.inputs import values_of
from ..typing import Args, Kwargs, Value

__all__ = ["NO_TEXT", "Part", "learned_parts", "parts_of"]

#: The name of a part, and what it says.
Part = tuple[str, str]
#: Stands for an argument that has no text of its own.
NO_TEXT = "<no text of its own>"
#: The most characters of a part.
LONGEST = 200


def parts_of(
    plan: Plan, state: State, args: Args, kwargs: Kwargs, answers: Sequence[Value], prefix: Value
) -> list[Part]:
    """What the key of a call is made of.

    :param answers: what the callbacks for the key have returned, in the order of the plan's.
    :param prefix: what stands in front of all keys of the backend.
    """
    found: list[Part] = []
    if isinstance(plan, CallPlan):
        found = [("function", plan.name)]
        if plan.make_name:
            found.append(("make_name", _text(answers[0])))
        found += _arguments(plan, args, kwargs)
    elif isinstance(plan, ViewPlan):
        found = list(_of_page(plan, state, args, kwargs, list(answers)))
    settings = state.binding.settings
    if source := plan.source(settings):
        found.append(("source", str(plan.hash_method(settings)(source).hexdigest())[:12]))
    if prefix:
        found.append(("CACHE_KEY_PREFIX", _text(prefix)))
    return found


def learned_parts(above: Mapping[str, tuple[str, ...]], request: Request) -> list[Part]:
    """What a page has turned out to be made from, with what this request says of it."""
    found: dict[str, str] = {}
    for names in above.values():
        for name, value in zip(names, values_of(request, names), strict=True):
            found[_named(name)] = _text(value)
    return list(found.items())


def _named(name: str) -> str:
    """An input as a part is called."""
    kind, _, rest = name.partition(":")
    if name == "args":
        return "query"
    return f"{'query' if kind == 'arg' else kind} {rest}".rstrip()


# --- of calls -------------------------------------------------------------------------------------


def _arguments(plan: CallPlan, args: Args, kwargs: Kwargs) -> Iterator[Part]:
    """The arguments of a call, by their names, but for those that do not count."""
    shown, called = plan.arguments
    try:
        bound = inspect.Signature(shown).bind(*args, **kwargs)
    except TypeError:
        bound = inspect.Signature(called or shown).bind(*args, **kwargs)
    if called is None:
        bound.apply_defaults()
    for name, value in bound.arguments.items():
        if name not in plan.ignored:
            yield f"argument {name}", _written(value)


def _written(value: Value) -> str:
    """An argument as its ``repr`` writes it."""
    value = resolved(value)
    try:
        if type(value) not in PLAIN:
            canonical(value, Notes(no_text))
        return _short(repr(value))
    except NoText:
        return NO_TEXT
    except Exception as error:  # whatever a user's __repr__ raises
        return f"<{type(value).__qualname__}, whose text failed: {type(error).__name__}>"


# --- of pages -------------------------------------------------------------------------------------


def _of_page(
    plan: ViewPlan, state: State, args: Args, kwargs: Kwargs, given: list[Value]
) -> Iterator[Part]:
    """What the key of a page is made of.

    :param given: what the callbacks for it have returned, which is taken.
    """
    request = state.binding.framework.request()
    if plan.own_make_cache_key or plan.replaced_key():
        yield "make_cache_key", _text(given.pop(0))
    elif callable(plan.key_prefix):
        yield "key_prefix", _text(given.pop(0))
        yield from _query(plan, request)
    elif plan.own_key or request is None:
        yield "key_prefix", _text(plan.key_prefix)
        yield from _query(plan, request)
    else:
        yield from _of_request(plan, state, request)
        more = other_arguments(plan.parameters, args[plan.receivers :], kwargs, request)
        for pair in more:
            named = isinstance(pair, tuple) and len(pair) == 2
            yield (f"argument {pair[0]}", _written(pair[1])) if named else ("argument", _text(pair))
    for number, vary in enumerate(plan.vary_on):
        if callable(vary):
            yield f"vary_on[{number}]", _text(given.pop(0))
        elif request is not None:
            name = vary if vary.startswith("cookie:") else f"header:{vary.lower()}"
            yield _named(name), _text(said_of(request, vary))


def _of_request(plan: ViewPlan, state: State, request: Request) -> Iterator[Part]:
    framework = state.binding.framework
    yield "path", framework.usual_path(request) or request.path
    if "".join(plan.around) != "view/":
        yield "key_prefix", _text(plan.key_prefix)
    yield from _query(plan, request)
    if framework.many_hosts:
        yield "host", request.host
    if request.root_path:
        yield "root", request.root_path


def _query(plan: ViewPlan, request: Request | None) -> Iterator[Part]:
    """The part of the query string that counts."""
    if plan.query_string and request is not None:
        pairs = plan.counting(request.args.items(multi=True))
        for name, value in sorted(pairs, key=lambda pair: pair[0]):
            yield f"query {name}", _text(value)
        if not pairs:
            yield "query", "(nothing)"


def _text(value: Value) -> str:
    """What a part says."""
    value = resolved(value)
    if value is None or value == ():
        return "(nothing)"
    if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
        return _short(", ".join(value))
    if isinstance(value, tuple) and all(isinstance(item, tuple) for item in value):
        return _short("&".join("=".join(map(str, item)) for item in value))
    return _short(value) if isinstance(value, str) else _written(value)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
