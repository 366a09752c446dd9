"""The options that both decorators take: their names, defaults, checks and descriptions.

A new keyword-only option is one field of :class:`Options` and one line of
:class:`DecoratorOptions`; the signatures and the docstrings of ``Cache.cached`` and
``Cache.memoize`` are completed from here.
"""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypedDict, TypeVar

from werkzeug.local import LocalProxy

from .._entries.times import duration
from .._flow.callbacks import resolved
from ..exceptions import ConfigurationError
from ..typing import Callback, Tags, Timeout, Value

__all__ = ["DecoratorOptions", "Options", "shows_options"]

P = ParamSpec("P")
R = TypeVar("R")
#: ``(name, value)``: the value as it is kept.
Check = Callable[[str, Value], Value]


class DecoratorOptions(TypedDict, total=False):
    """What type checkers know of the keyword-only options."""

    lock: bool | None
    lock_timeout: Timeout | None
    stale_while_revalidate: Timeout
    stale_if_error: Timeout
    jitter: float | None
    soft_timeout: Timeout | None
    tags: Tags


# --- checks ---------------------------------------------------------------------------------------


def _function(name: str, value: Value) -> Value:
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be callable, not {value!r}")
    return value


def _timeout(name: str, value: Value) -> Value:
    if isinstance(value, LocalProxy):  # whatever it stands for, it can be called
        return lambda _: resolved(value)
    return value if callable(value) else duration(name, value)


def _window(name: str, value: Value) -> float:
    return duration(name, value) or 0


def _share(name: str, value: Value) -> float | None:
    if isinstance(value, bool) or (value is not None and not 0 <= value <= 1):
        raise ConfigurationError(f"{name} is the share of a timeout, 0.0 to 1.0, not {value!r}")
    share: float | None = value
    return share


def _tags(name: str, value: Value) -> Value:
    if isinstance(value, str):
        return (value,)
    return value if callable(value) else tuple(value)


# --- the options ----------------------------------------------------------------------------------


def _option(default: Value, check: Check | None = None, doc: str = "") -> Value:
    """One option; those with a ``doc`` are keyword-only arguments of both decorators."""
    return dataclasses.field(default=default, metadata={"check": check, "doc": doc})


@dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments that both decorators take, checked; times in seconds."""

    timeout: float | Callback | None = _option(None, _timeout)
    unless: Callback | None = _option(None, _function)
    forced_update: Callback | None = _option(None, _function)
    is_stale: Callback | None = _option(None, _function)
    response_filter: Callback | None = _option(None, _function)
    hash_method: Callback | None = _option(None)
    cache_none: bool = _option(False)
    source_check: bool | None = _option(None)
    lock: bool | None = _option(None, doc="whether concurrent callers wait for one computation.")
    lock_timeout: float | None = _option(
        None, duration,
        "seconds that one of them waits at most before it computes alone.",
    )  # fmt: skip
    stale_while_revalidate: float = _option(
        0, _window,
        "seconds after ``timeout`` in which the old value is served while one refresh runs in the "
        "background (RFC 5861).",
    )  # fmt: skip
    stale_if_error: float = _option(
        0, _window,
        "seconds after ``timeout`` in which the old value is served if the function raises, or a "
        "view answers 5xx (RFC 5861).",
    )  # fmt: skip
    jitter: float | None = _option(
        None, _share,
        "the largest share of a timeout by which it is shortened at random, 0.0 to 1.0.",
    )  # fmt: skip
    soft_timeout: float | None = _option(
        None, duration,
        "seconds that a caller waits for a new value while ``stale_if_error`` allows the old one: "
        "then it gets that, and the computation goes on.",
    )  # fmt: skip
    tags: tuple[str, ...] | Callback = _option(
        (), _tags,
        "names for :meth:`delete_tags`, or a callable that makes them of the call's arguments.",
    )  # fmt: skip

    @classmethod
    def read(cls, **given: Value) -> Options:
        """Check what a decorator was given.

        :raises ConfigurationError: if a value is wrong.
        :raises TypeError: if one is not of its kind, or there is no such option.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in given:
            if name not in fields:
                raise TypeError(f"a decorator got an unexpected keyword argument {name!r}")
            check: Check | None = fields[name].metadata["check"]
            if check is not None:
                given[name] = check(name, given[name])
        options = cls(**given)
        if options.soft_timeout is not None and not options.stale_if_error:
            raise ConfigurationError(
                "soft_timeout serves the old value instead of waiting for a new one, and "
                "stale_if_error says for how long there is one: set that, too"
            )
        return options


def shows_options(decorator: Callable[P, R]) -> Callable[P, R]:
    """Let ``help()`` and ``inspect.signature`` show the options that ``**options`` stands for."""
    hints, parameters, lines = DecoratorOptions.__annotations__, [], []
    for field in dataclasses.fields(Options):
        if field.metadata["doc"]:
            parameters.append(
                inspect.Parameter(
                    field.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=field.default,
                    annotation=getattr(hints[field.name], "__forward_arg__", hints[field.name]),
                )
            )
            lines.append(_described(field.name, field.metadata["doc"]))
    signature = inspect.signature(decorator)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    shown: Value = decorator
    shown.__signature__ = signature.replace(parameters=[*own, *parameters])
    if decorator.__doc__:  # not with python -OO
        decorator.__doc__ = "\n".join([inspect.cleandoc(decorator.__doc__), *lines])
    return decorator


def _described(name: str, doc: str) -> str:
    text = f":param {name}: {doc}"
    return textwrap.fill(text, 92, subsequent_indent="    ", break_long_words=False)
