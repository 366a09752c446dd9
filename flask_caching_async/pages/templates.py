"""Templates: what a context processor reads counts where a template asks for what it gave.

Flask-Login's gives ``current_user`` to every template; a page that does not name it is nobody's.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from ..typing import Callback, Value
from .reads import BASE, Reads, aside, reading, subclass

__all__ = ["watch_templates"]


def watch_templates(app: Value) -> None:
    """Let the context processors of an app, and its templates, note what is read and asked for."""
    for processors in app.template_context_processors.values():
        for place, processor in enumerate(processors):
            if not hasattr(processor, BASE):
                processors[place] = _watched(processor)
    environment = app.jinja_env
    kind = environment.context_class
    if not hasattr(kind, BASE):
        environment.context_class = _context_class(kind)


def _watched(processor: Callback) -> Callback:
    """A context processor that notes for whom it reads."""
    if inspect.iscoroutinefunction(processor):

        async def aprocess() -> Value:
            reads = reading.get()
            if reads is None:
                return await processor()
            with aside(reads) as names:
                return _given(reads, await processor(), names)

        made: Any = aprocess
    else:

        def process() -> Value:
            reads = reading.get()
            if reads is None:
                return processor()
            with aside(reads) as names:
                return _given(reads, processor(), names)

        made = process
    watched: Callback = functools.wraps(processor)(made)
    setattr(watched, BASE, True)
    return watched


def _given(reads: Reads, variables: Value, names: set[str]) -> Value:
    if names and isinstance(variables, Mapping):
        for name, value in variables.items():
            reads.variables.setdefault(name, []).append((value, names))
    return variables


@functools.lru_cache(64)
def _context_class(kind: Any) -> Any:
    """A class of template contexts that notes which variables are asked for."""

    def resolve_or_missing(self: Value, key: str) -> Value:
        found = kind.resolve_or_missing(self, key)
        reads = reading.get()
        if reads is not None and key in reads.variables:
            for value, names in reads.variables[key]:
                if value is found:
                    reads.names |= names
        return found

    return subclass(kind, {"resolve_or_missing": resolve_or_missing})
