"""Settings that Flask-Caching's users read and write on the cache object."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .binding import Binding

__all__ = ["Adjustable"]

#: Where an app keeps the bindings of its caches.
EXTENSION = "flask_caching_async"


class Adjustable:
    """The settings of a :class:`.Cache` on the current app."""

    cache: Any
    _last: Binding | None
    _only: Binding | None

    def _binding(self) -> Binding:
        raise NotImplementedError

    @property
    def hash_method(self) -> Callable[..., Any] | None:
        """The hash method of keys; assign one to change it for the current app."""
        return self._setting("hash_method")  # type: ignore[no-any-return]

    @hash_method.setter
    def hash_method(self, value: Callable[..., Any]) -> None:
        self._change(hash_method=value)

    @property
    def source_check(self) -> bool | None:
        """Whether keys contain the source of their function."""
        return self._setting("source_check")  # type: ignore[no-any-return]

    @source_check.setter
    def source_check(self, value: bool) -> None:
        self._change(source_check=value)

    @property
    def enable_signals(self) -> bool:
        """Whether hits and misses send signals."""
        return bool(self._setting("signals"))

    @enable_signals.setter
    def enable_signals(self, value: bool) -> None:
        self._change(signals=value)

    @property
    def serializer(self) -> Any:
        """The serializer of the current app's backend, if it has one."""
        return None if self._last is None else getattr(self.cache, "serializer", None)

    def _setting(self, name: str) -> Any:
        return None if self._last is None else getattr(self._binding().settings, name)

    def _change(self, **settings: Any) -> None:
        """Replace settings; the backend and what it holds stay."""
        old = self._binding()
        settings_now = replace(old.settings, **settings)
        new = replace(old, settings=settings_now, states=weakref.WeakKeyDictionary())
        old.app.extensions[EXTENSION][self] = new
        self._last = new if self._last is old else self._last
        self._only = new if self._only is old else None
