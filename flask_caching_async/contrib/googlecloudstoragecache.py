"""The backend that keeps values in a bucket of Google Cloud Storage."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import importlib
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from .._entries.times import NEVER
from ..backends._connections.server import prefix_now, warn_of_prefix
from ..backends._versioned.contract import KeyVersion
from ..exceptions import BackendError, ConfigurationError
from ..typing import Config, Timeout, Value
from ._dated import NOTHING, DatedCache, Held, digest, unwrap
from ._turns import Turns

__all__ = ["GoogleCloudStorageCache", "TooManyWrites"]

T = TypeVar("T")
U = TypeVar("U")

#: Bytes of the longest name that an object may have.
LONGEST_NAME = 1024
#: How many objects are looked at at the same time, and how many are removed by one request.
THREADS, BATCH = 8, 100
#: Seconds for one request while everything is removed.
CLEARING = 60.0
#: Seconds that a number is tried to be counted up: another process may always be faster.
COUNTING = 15.0
#: The last Custom-Time there may be: in the year 9999.
LATEST = 253_400_000_000.0


class TooManyWrites(BackendError):
    """An object was written more often than Google Cloud Storage allows: about once a second."""


class GoogleCloudStorageCache(DatedCache):
    """Keeps each value in an object of a bucket, which must exist.

    A lookup takes some ten milliseconds, so this is for what takes seconds to compute. An object
    carries its expiry as Custom-Time, and stays where it is until it is overwritten: have a
    lifecycle rule of the bucket remove it, ``{"rule": [{"action": {"type": "Delete"}, "condition":
    {"daysSinceCustomTime": 1}}]}``. What Flask-Caching has stored is read, too.

    :param bucket: the name of the bucket.
    :param key_prefix: put in front of the name of every object: text, or a callable that is asked
        on each call. Without one, :meth:`clear` empties the bucket.
    :param default_timeout: seconds that a value lives when it is given no timeout; 0 never
        expires.
    :param delete_expired_objects_on_read: whether to remove an expired object that is found. That
        makes the lookup slower.
    :param anonymous: whether to use no credentials, for an emulator.
    :param ignore_delete_many_errors: whether :meth:`delete_many` skips a key that cannot be
        deleted instead of raising ``RuntimeError``.
    :param timeout: seconds to wait for an answer to one request; nothing is retried.
    :param options: for ``google.cloud.storage.Client``.
    :raises ConfigurationError: if the package or credentials are missing. Nothing connects yet.
    """

    def __init__(
        self,
        bucket: str,
        key_prefix: str | Callable[[], str] | None = None,
        default_timeout: float | dt.timedelta = 300,
        delete_expired_objects_on_read: bool = False,
        anonymous: bool = False,
        *,
        ignore_delete_many_errors: bool = False,
        timeout: float = 2.0,
        **options: Any,
    ) -> None:
        super().__init__(default_timeout, ignore_delete_many_errors)
        if not isinstance(bucket, str) or not bucket:
            raise ConfigurationError(
                f"CACHE_GCS_BUCKET must be the name of a bucket that exists, not {bucket!r}"
            )
        self.key_prefix = key_prefix or ""
        self.delete_expired_objects_on_read = delete_expired_objects_on_read
        self.where = self._bucket_name = bucket
        self._connect, self._errors = _client_maker(anonymous, options)
        self._once: Config = {"timeout": timeout, "retry": None}
        self._made, self._pid = self._connect(), os.getpid()
        self._turns = Turns(COUNTING)

    @classmethod
    def factory(
        cls, app: object, config: Config, args: list[Any], kwargs: Config
    ) -> GoogleCloudStorageCache:
        """Build it from ``CACHE_GCS_BUCKET`` and ``CACHE_KEY_PREFIX``; ``CACHE_OPTIONS`` wins."""
        if "bucket" not in kwargs:
            args.insert(0, config.get("CACHE_GCS_BUCKET"))
        kwargs.setdefault("key_prefix", config["CACHE_KEY_PREFIX"])
        warn_of_prefix(kwargs["key_prefix"])
        return cls(*args, **kwargs)

    @property
    def client(self) -> Any:
        """The ``google.cloud.storage.Client``; a forked child has one of its own."""
        if self._made is None or self._pid != os.getpid():
            self._made, self._pid = self._connect(), os.getpid()
        return self._made

    @property
    def bucket(self) -> Any:
        """The ``google.cloud.storage.Bucket``."""
        return self.client.bucket(self._bucket_name)

    # --- plain operations -------------------------------------------------------------------------

    def get(self, key: str) -> Value:
        """The value of ``key``, or ``None``."""
        name = self._name(key)
        try:
            data = self.bucket.blob(name).download_as_bytes(**self._once)
        except self._errors.NotFound:
            return None
        ours = unwrap(data)
        held = self._examine(name) or NOTHING if ours is None else self._held(*ours)
        if not held.living and self.delete_expired_objects_on_read:
            self._sweep(name)
        return held.value

    def get_many(self, *keys: str) -> list[Value]:
        """The values of several keys; their objects are read at the same time."""
        return _each(self.get, keys)

    def has(self, key: str) -> bool:
        """Whether there is a value (a ``None`` counts), without reading it."""
        blob = self.bucket.get_blob(self._name(key), **self._once)
        return blob is not None and self._lives(_end(blob))

    def set(self, key: str, value: Value, timeout: Timeout | None = None) -> bool:
        """Store a value.

        :raises TooManyWrites: if the key was set too often.
        """
        expiry = self._expiry(timeout)
        return self._upload(self._name(key), self._wrap(value, expiry), expiry)

    def set_many(self, mapping: Mapping[str, Value], timeout: Timeout | None = None) -> list[str]:
        """Store several values, at the same time."""
        stored = _each(lambda key: self.set(key, mapping[key], timeout), list(mapping))
        return [key for key, done in zip(mapping, stored, strict=True) if done]

    def add(self, key: str, value: Value, timeout: Timeout | None = None) -> bool:
        """Store a value unless the key has one; of several callers anywhere, one succeeds."""
        name, expiry = self._name(key), self._expiry(timeout)
        data = self._wrap(value, expiry)
        if self._upload(name, data, expiry, 0):
            return True
        found = self._examine(name)
        if found is None or found.living:
            return False
        return self._upload(name, data, expiry, found.generation)

    def delete(self, key: str) -> bool:
        """Delete a key; whether it existed."""
        return self._delete(self._name(key))

    def delete_many(self, *keys: str) -> list[str]:
        """Delete several keys; the list of the keys that are gone now.

        :raises RuntimeError: if one could not be deleted, unless ``ignore_delete_many_errors``.
        """

        def attempt(key: str) -> Exception | None:
            try:
                self.delete(key)
            except Exception as error:
                return error
            return None

        errors = _each(attempt, keys)
        failed = {key: error for key, error in zip(keys, errors, strict=True) if error}
        if failed and not self.ignore_delete_many_errors:
            raise RuntimeError(f"cannot delete {list(failed)}") from next(iter(failed.values()))
        return [key for key in keys if key not in failed]

    def inc(self, key: str, delta: int = 1) -> int:
        """Add to the number under ``key``, atomically; its time runs on.

        Google Cloud Storage takes about one write per second to one key.

        :raises BackendError: if others count the same key all the time.
        """
        name = self._name(key)
        total = self._turns.count(name, functools.partial(self._try_to_count, name, delta))
        if total is None:
            raise BackendError(f"{key!r} is written by others all the time, and was not counted")
        return total

    def _try_to_count(self, name: str, delta: int) -> int | None:
        """The sum, stored; ``None`` if another one was faster, or writes too often."""
        found = self._examine(name)
        if found is not None:
            total, expiry = self._sum(found, delta)
            with contextlib.suppress(TooManyWrites):
                if self._upload(name, self._wrap(total, expiry), expiry, found.generation):
                    return total
        return None

    def clear(self) -> bool:
        """Remove every object under our prefix."""
        what = {"prefix": self._prefix(), "fields": "items(name),nextPageToken"}
        found = self.bucket.list_blobs(**what, timeout=CLEARING, retry=None)
        names = (blob.name for blob in found)
        while batch := list(itertools.islice(names, BATCH)):
            self._delete_batch(batch)
        return True

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        made, self._made = self._made, None
        if made is not None and self._pid == os.getpid():
            made.close()

    def set_if_current(
        self,
        key: str,
        value: Value,
        timeout: float,
        key_version: KeyVersion,
        tags: Mapping[str, str],
        cas: bytes | None = None,
    ) -> bool:
        """Store ``value`` if it still stands, and if none was stored this very second."""
        try:
            return super().set_if_current(key, value, timeout, key_version, tags, cas)
        except TooManyWrites:  # no failure: the bucket is up, and there is a value already
            return False

    # --- steps ------------------------------------------------------------------------------------

    def _prefix(self) -> str:
        prefix = self.key_prefix
        return prefix if isinstance(prefix, str) else prefix_now(prefix)

    def _name(self, key: str) -> str:
        """What a key's object is called."""
        prefix = self._prefix()
        full = f"{prefix}{key}"
        encoded = full.encode("utf-8", "surrogatepass")
        if len(encoded) <= LONGEST_NAME and not set(full) & {"\r", "\n"}:
            with contextlib.suppress(UnicodeError):
                encoded.decode()
                return full
        return f"{prefix}{digest(encoded)}"

    def _examine(self, name: str) -> Held | None:
        """What an object holds; ``None`` if it is changing right now."""
        blob = self.bucket.get_blob(name, **self._once)
        if blob is None:
            return NOTHING
        generation = blob.generation
        try:
            data = blob.download_as_bytes(if_generation_match=generation, **self._once)
        except (self._errors.NotFound, self._errors.PreconditionFailed):
            return None
        ours = unwrap(data)
        if ours is not None:
            return self._held(*ours, generation)
        return self._foreign(data, blob)

    def _foreign(self, data: bytes, blob: Any) -> Held:
        """What Flask-Caching has stored: JSON where that was possible, else bytes."""
        expiry = _end(blob)
        if self._lives(expiry):
            with contextlib.suppress(ValueError):
                value = json.loads(data) if blob.content_type == "application/json" else data
                return Held(True, value, expiry, blob.generation)
        return Held(False, None, 0.0, blob.generation)

    def _upload(self, name: str, data: bytes, expiry: float, generation: int | None = None) -> bool:
        """Write an object; False if ``generation`` is given, and it is another one."""
        blob = self.bucket.blob(name)
        if expiry != NEVER:
            blob.custom_time = dt.datetime.fromtimestamp(min(expiry, LATEST), dt.UTC)
        kind = "application/octet-stream"
        try:
            blob.upload_from_string(data, kind, if_generation_match=generation, **self._once)
        except self._errors.PreconditionFailed:
            return False
        except self._errors.TooManyRequests as error:
            raise TooManyWrites(f"{name!r} was written too often: {error}") from error
        return True

    def _delete(self, name: str) -> bool:
        try:
            self.bucket.delete_blob(name, **self._once)
        except self._errors.NotFound:
            return False
        return True

    def _delete_batch(self, names: Sequence[str]) -> None:
        bucket = self.bucket
        try:
            with bucket.client.batch():
                for name in names:
                    bucket.delete_blob(name, timeout=CLEARING, retry=None)
        except self._errors.GoogleAPICallError:
            # It gives one error of all; most often, another process has deleted an object just now.
            _each(self._delete, names)

    def _sweep(self, name: str) -> None:
        """Remove an expired object, but not one that was written in its place meanwhile."""
        blob = self.bucket.get_blob(name, **self._once)
        if blob is not None and not self._lives(_end(blob)):
            with contextlib.suppress(self._errors.GoogleAPICallError):
                blob.delete(if_generation_match=blob.generation, **self._once)


def _end(blob: Any) -> float:
    """When an object expires, in seconds since the epoch."""
    ends: dt.datetime | None = blob.custom_time
    return NEVER if ends is None else ends.timestamp()


def _each(do: Callable[[T], U], items: Sequence[T]) -> list[U]:
    """Do something with several items at the same time: each has to wait for the network."""
    if len(items) < 2:
        return [do(item) for item in items]
    with ThreadPoolExecutor(min(len(items), THREADS)) as pool:
        return list(pool.map(do, items))


def _client_maker(anonymous: bool, options: Config) -> tuple[Callable[[], Any], Any]:
    """What makes a client, and the module of its exceptions."""
    try:
        storage = importlib.import_module("google.cloud.storage")
        credentials = importlib.import_module("google.auth.credentials")
        auth = importlib.import_module("google.auth.exceptions")
        errors = importlib.import_module("google.api_core.exceptions")
    except ImportError as error:
        raise ConfigurationError(
            "GoogleCloudStorageCache needs a package that is not installed: "
            "pip install google-cloud-storage"
        ) from error
    if anonymous:
        options = {"credentials": credentials.AnonymousCredentials(), "project": "test", **options}

    def connect() -> Any:
        try:
            return storage.Client(**options)
        except auth.DefaultCredentialsError as error:
            raise ConfigurationError(
                "GoogleCloudStorageCache found no credentials: set the environment variable "
                "GOOGLE_APPLICATION_CREDENTIALS to a key file, or say "
                "CACHE_OPTIONS={'anonymous': True} for an emulator"
            ) from error

    return connect, errors
