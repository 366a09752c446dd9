"""What users ask a cache about itself: figures, health, and why something is stored or not.

The sync half of a pair asks the backend at once, the async half awaits it.
"""

from __future__ import annotations

from typing import Literal, overload

from ..binding import Binding
from ..stats import Stats, StatsByUse

__all__ = ["Insights"]


class Insights:
    """The questions that a :class:`.Cache` answers about itself."""

    def _binding(self) -> Binding:
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
        return self.stats(by="function")

    async def ashared_stats(self) -> StatsByUse:
        """Awaitable :meth:`shared_stats`."""
        return self.stats(by="function")

    def reset_stats(self) -> None:
        """Count from here on, in this process and in those that share the backend."""
        self._binding().ledger.reset()

    async def areset_stats(self) -> None:
        """Awaitable :meth:`reset_stats`."""
        self._binding().ledger.reset()
