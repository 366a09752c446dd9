"""The public conformance kit, as backends run it of which we know what they cannot do."""

from __future__ import annotations

from typing import Any, ClassVar
from unittest import SkipTest

import pytest

from flask_caching_async.backends import BaseCache
from flask_caching_async.testing import BackendConformance
from flask_caching_async.testing._checks.crowds import Crowds
from flask_caching_async.testing._checks.leases import Leases
from flask_caching_async.testing._checks.plain import PlainOperations
from flask_caching_async.testing._checks.values import ValuesAndKeys
from flask_caching_async.testing._regimes import REGIMES

__all__ = ["Conformance", "Crowds", "PlainOperations", "ValuesAndKeys"]


def checks_of(part: type) -> list[str]:
    """The checks of a part of the kit."""
    return [name for name in vars(part) if name.startswith("test_")]


#: What a backend may say that it cannot do, and the checks that are then skipped.
SKIPPED: dict[tuple[str, bool], list[str]] = {
    ("leases", False): checks_of(Leases),
    ("atomic", False): [
        "test_no_count_is_lost", "test_one_of_many_adds", "test_all_agree_on_new_tag_versions",
    ],
    ("clears", False): ["test_clear_removes_everything"],
    ("copies_values", False): ["test_nobody_changes_what_is_stored"],
    ("expires", False): [
        "test_values_end_with_their_timeouts", "test_a_value_lives_until_its_timeout",
    ],
    ("expires_in_real_time", True): ["test_a_value_lives_until_its_timeout"],
}  # fmt: skip


class Conformance(BackendConformance):
    """The kit without the checks that it would skip; one test says that it would."""

    #: Whether the backend has leases, which the kit finds out by itself.
    leases = True
    #: What is asked of it: it may have all the rest from a backend of which that is asked.
    parts: tuple[type, ...] = BackendConformance.__bases__
    #: The checks that would be skipped.
    skipped: ClassVar[list[str]] = []

    def __init_subclass__(cls) -> None:
        """Leave checks out: what is None is no test."""
        cls.skipped = [
            name
            for (ability, told), names in SKIPPED.items()
            for name in names
            if getattr(cls, ability) is told
        ]
        for part in BackendConformance.__bases__:
            for name in checks_of(part):
                asked = part in cls.parts and name not in cls.skipped
                setattr(cls, name, getattr(part, name) if asked else None)
        if not cls.skipped:
            cls.test_what_is_left_out_would_be_skipped = None  # type: ignore

    def test_what_is_left_out_would_be_skipped(self, backend: BaseCache) -> None:
        """A backend that can do more than is said of it is asked more."""
        for name in self.skipped:
            check: Any = getattr(BackendConformance, name)
            regimes = [()] if check.__code__.co_argcount == 2 else [(regime,) for regime in REGIMES]
            for regime in regimes:
                with pytest.raises(SkipTest):
                    check(self, backend, *regime)
