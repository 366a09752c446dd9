"""The backend that keeps each value in a file, for all processes that share a directory.

``_files/directory.py`` says how the files look, and ``_files/locks.py`` how threads and processes
exclude one another. Here is why no computation can overtake an invalidation.

The version of a key is the random id in its file's header, also when the value in it has expired.
What must never happen is that a computation which started before an invalidation finds its key
version again. Ids are unique, so this could only be "absent" before and "absent" after it:

1. Each invalidating write (set, add, inc, set_and_supersede, delete, invalidate) gives the file a
   time, one ``KEY_VERSION_LIFE`` ahead, *until which it is kept*. ``set_if_current`` invalidates
   nothing, so it takes over that time from the file that it replaces, and has none where there was
   none.
2. Sweeping, whether a value expired or there are too many, unlinks a file that need not be kept any
   longer. That is how live values go that computations stored: an older computation that finds
   "absent" again has been overtaken by nothing. A file that must be kept becomes a tombstone of
   some 50 bytes with the same id: an eviction is no invalidation, so it gives no new version.
3. Where this would leave too many tombstones, and in ``clear``, the version of *absent* itself
   changes (the epoch), before any of them is unlinked. A reader looks at the file of a key first
   and then at the epoch, so one that misses the tombstone sees the new epoch.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from cachelib.serializers import BaseSerializer, FileSystemSerializer

from .._entries.envelope import counted, is_living, unpack
from .._entries.times import NEVER, life_of, seconds
from ..exceptions import BackendError
from ..serializers._checked import dumps
from ..typing import Config, Timeout, Value
from ._files.directory import Directory, existing_directory, is_full
from ._files.foreign import warn_of_writers
from ._files.lease import FileLease
from ._files.locks import remove
from ._files.records import (
    ABSENT,
    HEADER_SIZE,
    TOMBSTONE,
    VALUE,
    Record,
    damaged,
    look,
    pack,
    read_entry,
)
from ._files.sweeper import Sweeper
from ._versioned.contract import (
    KEY_VERSION_LIFE,
    NAMESPACE,
    KeyVersion,
    Lease,
    VersionedValue,
    versioned_value_of,
)
from .base import BaseCache

__all__ = ["FileSystemCache"]

R = TypeVar("R")


class FileSystemCache(BaseCache):
    """A cache of files in one directory, shared by all threads and processes that use it.

    Other files in the directory are left alone. Readers never wait; writers of one key wait for
    one another for microseconds.

    :param cache_dir: the directory; it is created where it is missing, for this user only.
    :param threshold: how many values to keep before the oldest are removed; 0 for no limit.
        Other processes notice what one has added within a few dozen writes.
    :param default_timeout: seconds that a value lives when it is given no timeout; 0 never
        expires. Parts of a second count.
    :param mode: the mode of the files.
    :param hash_method: makes file names from keys.
    :param ignore_delete_many_errors: whether :meth:`delete_many` skips a key that cannot be
        deleted instead of raising ``RuntimeError``.
    :param ignore_errors: deprecated name of ``ignore_delete_many_errors``.
    """

    blocking = True
    shared = True
    any_text = True
    #: Turns values into bytes and back: anything with cachelib's ``dumps`` and ``loads``.
    serializer: BaseSerializer

    def __init__(
        self,
        cache_dir: str | os.PathLike[str] | None,
        threshold: int = 500,
        default_timeout: float | dt.timedelta = 300,
        mode: int | None = 0o600,
        hash_method: Callable[..., Any] = hashlib.sha256,
        ignore_delete_many_errors: bool = False,
        ignore_errors: bool | None = None,
    ) -> None:
        if ignore_errors is not None:
            warnings.warn(
                "'ignore_errors' is an old name and will go away; "
                "say 'ignore_delete_many_errors' instead.",
                DeprecationWarning,
                stacklevel=2,
            )
            ignore_delete_many_errors = ignore_errors
        super().__init__(ignore_delete_many_errors=ignore_delete_many_errors)
        # Not by cachelib's constructor, which deprecates part of a second.
        self.default_timeout = seconds(default_timeout)  # type: ignore[assignment]
        self.serializer = FileSystemSerializer()
        self._threshold, self._hash_method = threshold, hash_method
        self.where = self._path = existing_directory(cache_dir, mode)
        self._files = Directory(self._path, 0o600 if mode is None else mode, hash_method)
        self._sweeper = Sweeper(self._files, threshold)

    @classmethod
    def factory(
        cls, app: object, config: Config, args: list[Any], kwargs: Config
    ) -> FileSystemCache:
        """Build it from ``CACHE_DIR``, ``CACHE_THRESHOLD`` and ``CACHE_FILE_HASH_METHOD``.

        ``CACHE_OPTIONS`` wins over all of them.
        """
        if "cache_dir" not in kwargs:
            args.insert(0, config["CACHE_DIR"])
        kwargs.setdefault("threshold", config["CACHE_THRESHOLD"])
        kwargs.setdefault("hash_method", config["CACHE_FILE_HASH_METHOD"])
        return cls(*args, **kwargs)

    def _warn_of_risks(self) -> None:
        """Warn if another user may write into the directory, whose files are unpickled."""
        warn_of_writers(self._path, self.serializer)

    # --- plain operations -------------------------------------------------------------------------

    def get(self, key: str) -> Value:
        """The value of ``key``, or ``None``."""
        try:
            record, data = read_entry(self._files.entries[key])
        except OSError:
            return None
        return self._value(record, data)

    def get_many(self, *keys: str) -> list[Value]:
        """The values of ``keys``, ``None`` for what is missing."""
        return [self.get(key) for key in keys]  # as by default, but without coroutines

    def has(self, key: str) -> bool:
        """Whether there is a value (a ``None`` counts), without loading it."""
        return look(self._files.entries[key]).lives(self.clock())

    def set(self, key: str, value: Value, timeout: Timeout | None = None) -> bool:
        """Store ``value``; a computation that is under way will not overwrite it."""
        payload = self._dumps(value)
        self._replace(key, lambda old: self._entry(payload, self._expiry(timeout)))
        return True

    def add(self, key: str, value: Value, timeout: Timeout | None = None) -> bool:
        """Store ``value`` unless the key exists; of several callers anywhere, one succeeds."""
        payload = self._dumps(value)

        def unless_it_lives(old: Record) -> bytes | None:
            if old.lives(self.clock()):
                return None
            return self._entry(payload, self._expiry(timeout))

        return self._replace(key, unless_it_lives) is not None

    def delete(self, key: str) -> bool:
        """Remove the key, so that no computation under way brings it back. True if it existed."""
        old = self._replace(key, lambda old: self._tombstone())
        return old is not None and old.lives(self.clock())

    def delete_many(self, *keys: str) -> list[str]:
        """Delete several keys; the list of the keys that are gone now.

        :raises RuntimeError: if one could not be deleted, unless ``ignore_delete_many_errors``.
        """
        failed: dict[str, BackendError] = {}
        for key in keys:
            try:
                self.delete(key)
            except BackendError as error:
                failed[key] = error
        if failed and not self.ignore_delete_many_errors:
            raise RuntimeError(f"cannot delete {list(failed)}") from next(iter(failed.values()))
        return [key for key in keys if key not in failed]

    def inc(self, key: str, delta: int = 1) -> int:
        """Add ``delta`` to the number under ``key`` and return the sum. Its timeout goes on."""
        total: Value = delta

        def add_delta(old: Record) -> bytes:
            nonlocal total
            raw = self.get(key)
            entry, versions = unpack(raw)
            seen = dict(zip(versions, self._tag_versions(list(versions)), strict=True))
            living = is_living(entry, versions, seen, self.clock())
            total, stored = counted(key, raw if living else None, delta)
            lives = living and old.lives(self.clock())
            return self._entry(self._dumps(stored), old.expiry if lives else self._expiry(None))

        self._replace(key, add_delta)
        return total  # type: ignore[no-any-return]

    def clear(self) -> bool:
        """Remove all entries and tag versions. Other files in the directory stay."""
        try:
            self._files.wipe()
        except BackendError:
            raise
        except OSError as error:
            raise BackendError(f"the cache directory failed: {error}") from error
        self._sweeper.restart()
        return True

    def ping(self) -> str:
        """Whether the directory can be written to; what is written for that is removed at once.

        :raises OSError: if it cannot.
        """
        self._files.try_to_write()
        return ""

    # --- versioned operations ---------------------------------------------------------------------

    def look_up(self, key: str, tags: Sequence[str] = ()) -> VersionedValue:
        """Look at a key, its version and some tag versions: one small file each, and no lock."""
        files, path = self._files, self._files.entries[key]
        try:
            record, data = read_entry(path)
        except FileNotFoundError:
            value, key_version = None, files.version_of_absence()
        except OSError:
            value, key_version = None, damaged(path).key_version
        else:
            value = self._value(record, data)
            key_version = record.key_version if record is not None else damaged(path).key_version
        # Tag versions after the entry: one that is dropped in between shows the entry dead.
        return versioned_value_of((value, key_version, tuple(self._tag_versions(tags)), None))

    def _tag_versions(self, tags: Sequence[str]) -> list[str | None]:
        files, now = self._files, self.clock() if tags else 0.0
        return [files.tag_version(files.versions[tag], now) for tag in tags]

    def ensure_versions(self, tags: Sequence[str], timeout: float) -> list[str | None]:
        """The versions of ``tags``; all callers anywhere agree on those that had to be created."""
        return [self._ensure_version(name, timeout) for name in tags]

    def _ensure_version(self, tag: str, timeout: float) -> str:
        """The version of a tag, which will live long enough for entries that live ``timeout``."""
        files, path, now = self._files, self._files.versions[tag], self.clock()
        life = NEVER if tag == NAMESPACE or not timeout else timeout
        token = files.tag_version(path, now, now + life)
        if token is not None:
            return token
        until = now + max(2 * life, KEY_VERSION_LIFE)
        return self._with_room(lambda: files.ensure_tag_version(path, now, until))

    def set_and_supersede(self, mapping: Mapping[str, Value], timeout: Any = None) -> list[str]:
        """Set several values; here, :meth:`set` itself wins over computations under way."""
        return self.set_many(dict(mapping), timeout)

    def set_if_current(
        self,
        key: str,
        value: Value,
        timeout: float,
        key_version: KeyVersion,
        tag_versions: Mapping[str, str],
        cas: bytes | None = None,
    ) -> bool:
        """Store ``value`` if the key's version and all ``tag_versions`` stand; whether it was
        stored.

        A tag version may be dropped right after it was checked here: then the entry is stored, and
        each reader sees that its tag version is gone.
        """
        payload = self._dumps(value)

        def if_all_stand(old: Record) -> bytes | None:
            if not self._stands(old, key_version, tag_versions):
                return None
            return self._entry(payload, self._expiry(timeout), old.keep_until)

        stored = self._replace(key, if_all_stand) is not None
        if stored:  # what it needs must not end before it
            self.ensure_versions(list(tag_versions), timeout)
        return stored

    def _stands(
        self, old: Record, key_version: KeyVersion, tag_versions: Mapping[str, str]
    ) -> bool:
        files, now = self._files, self.clock()
        found = files.version_of_absence() if old is ABSENT else old.key_version
        return bool(found == key_version) and all(
            files.tag_version(files.versions[name], now) == token
            for name, token in tag_versions.items()
        )

    def invalidate(self, keys: Sequence[str], tags: Sequence[str] = ()) -> list[str]:
        """Delete ``keys`` so that no computation under way brings them back; drop the versions of
        ``tags``.

        Returns the keys that existed, and the tags that had a version.
        """
        known = []
        for tag in tags:
            path = self._files.versions[tag]
            with self._files.section(path):
                known += [tag] if os.path.lexists(path) else []
                remove(path)
        return [*[key for key in keys if self.delete(key)], *known]

    def lease(self, key: str, life: float) -> Lease:
        """A lease on ``key``. It needs no ``life``: a dead holder's ends at once."""
        return FileLease(self._files.leases[key], self._files.mode)

    # --- what its errors mean ---------------------------------------------------------------------

    def is_answer(self, error: Exception) -> bool:
        """Whether the disk is full: the directory can be read all the same."""
        return is_full(error)

    # --- steps ------------------------------------------------------------------------------------

    def _replace(self, key: str, decide: Callable[[Record], bytes | None]) -> Record | None:
        """Replace the file of a key, inside its section.

        :param decide: gets the old header, and gives the new file, or ``None`` to leave it.
        :returns: the old header, or ``None`` if the file was left.
        """
        path = self._files.entries[key]

        def change() -> tuple[Record, bytes | None]:
            with self._files.section(path) as section:
                while True:  # again, if a handler came in between
                    section.disturbed = False
                    old = look(path)
                    data = decide(old)
                    if data is None or self._files.replace(path, old, data, section):
                        return old, data

        old, data = self._with_room(change)
        if data is None:
            return None
        self._sweeper.count(path, old, data, self.clock())
        return old

    def _with_room(self, write: Callable[[], R]) -> R:
        """Write something; where the disk is full, remove old values and try once more."""
        try:
            return write()
        except BackendError as error:
            if not is_full(error):
                raise
        self._sweeper.make_room(self.clock())
        return write()

    def _entry(self, payload: bytes, expiry: float, keep_until: float | None = None) -> bytes:
        """The file of a value.

        :param keep_until: that of the file it replaces, if this is no invalidation.
        """
        now = self.clock()
        latest = now + KEY_VERSION_LIFE
        kept = latest if keep_until is None else min(keep_until, latest)
        return pack(VALUE, payload, expiry, kept, now)

    def _tombstone(self) -> bytes:
        now = self.clock()
        return pack(TOMBSTONE, b"", now + KEY_VERSION_LIFE, now + KEY_VERSION_LIFE, now)

    def _expiry(self, timeout: Timeout | None) -> float:
        """When something stored now expires."""
        return self.clock() + life_of(self.default_timeout if timeout is None else timeout)

    def _dumps(self, value: Value) -> bytes:
        return dumps(self.serializer, value)

    def _value(self, record: Record | None, data: bytes) -> Value:
        """The value in a file, or ``None`` where it is gone, or it cannot be decoded any more."""
        if record is None or record.kind != VALUE or self.clock() >= record.expiry:
            return None
        try:
            return self.serializer.loads(data[HEADER_SIZE : HEADER_SIZE + record.size])
        except Exception:
            return None
