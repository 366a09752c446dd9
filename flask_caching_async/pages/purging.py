"""Telling what was invalidated, so that a CDN can be asked to forget it, too."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .._entries.entry import tag_of
from .._runtime.colour import is_coroutine_function
from .._runtime.process_loop import on_process_loop
from .._runtime.threads import offload
from ..events import about
from .http import header_name

__all__ = ["Invalidated", "Listener", "Listeners", "invalidated"]

log = logging.getLogger("flask_caching_async")

#: What a page's base key is, before its path.
PAGE = "view/"


@dataclass(frozen=True, slots=True)
class Invalidated:
    """What one deletion was about."""

    #: The user's tags that were dropped, as they were given.
    tags: tuple[str, ...] = ()
    #: The names of the views of which all pages were dropped.
    views: tuple[str, ...] = ()
    #: The names of the memoized functions of which all calls were dropped.
    functions: tuple[str, ...] = ()
    #: The paths of the pages that were dropped, without the root of a mounted app.
    paths: tuple[str, ...] = ()
    #: The keys that were deleted.
    keys: tuple[str, ...] = ()
    #: Whether all was dropped that the cache has stored.
    everything: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The tags and views as they stand in the header of ``CACHE_TAG_HEADER``."""
        return tuple([header_name(name) for name in (*self.tags, *self.views)])


#: Is told of an invalidation; it may be async.
Listener: TypeAlias = Callable[[Invalidated], object]


def invalidated(keys: Sequence[str], tags: Iterable[str], paths: Sequence[str] = ()) -> Invalidated:
    """What an invalidation is about, from the names that the cache has for it.

    :param paths: of the pages whose keys these are; else a key tells it.
    """
    kinds: dict[str, dict[str, None]] = {"t": {}, "v": {}, "m": {}}
    for tag in tags:
        for kind, names in kinds.items():
            if tag.startswith(tag_of(kind, "")):
                # A view that shares its name with another one has a second tag.
                names[tag[3:].removesuffix("~") if kind == "v" else tag[3:]] = None
    found = paths or [key.removeprefix(PAGE) for key in keys if key.startswith(f"{PAGE}/")]
    return Invalidated(
        tags=tuple(kinds["t"]), views=tuple(kinds["v"]), functions=tuple(kinds["m"]),
        paths=tuple(dict.fromkeys(found)), keys=tuple(keys),
    )  # fmt: skip


class Listeners:
    """Who is told of invalidations. One that fails is logged, and fails nothing."""

    def __init__(self) -> None:
        self._all: list[Listener] = []

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, listener: Listener) -> None:
        """Tell a listener from now on."""
        self._all.append(listener)

    def tell(self, event: Invalidated) -> None:
        """Tell all of them, from sync code; what is async runs to its end on the process loop."""
        for listener in tuple(self._all):
            try:
                answer = listener(event)
                if inspect.isawaitable(answer):
                    _wait_for(answer)
            except Exception:
                _say(listener)

    async def atell(self, event: Invalidated) -> None:
        """Tell all of them, from async code; what is sync may block, in a worker thread."""
        for listener in tuple(self._all):
            try:
                if is_coroutine_function(listener):
                    answer = listener(event)
                else:
                    answer = await offload(listener, event)
                if inspect.isawaitable(answer):
                    await answer
            except Exception:
                _say(listener)


def _wait_for(answer: Awaitable[object]) -> None:
    async def run() -> None:
        await answer

    try:
        on_process_loop(run)
    finally:
        if inspect.iscoroutine(answer):
            answer.close()  # where that loop could not run it


def _say(listener: Listener) -> None:
    extra = about("listener_failed", names=["invalidated"])
    log.exception("%r failed, which was told of an invalidation", listener, extra=extra)
