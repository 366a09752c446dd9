"""A backend whose invalidations win by itself: versioned operations under one lock, and leases.

What takes a lock here is a transaction, a script or a compare-and-swap in a store of yours.
"""

import pickle
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from flask_caching_async.backends import BaseCache
from flask_caching_async.backends.base import Lease, VersionedValue, new_token


class Table(BaseCache):
    """Rows in memory, each with a version that changes when the key is set or deleted."""

    blocking = False

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.RLock()
        self.rows: dict[str, tuple[float, bytes]] = {}
        self.versions: dict[str, str] = {}

    # --- plain operations -------------------------------------------------------------------------

    def get(self, key: str) -> Any:
        until, data = self.rows.get(key, (0.0, b""))
        return pickle.loads(data) if self.clock() < until else None

    def has(self, key: str) -> bool:
        return self.clock() < self.rows.get(key, (0.0, b""))[0]

    def set(self, key: str, value: Any, timeout: float | None = None) -> bool:
        with self.lock:
            self.put(key, value, timeout)
            self.versions[key] = new_token()
        return True

    def put(self, key: str, value: Any, timeout: float | None) -> None:
        seconds = self.default_timeout if timeout is None else timeout
        until = self.clock() + seconds if seconds else float("inf")
        self.rows[key] = (until, pickle.dumps(value))

    def add(self, key: str, value: Any, timeout: float | None = None) -> bool:
        with self.lock:
            return not self.has(key) and self.set(key, value, timeout)

    def inc(self, key: str, delta: int = 1) -> int:
        with self.lock:
            total: int = (self.get(key) or 0) + delta
            until = self.rows[key][0] if self.has(key) else self.clock() + self.default_timeout
            self.set(key, total, until - self.clock())
            return total

    def delete(self, key: str) -> bool:
        with self.lock:
            existed = self.has(key)
            self.rows.pop(key, None)
            self.versions[key] = new_token()  # of a key that is gone, too
        return existed

    def clear(self) -> bool:
        with self.lock:
            for key in list(self.rows):
                self.delete(key)
        return True

    # --- versioned operations: what was invalidated is never stored -------------------------------

    def look_up(self, key: str, tags: Sequence[str] = ()) -> VersionedValue:
        with self.lock:
            found = tuple(self.get(tag) for tag in tags)
            return VersionedValue(self.get(key), self.versions.get(key), found)

    def set_if_current(
        self,
        key: str,
        value: Any,
        timeout: float,
        key_version: Any,
        tag_versions: Mapping[str, str],
        cas: bytes | None = None,
    ) -> bool:
        with self.lock:
            seen = self.look_up(key, list(tag_versions))
            expected = (key_version, tuple(tag_versions.values()))
            if (seen.key_version, seen.tag_versions) != expected:
                return False
            self.put(key, value, timeout)  # no invalidation: the version stays
            return True

    def set_and_supersede(
        self, mapping: Mapping[str, Any], timeout: float | None = None
    ) -> list[str]:
        return [key for key, value in mapping.items() if self.set(key, value, timeout)]

    def invalidate(self, keys: Sequence[str], tags: Sequence[str] = ()) -> list[str]:
        with self.lock:
            for tag in tags:
                self.delete(tag)
            return [key for key in keys if self.delete(key)]

    # --- one computation between all who use the table --------------------------------------------

    def lease(self, key: str, life: float) -> Lease:
        return RowLease(self, f"lease {key}", life)


class RowLease(Lease):
    """A lease that is a row: added by its holder, and gone after its life."""

    def __init__(self, table: Table, name: str, life: float) -> None:
        self.table, self.name, self.life, self.token = table, name, life, new_token()

    def acquire(self) -> bool:
        self.table.add(self.name, self.token, self.life)
        self.holder = self.table.get(self.name)
        return self.holder == self.token

    def release(self, shared: bool = True) -> None:
        with self.table.lock:
            if self.table.get(self.name) != self.token:
                return
            if not shared:
                self.table.set(f"unshared {self.token}", True, self.life)
            self.table.delete(self.name)

    def unshared(self, holder: str | None) -> bool:
        return bool(self.table.get(f"unshared {holder}"))


def main() -> None:
    table = Table()
    seen = table.look_up("page")
    table.delete("page")  # while a leader computes it
    stored = table.set_if_current("page", "old", 60, seen.key_version, {})
    print("a value that an invalidation has overtaken is stored:", stored)
    seen = table.look_up("page")
    stored = table.set_if_current("page", f"{time.time():.0f}", 60, seen.key_version, {})
    print("one that was computed after it is stored:", stored)


if __name__ == "__main__":
    main()
