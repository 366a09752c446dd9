"""What users ask a cache about itself: figures, health, and why something is stored or not.

The sync half of a pair asks the backend at once, the async half awaits it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast, overload

from .._flow.store_protocol import StoreSteps
from .._runtime.threads import offload
from ..binding import Binding
from ..stats import Stats, StatsByUse
from ..typing import QueryArgs, Value
from .explaining import ExplainedCache, Question, aexplain, explain
from .explanation import Explanation
from .health import Health
from .pinging import aping, ping

__all__ = ["Insights"]


class Insights:
    """The questions that a :class:`.Cache` answers about itself."""

    def _binding(self) -> Binding:
        raise NotImplementedError

    def _sync(self, name: str, depth: int = 3) -> StoreSteps:
        raise NotImplementedError

    @overload
    def stats(self) -> Stats: ...
    @overload
    def stats(self, by: Literal["function"]) -> StatsByUse: ...

    def stats(self, by: Literal["function"] | None = None) -> Stats | StatsByUse:
        """What this cache has done on the current app, in this process.

        ``stats()`` counts decorated functions, fragments of templates and ``get_or_set`` together.

        :param by: ``"function"`` for the figures of each of them, and of ``get`` and ``set``.
        :raises ValueError: for anything else.
        """
        binding = self._binding()
        if by is None:
            return binding.ledger.totals()
        if by != "function":
            raise ValueError(f"statistics are by 'function', not by {by!r}")
        found = binding.ledger.by_use()
        for state in list(binding.states.values()):
            state.arm()
        return found

    def shared_stats(self) -> StatsByUse:
        """The figures of all processes that share the backend, as :meth:`stats` has its own."""
        sharing = self._binding().sharing
        return self.stats(by="function") if sharing is None else sharing.read()

    async def ashared_stats(self) -> StatsByUse:
        """Awaitable :meth:`shared_stats`."""
        sharing = self._binding().sharing
        if sharing is None:
            return self.stats(by="function")
        return await offload(sharing.read)

    def reset_stats(self) -> bool:
        """Count from here on, in this process and in those that share the backend; whether all do.

        What another process has counted since it shared its figures last is counted after that.
        """
        binding = self._binding()
        binding.ledger.reset()
        if binding.sharing is not None:
            return binding.sharing.reset()
        return True

    async def areset_stats(self) -> bool:
        """Awaitable :meth:`reset_stats`."""
        binding = self._binding()
        binding.ledger.reset()
        if binding.sharing is not None:
            return await offload(binding.sharing.reset)
        return True

    def explain(
        self,
        what: Value = None,
        /,
        *args: Value,
        headers: Mapping[str, str] | None = None,
        query_args: QueryArgs | None = None,
        **kwargs: Value,
    ) -> Explanation:
        """What one call would be answered with, and why: its key, what is stored, what hinders it.

        Nothing is computed or changed for it: neither the function nor what the app does before a
        request is called, and nothing is counted, warned of, signalled or learned. The callbacks
        that decide (``unless``, ``forced_update``, ``is_stale``, and those that make the key and
        the tags) are called, as a call calls them.

        A path is asked for with GET by a visitor without a session, who is not logged in, unless
        ``headers`` has such a visitor's ``Cookie`` or ``Authorization``. What a ``before_request``
        function puts into ``g`` is not there. When the request has been looked at, the functions
        of the app for the end of a context (``teardown_request``) are called.

        Whether an answer may be stored, its status, a cookie that it sets, what it was made from,
        is known only when it is computed: of that, it is said what the last one was like that this
        process has computed.

        :param what: a path or a URL; a view with its arguments; a memoized function or method with
            its arguments. Nothing for the current request.
        :param headers: of the request for a page.
        :param query_args: its query string (text, mapping or pairs).
        :raises TypeError: if it is neither a path nor a function, or does not take these arguments.
        :raises ValueError: if it is not known which page is meant.
        :raises ColourError: if a callback, or the app, is async; await :meth:`aexplain` then.
        """
        self._sync("explain")
        asked = Question(what, args, headers, query_args, kwargs)
        return explain(cast(ExplainedCache, self), asked)

    async def aexplain(
        self,
        what: Value = None,
        /,
        *args: Value,
        headers: Mapping[str, str] | None = None,
        query_args: QueryArgs | None = None,
        **kwargs: Value,
    ) -> Explanation:
        """Awaitable :meth:`explain`."""
        asked = Question(what, args, headers, query_args, kwargs)
        return await aexplain(cast(ExplainedCache, self), asked)

    def ping(self) -> Health:
        """Ask the backend whether it answers: true if it does; for a readiness probe.

        It is one trip to the server, within ``CACHE_OPERATION_TIMEOUT`` (and
        ``CACHE_CONNECT_TIMEOUT`` for a new connection), also where the circuit breaker is open. It
        neither opens nor closes that. What fails is told by what it returns; nothing is raised.
        """
        self._sync("ping")
        return ping(self._binding())

    async def aping(self) -> Health:
        """Awaitable :meth:`ping`."""
        return await aping(self._binding())
