"""What users ask a cache about itself: figures, health, and why something is stored or not.

The sync half of a pair asks the backend at once, the async half awaits it.
"""

from __future__ import annotations

from typing import Literal, overload

from .._runtime.threads import offload
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
        sharing = self._binding().sharing
        return self.stats(by="function") if sharing is None else sharing.read()

    async def ashared_stats(self) -> StatsByUse:
        """Awaitable :meth:`shared_stats`."""
        sharing = self._binding().sharing
        if sharing is None:
            return self.stats(by="function")
        return await offload(sharing.read)

    def reset_stats(self) -> None:
        """Count from here on, in this process and in those that share the backend.

        What another process has counted since it shared its figures last is counted after that.
        """
        binding = self._binding()
        binding.ledger.reset()
        if binding.sharing is not None:
            binding.sharing.reset()

    async def areset_stats(self) -> None:
        """Awaitable :meth:`reset_stats`."""
        binding = self._binding()
        binding.ledger.reset()
        if binding.sharing is not None:
            await offload(binding.sharing.reset)
