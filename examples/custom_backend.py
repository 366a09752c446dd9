"""Two backends of your own: one written with ``def``, one written with ``async def``.

Write the side that is natural; the base class derives the other. Both serve both kinds of views.
"""

import asyncio
import time
from typing import Any

from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.backends import BaseCache


class SyncStore(BaseCache):
    """A sync backend writes ``get``, ``set`` and ``delete``. (No copies, no bound: a sketch.)"""

    blocking = False  # it never waits for I/O, so async callers need no worker thread

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, tuple[float, Any]] = {}

    def get(self, key: str) -> Any:
        until, value = self.values.get(key, (0, None))
        return value if time.time() < until else None

    def set(self, key: str, value: Any, timeout: float | None = None) -> bool:
        seconds = self.default_timeout if timeout is None else timeout
        self.values[key] = (time.time() + seconds if seconds else float("inf"), value)
        return True

    def delete(self, key: str) -> bool:
        return self.values.pop(key, None) is not None


class AsyncStore(BaseCache):
    """An async backend writes ``aget``, ``aset``, ``adelete``; they run on one long-lived loop."""

    def __init__(self) -> None:
        super().__init__()
        self.store = SyncStore()  # an asyncio client of yours

    async def aget(self, key: str) -> Any:
        await asyncio.sleep(0)  # a round trip
        return self.store.get(key)

    async def aset(self, key: str, value: Any, timeout: float | None = None) -> bool:
        await asyncio.sleep(0)
        return self.store.set(key, value, timeout)

    async def adelete(self, key: str) -> bool:
        await asyncio.sleep(0)
        return self.store.delete(key)


def main() -> None:
    for backend in (SyncStore, AsyncStore):
        app = Flask(__name__)
        cache = Cache(app, config={"CACHE_TYPE": backend})  # or its dotted path, as text

        @app.get("/sync")
        @cache.cached(key_prefix="now")
        def view() -> str:
            return f"{time.time():.6f}"

        @app.get("/async")
        @cache.cached(key_prefix="now")
        async def async_view() -> str:
            return f"{time.time():.6f}"

        visit = app.test_client().get
        print(backend.__name__, visit("/sync").text, visit("/async").text)
        cache.delete("now")
        print("    after a deletion:", visit("/async").text)


if __name__ == "__main__":
    main()
