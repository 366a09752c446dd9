"""The tests of a backend, for its author to run: see :class:`BackendConformance`."""

from __future__ import annotations

from typing import Any

from ._checks.crowds import Crowds
from ._checks.guarded import GuardedOperations
from ._checks.leases import Leases
from ._checks.plain import PlainOperations
from ._checks.values import ValuesAndKeys
from ._regimes import REGIMES

__all__ = ["BackendConformance"]


class BackendConformance(PlainOperations, ValuesAndKeys, Crowds, GuardedOperations, Leases):
    """What every backend must do, as tests for pytest. Inherit them, and give a fixture.

    ::

        class TestMyBackend(BackendConformance):
            @pytest.fixture
            def backend(self):
                return MyBackend()

    Most tests run three times: with the sync methods; with the awaitable ones on event loops that
    end, as under an ``async def`` view of Flask; and between ``aopen()`` and ``aclose()`` on a loop
    that lasts, as in an ASGI server. Each uses keys of its own and closes the backend, so a server
    may be shared; but ``clear`` is called, too. The attributes say what a backend cannot do.
    """

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Run each test that asks for a regime in all of them."""
        if "regime" in metafunc.fixturenames:
            metafunc.parametrize("regime", REGIMES)
