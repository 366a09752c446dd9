"""The session and ``g``: they note what is read of them, too."""

from __future__ import annotations

import copyreg
import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..typing import Value
from .given import note_given, overwritten
from .reads import BASE, Base, base_of, note, reading, subclass

__all__ = ["given_in", "watch_flashes", "watch_g", "watch_session", "watched_g_class"]


def _swap(value: Value, base: Base, make: Callable[..., type], *more: Value) -> None:
    """Let an object note what is read of it, if it can be made to."""
    kind = type(value)
    try:
        if not hasattr(kind, BASE):
            object.__setattr__(value, "__class__", make(kind, *more))
        object.__getattribute__(value, "__dict__")[BASE] = base
    except (AttributeError, TypeError):  # not with slots, nor without a __dict__
        pass


# --- the session ----------------------------------------------------------------------------------


#: What a session itself has, which says nothing of its visitor.
OF_A_SESSION = frozenset({"accessed", "modified", "new", "permanent", "on_update", BASE})


def watch_session(session: Value, base: Base) -> None:
    """Note the reading and writing of a session."""
    if session is not None and getattr(session, BASE, None) is not base:
        attributes = getattr(session, "__dict__", ())
        more = frozenset([name for name in attributes if name not in OF_A_SESSION])
        _swap(session, base, _session_class, more)


@functools.lru_cache(64)
def _session_class(kind: type, more: frozenset[str]) -> type:
    def noting(name: str) -> Callable[..., Value]:
        inherited = getattr(kind, name)

        @functools.wraps(inherited)
        def method(self: Value, *args: Value, **kwargs: Value) -> Value:
            note(base_of(self), "session")
            return inherited(self, *args, **kwargs)

        return method

    names = """
    __getitem__ __setitem__ __delitem__ __contains__ __iter__ __len__ __eq__ __ne__ __repr__ __str__
    __or__ __ror__ __ior__ __reversed__ get keys items values pop popitem setdefault update clear
    copy regenerate
    """
    members: dict[str, Value] = {
        name: noting(name) for name in names.split() if getattr(kind, name, None) is not None
    }
    members |= {name: _attribute(name) for name in (*more, "sid")}

    def reduce(self: Value, protocol: Value) -> Value:
        note(base_of(self), "session")
        mine, base = type(self), self.__dict__.pop(BASE, None)
        self.__class__ = kind  # what is pickled, or copied, is one of its own
        try:
            made = self.__reduce_ex__(protocol)
            if isinstance(made, tuple) and made[0].__name__ == "__newobj__":  # wants that class
                made = copyreg._reduce_ex(self, 1)  # type: ignore[attr-defined]
            return (*made[:2], dict(vars(self)), *made[3:]) if vars(self) in made[2:3] else made
        finally:
            self.__class__ = mine
            self.__dict__[BASE] = base

    return subclass(kind, {**members, "__reduce_ex__": reduce})


def _attribute(name: str) -> property:
    """An attribute of a session, of its own kind, that says whose it is."""

    def get(self: Value) -> Value:
        note(base_of(self), "session")
        try:
            return vars(self)[name]
        except KeyError:
            raise AttributeError(name) from None

    def put(self: Value, value: Value) -> None:
        self.__dict__[name] = value

    def drop(self: Value) -> None:
        self.__dict__.pop(name, None)

    return property(get, put, drop)


class KeptFlashes(list[Value]):
    """Flashes that were fetched from the session before a computation: theirs whose it is."""

    def __init__(self, flashes: Iterable[Value], base: Base) -> None:
        super().__init__(flashes)
        self._base = base

    def __iter__(self) -> Iterator[Value]:
        note(self._base, "session")
        return super().__iter__()

    def __len__(self) -> int:
        note(self._base, "session")
        return super().__len__()

    def __getitem__(self, index: Any) -> Value:
        note(self._base, "session")
        return super().__getitem__(index)


def watch_flashes(context: Value, base: Base) -> None:
    """Note the reading of flashes that the context of a request keeps."""
    for name in ("flashes", "_flashes"):
        flashes = getattr(context, name, None)
        if type(flashes) is list:
            setattr(context, name, KeptFlashes(flashes, base))


# --- g --------------------------------------------------------------------------------------------


#: What ``g`` itself has.
OF_THE_CLASS = frozenset({"get", "pop", "setdefault", BASE})
#: Modules whose way to one name in ``g`` is its ``__dict__``.
ITS_OWN = frozenset({"flask.ctx", "quart.ctx", __name__})


def given_in(g: Value) -> set[str]:
    """What is in ``g`` now, as ``g.NAME``."""
    attributes = _attributes(g)
    return {f"g.{name}" for name in attributes if name != BASE} if len(attributes) > 1 else set()


def watched_g_class(kind: type) -> type:
    """A class like that of ``g``, whose instances note what is read of them."""
    return kind if hasattr(kind, BASE) else _g_class(kind)


def watch_g(g: Value, base: Base) -> None:
    """Note the reading of what was in ``g`` before a computation began."""
    _swap(g, base, _g_class)


@functools.lru_cache(64)
def _g_class(kind: Any) -> type:
    def get(self: Value, name: str) -> Value:
        if reading.get() is not None:
            if name == "__dict__":
                if sys._getframe(1).f_globals.get("__name__") not in ITS_OWN:
                    _note_all(self)
            elif name[:2] != "__" and name not in OF_THE_CLASS:
                note_given(_base(self), f"g.{name}")
        return kind.__getattribute__(self, name)

    def put(self: Value, name: str, value: Value) -> None:
        overwritten(_base(self), f"g.{name}")
        kind.__setattr__(self, name, value)

    def by_name(name: str) -> Callable[..., Value]:
        inherited = getattr(kind, name)

        @functools.wraps(inherited)
        def method(self: Value, key: Value, *args: Value) -> Value:
            note_given(_base(self), f"g.{key}")
            return inherited(self, key, *args)

        return method

    def names(self: Value) -> Value:
        return iter(_note_all(self))

    members: dict[str, Value] = {"__getattribute__": get, "__setattr__": put, "__iter__": names}
    single = ("get", "pop", "setdefault", "__contains__")
    members |= {name: by_name(name) for name in single if hasattr(kind, name)}
    return subclass(kind, members)


def _attributes(g: Value) -> dict[str, Value]:
    attributes: dict[str, Value] = object.__getattribute__(g, "__dict__")
    return attributes


def _base(g: Value) -> Base | None:
    return _attributes(g).get(BASE)


def _note_all(g: Value) -> list[str]:
    base, names = _base(g), [name for name in _attributes(g) if name != BASE]
    for name in names:
        note_given(base, f"g.{name}")
    return names
