"""The tests of a backend, for its author to run: see :class:`BackendConformance`."""

from __future__ import annotations

from typing import Any

from ._checks.crowds import Crowds
from ._checks.leases import Leases
from ._checks.plain import PlainOperations
from ._checks.values import ValuesAndKeys
from ._checks.versions import VersionedOperations
from ._regimes import REGIMES

__all__ = ["BackendConformance"]


class BackendConformance(PlainOperations, ValuesAndKeys, Crowds, VersionedOperations, Leases):
    """What every backend must do, as tests for pytest. Inherit them, and give a fixture.

    ::

        class TestMyBackend(BackendConformance):
            @pytest.fixture
            def backend(self):
                return MyBackend()

    Most tests run twice: with the sync methods, and with the awaitable ones. The latter are awaited
    on each kind of event loop that makes a difference for the backend: on one that ends, as under
    an ``async def`` view of Flask; where the backend has awaitable methods of its own, also each on
    a loop of its own; and where it opens something for a loop that lasts, as an ASGI server has,
    also between ``aopen()`` and ``aclose()``. Each test uses keys of its own and closes the
    backend, so a server may be shared; but ``clear`` is called, too. The attributes say what a
    backend cannot do.
    """

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Run each test that asks for a regime in both of them."""
        if "regime" in metafunc.fixturenames:
            metafunc.parametrize("regime", REGIMES)
