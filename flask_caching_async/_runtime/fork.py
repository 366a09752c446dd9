"""What a forked child does with what it inherited: one registry for the whole package.

A child has none of its parent's threads and event loops, and one of them may have held any lock.
So whatever has a thread, a loop, a lock or a connection registers here. First everything forgets
its parent; then what ran in the parent begins anew, and finds all else in order.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Protocol

__all__ = ["begin_in_child", "forget_in_child", "forgets_parent", "held_while_forking"]


class Forgetful(Protocol):
    """An object that a forked child must put in order."""

    def forget_parent(self) -> object:
        """Start anew, without the parent's threads, loops and locks."""
        ...


_objects: weakref.WeakSet[Forgetful] = weakref.WeakSet()
_forgetting: list[Callable[[], object]] = []
_beginning: list[Callable[[], object]] = []


def forgets_parent(thing: Forgetful) -> None:
    """Let an object put itself in order in each forked child, as long as it lives."""
    _objects.add(thing)


def forget_in_child(hook: Callable[[], object]) -> Callable[[], object]:
    """Call ``hook`` in each forked child, before any of :func:`begin_in_child`; a decorator."""
    _forgetting.append(hook)
    return hook


def begin_in_child(hook: Callable[[], object]) -> Callable[[], object]:
    """Call ``hook`` in each forked child, once everything has forgotten its parent; a decorator."""
    _beginning.append(hook)
    return hook


def held_while_forking(acquire: Callable[[], object], release: Callable[[], object]) -> None:
    """Let no fork happen in the middle of something: ``acquire`` before it, ``release`` after it.

    In the child nothing is released: a hook of :func:`forget_in_child` makes a new lock there.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=acquire, after_in_parent=release)


def _in_child() -> None:
    for hook in _forgetting:
        hook()
    for thing in list(_objects):
        thing.forget_parent()
    for hook in _beginning:
        hook()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
