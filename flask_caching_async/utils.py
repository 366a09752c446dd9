"""Names that Flask-Caching's users import from ``utils``; most of them live elsewhere here."""

from __future__ import annotations

import inspect

from ._entries.times import seconds as normalize_timeout
from ._flow.callbacks import join_chunks
from .identity import get_id
from .keys import function_namespace, make_template_fragment_key, signature_of
from .keys import query_pairs as query_args_as_pairs
from .typing import Callback, Value

__all__ = [
    "function_namespace",
    "get_arg_default",
    "get_arg_names",
    "get_function_parameters",
    "get_id",
    "join_generator",
    "make_template_fragment_key",
    "normalize_timeout",
    "query_args_as_pairs",
    "wants_args",
    "wants_extra_args",
]


def get_function_parameters(f: Callback) -> list[inspect.Parameter]:
    """The parameters of a function."""
    return list(signature_of(f).parameters.values())


def get_arg_names(f: Callback) -> list[str]:
    """The names of the parameters that may be given by position or by name."""
    return [p.name for p in get_function_parameters(f) if p.kind is p.POSITIONAL_OR_KEYWORD]


def get_arg_default(f: Callback, position: int) -> Value:
    """The default of the parameter at ``position``, ``None`` if it has none."""
    parameter = get_function_parameters(f)[position]
    return None if parameter.default is parameter.empty else parameter.default


def join_generator(rv: Value) -> Value:
    """What a generator yields as one value: text, bytes, or else the list."""
    return join_chunks(list(rv))


def wants_args(f: Callback) -> bool:
    """Whether a callback takes any argument by position, or any keywords at all."""
    return _count(f) > 0


def wants_extra_args(f: Callback) -> bool:
    """Whether a callback takes more than one."""
    return _count(f) > 1


def _count(f: Callback) -> int:
    return sum(p.kind is not p.KEYWORD_ONLY for p in get_function_parameters(f))
