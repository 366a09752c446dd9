"""What entries and computations in memory hold of a tag or a key, and what must still stand.

All of it runs under the lock of the memory. That lock is reentrant, since a handler may come in
between at any step: a signal's, or a ``__del__`` that the garbage collector calls. So a version is
marked dead before its name is free for another one, and the registry is changed only by steps that
are one instruction to a handler.
"""

from __future__ import annotations

import itertools

# As weakref's own dictionaries do: it removes a name only if its version is dead, in one step.
from _weakref import _remove_dead_weakref  # type: ignore[attr-defined]
from weakref import ref

from ..._entries.entry import BY_HAND

__all__ = ["BY_HAND_VERSION", "ExpectedVersions", "Version", "Versions"]


class Version:
    """What entries and computations hold of a tag or a key; dead once it has been invalidated.

    :param refreshed: the version of a key that a forced computation has put in the place of this
        one, which is dead, too, for all that began before that computation.
    """

    __slots__ = ("dead", "name", "refreshed", "began", "__weakref__")

    def __init__(self, name: str = "") -> None:
        self.dead = False
        self.name = name
        self.refreshed: Version | None = None
        #: When that computation began, in the order of all.
        self.began = 0

    def die(self) -> None:
        """Let nothing stand that holds it, or what a forced computation has put in its place."""
        version: Version | None = self
        while version is not None:
            version.dead = True
            version = version.refreshed


#: The first version of an entry that answers each call of its key: it never dies.
BY_HAND_VERSION = Version(BY_HAND)


class ExpectedVersions:
    """What must still stand when a computation ends: the versions of its key and of its tags."""

    __slots__ = ("of_key", "of_tags", "forced", "began")

    def __init__(
        self, of_key: tuple[Version, ...], of_tags: tuple[Version, ...], forced: bool = False
    ) -> None:
        self.of_key = of_key
        self.of_tags = of_tags
        #: Whether what began before this computation must not be stored after it.
        self.forced = forced
        self.began = next(_order)

    def stand(self) -> bool:
        """Whether nothing has been invalidated since, and no newer computation was stored."""
        for versions in (self.of_key, self.of_tags):
            for version in versions:
                if version.dead and not self._is_replaced(version):
                    return False
        return True

    def _is_replaced(self, version: Version) -> bool:
        """Whether an older computation has replaced a version: this one may replace it again."""
        while version.refreshed is not None and version.began < self.began:
            version = version.refreshed
        return not version.dead


_order = itertools.count(1)


class _Reference(ref[Version]):
    """A version, as long as anything else holds it, and its name."""

    # weakref.KeyedRef does the same in Python code, at three times the cost.
    __slots__ = ("name",)

    name: str


class Versions:
    """The versions by name; one that nothing holds any more is forgotten."""

    def __init__(self) -> None:
        #: For reading; a name may be there whose version is gone.
        self.known: dict[str, _Reference] = {}

    def find(self, name: str) -> Version | None:
        """The version of a name, if anything holds one."""
        reference = self.known.get(name)
        return None if reference is None else reference()

    def get(self, name: str) -> Version:
        """The version of a name; it is created where there is none."""
        reference = self.known.get(name)
        version = None if reference is None else reference()
        if version is not None:
            return version
        if name == BY_HAND:
            return BY_HAND_VERSION
        while True:
            if reference is not None:
                _remove_dead_weakref(self.known, name)  # unless it lives by now
            made = Version(name)
            mine = self._refer(made)
            reference = self.known.setdefault(name, mine)
            if reference is mine:
                return made
            if (version := reference()) is not None:
                return version

    def _refer(self, version: Version) -> _Reference:
        reference = _Reference(version, self._forget)
        reference.name = version.name
        return reference

    def _forget(self, reference: _Reference) -> None:
        _remove_dead_weakref(self.known, reference.name)

    def supersede(self, name: str) -> bool:
        """Mark the version of a name dead, and forget it; whether there was one."""
        version = self.find(name)
        if version is None:
            return False
        version.die()  # first, while a handler still finds it
        reference = self.known.pop(name, None)
        version = None if reference is None else reference()
        if version is not None:  # the same, or one that a handler has made meanwhile
            version.die()
        return True

    def refresh(self, name: str, began: int) -> None:
        """Let nothing stand that began before the forced computation that is stored now."""
        version = self.find(name)
        if version is None or version.dead:
            return
        new = Version(name)
        version.began, version.refreshed = began, new
        version.dead = True
        self.known[name] = self._refer(new)
        if new.dead:  # a handler has superseded the old one meanwhile
            self.known.pop(name, None)
