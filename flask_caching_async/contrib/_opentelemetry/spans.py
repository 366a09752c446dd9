"""Spans around computations, and around the operations of a backend."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self, cast

from opentelemetry import context, trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from ..._entries.entry import Lookup
from ..._flow.leader import Leader
from ..._flow.store_protocol import StoreSteps
from ..._store import failures
from ...binding import Binding
from ...typing import Args, Kwargs, Value

__all__ = ["Computation", "place_of", "watched_steps"]

#: What an operation is called in its span, by the step of the store that makes it.
OPERATIONS = {
    "load": "get",
    "get": "get",
    "has": "has",
    "expect": "prepare",
    "save": "set",
    "set_many": "set",
    "add": "add",
    "touch": "touch",
    "inc": "inc",
    "invalidate": "delete",
    "clear": "clear",
    "acquire_lease": "lock",
    "release_lease": "unlock",
    "replay": "replay",
}
#: Steps whose first argument has several keys.
SEVERAL = ("get", "set_many", "invalidate")

#: What the conventions call the servers that they know, by what a backend's class begins with.
SYSTEMS = {"Redis": "redis", "Memcache": "memcached"}

#: The span of the operation that goes on here.
_operation: ContextVar[Span | None] = ContextVar("operation", default=None)


# --- spans around computations --------------------------------------------------------------------


class _InSpan:
    """A span that is the current one within a block."""

    def __init__(self, span: Span) -> None:
        self.span = span

    def __enter__(self) -> Self:
        self._token = context.attach(trace.set_span_in_context(self.span))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        context.detach(self._token)
        self.end(error)
        self.span.end()

    def end(self, error: BaseException | None) -> None:
        """Say how it came out."""
        raise NotImplementedError


class Computation(_InSpan):
    """A span around a computation, from the call of the function to what was stored of it.

    One in the background begins a trace of its own, with a link to what caused it.
    """

    def __init__(self, tracer: trace.Tracer, name: str, leader: Leader) -> None:
        self.leader = leader
        call, counters = leader.call, leader.call.counters
        result = "forced" if call.forced else "miss"
        root: dict[str, Any] = {}
        if leader.in_background:
            result, cause = "refresh", trace.get_current_span().get_span_context()
            root = {"context": context.Context(), "links": [Link(cause)] if cause.is_valid else []}
        attributes = {
            "flask_caching.cache": name,
            "flask_caching.kind": counters.kind,
            "flask_caching.function": counters.name,
            "flask_caching.result": result,
        }
        named = f"compute {counters.name}"
        super().__init__(tracer.start_span(named, attributes=attributes, **root))

    def end(self, error: BaseException | None) -> None:
        """Whether its value was stored, and what it raised, be it to the caller or not."""
        unstored = self.leader.call.unstored
        self.span.set_attribute("flask_caching.stored", error is None and unstored is None)
        if unstored is not None and unstored.cause:
            self.span.set_attribute("flask_caching.cause", unstored.cause)
        failure = error if error is not None else self.leader.failure
        if isinstance(failure, Exception):
            self.span.record_exception(failure)
            self.span.set_attribute("error.type", type(failure).__qualname__)
            self.span.set_status(Status(StatusCode.ERROR))


# --- spans around operations of the backend -------------------------------------------------------


def place_of(binding: Binding) -> dict[str, str | int]:
    """What the database conventions say of a backend, without a key or a value."""
    backend = binding.ledger.backend()
    found: dict[str, str | int] = {"flask_caching.backend": backend.name}
    names = [kind.__name__ for kind in type(binding.timekeeper).__mro__]
    for begins, system in SYSTEMS.items():
        if any(name.startswith(begins) for name in names):
            found["db.system.name"] = system
            host, _, port = backend.where.rpartition(":")
            if host and port.isdigit() and "," not in host and "://" not in host:
                found |= {"server.address": host.strip("[]"), "server.port": int(port)}
            elif backend.where:
                found["server.address"] = backend.where
            break
    return found


class _OperationSpan(_InSpan):
    """A span around an operation of the backend."""

    def __init__(
        self, tracer: trace.Tracer, place: dict[str, str | int], operation: str, several: int
    ) -> None:
        known = "db.system.name" in place
        more: dict[str, str | int] = {"db.operation.name": operation}
        if several > 1:
            more["db.operation.batch.size"] = several
        where = place.get("db.system.name", place["flask_caching.backend"])
        kind = SpanKind.CLIENT if known else SpanKind.INTERNAL
        named = f"{operation} {where}"
        super().__init__(tracer.start_span(named, kind=kind, attributes={**place, **more}))

    def __enter__(self) -> Self:
        self._outer = _operation.set(self.span)
        return super().__enter__()

    def end(self, error: BaseException | None) -> None:
        """What it raised; :func:`_note_failure` tells of what became nothing found."""
        _operation.reset(self._outer)
        if isinstance(error, Exception):
            _note_on(self.span, error)


def _note_on(span: Span, error: Exception) -> None:
    """The kind of an error alone: its text may have a key in it."""
    span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(Status(StatusCode.ERROR))


def _note_failure(error: Exception) -> None:
    """The backend has failed, in the operation that goes on here."""
    span = _operation.get()
    if span is not None:
        _note_on(span, error)


failures.watchers.append(_note_failure)


class _Steps:
    """The steps of a store, each with a span around it."""

    def __init__(
        self, tracer: trace.Tracer, place: dict[str, str | int], steps: StoreSteps
    ) -> None:
        self._tracer, self._place, self._steps = tracer, place, steps

    def __getattr__(self, name: str) -> Value:
        found = getattr(self._steps, name)
        if name not in OPERATIONS:
            return found
        watched = self._watched(name, found)
        setattr(self, name, watched)  # found at once the next time
        return watched

    def _watched(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        tracer, place, operation = self._tracer, self._place, OPERATIONS[name]

        async def watched(*args: Value, **kwargs: Value) -> Value:
            if name == "expect" and not _has_missing(args, kwargs):
                return await step(*args, **kwargs)
            several = len(args[0]) if name in SEVERAL and args else 1
            with _OperationSpan(tracer, place, operation, several):
                return await step(*args, **kwargs)

        return watched


def _has_missing(args: Args, kwargs: Kwargs) -> bool:
    """Whether there are versions to be created, which is an operation; else it is none."""
    lookup: Lookup = args[2] if len(args) > 2 else kwargs["lookup"]
    seen: tuple[Any, ...] | None = lookup.seen
    return seen is not None and None in seen[1].values()


def watched_steps(
    tracer: trace.Tracer, place: dict[str, str | int], steps: StoreSteps
) -> StoreSteps:
    return cast(StoreSteps, _Steps(tracer, place, steps))
