"""``ping()``: does the backend answer, and how fast?

It goes past the circuit breaker, and leaves that as it is. A ping that fails is no failure of an
operation. And one that succeeds is none that succeeded: a probe that asks every second would keep
the breaker closed in front of a server that answers a ping, but no read in time.
"""

from __future__ import annotations

from time import perf_counter

from .._store.failures import in_one_line
from ..backends.base import BaseCache
from ..binding import Binding
from ..typing import Value
from .health import Health

__all__ = ["aping", "ping"]


def ping(binding: Binding) -> Health:
    """See :meth:`.Cache.ping`."""
    backend, began = _backend(binding), perf_counter()
    try:
        answer = backend.ping()
    except Exception as error:
        return _health(binding, began, error)
    return _health(binding, began, answer)


async def aping(binding: Binding) -> Health:
    """See :meth:`.Cache.ping`."""
    backend, began = _backend(binding), perf_counter()
    try:
        answer = await backend.aping()
    except Exception as error:
        return _health(binding, began, error)
    return _health(binding, began, answer)


def _backend(binding: Binding) -> BaseCache:
    """The backend, where it is no tenant's turn."""
    backend = binding.timekeeper
    return backend.for_prefix("") if callable(backend.key_prefix) else backend


def _health(binding: Binding, began: float, answer: Value) -> Health:
    """What an answer says, or an error."""
    seconds, condition, error = perf_counter() - began, binding.ledger.backend(), ""
    if isinstance(answer, Exception):
        error = in_one_line(answer)
    elif answer is False:  # of a backend that was written elsewhere
        error = "it says that it does not work"
    return Health(
        ok=not error,
        backend=condition.name,
        where=condition.where,
        seconds=seconds,
        is_open=condition.is_open,
        pending=len(condition.pending),
        version=answer if isinstance(answer, str) else "",
        error=error,
    )
