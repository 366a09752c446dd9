"""The files of :class:`FileSystemCache`: what is in them, how they are replaced and swept.

.. code-block:: text

    <cache_dir>/
    ├── <hash>.fca          an entry: a value, or the tombstone of one
    ├── <random>.fca-tmp    an entry that is being written
    └── .fca-state/
        ├── <hash>.stamp    the version of a tag
        ├── <hash>.lock     a lease
        ├── slot-00 … 3f    locks of the sections (a key uses the slot of its file name)
        ├── sweep           lock of the process that sweeps
        └── epoch           the version of all absent keys, once there is a need for one

An entry is a header and the serialized value; ``filesystemcache.py`` says why it has a version and
a time until which it is kept. Other files in the directory are never touched.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import secrets
import stat
import struct
import zlib
from collections.abc import Callable
from typing import Any

from ..._entries.times import NEVER
from ...exceptions import BackendError, ConfigurationError
from .._versioned.contract import KeyVersion, as_token, new_token
from .lease import discard_lease
from .locks import Section, clear_the_way, is_odd, left_alone, remove
from .plain import CREATE, begins_with, patiently, slurp
from .records import MAGIC, TOMBSTONE, VALUE, Record, expiry_on_disk, look, overwrite

log = logging.getLogger(__name__)

#: The path of an entry: what else ends like it may be of another program.
_NAME = re.compile(r".*[/\\][0-9a-f]+\.fca", re.DOTALL)

TAG_VERSION = MAGIC + b"S"
_TAG_VERSION = struct.Struct("<4s4xd")
ENTRY_SUFFIX, VERSION_SUFFIX, LEASE_SUFFIX, TEMP_SUFFIX = ".fca", ".stamp", ".lock", ".fca-tmp"


def is_full(error: BaseException | None) -> bool:
    """Whether there was no room on the disk, or none for this user."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


class Paths(dict[str, str]):
    """The file of each key, remembered: a hash costs a tenth of a whole read."""

    def __init__(self, prefix: str, suffix: str, hash_method: Callable[[bytes], Any]) -> None:
        self._prefix, self._suffix, self._hash = prefix, suffix, hash_method

    def __missing__(self, key: str) -> str:
        if not isinstance(key, str):
            raise TypeError(f"a cache key must be a string, not {type(key).__name__}: {key!r}")
        digest = self._hash(key.encode("utf-8", "surrogatepass")).hexdigest()
        if len(self) >= 2048:
            self.clear()
        path = self[key] = f"{self._prefix}{digest}{self._suffix}"
        return path


#: Stands for the section where there is no other writer to a path.
_NO_SECTION = Section("", 0, 0.0)


class Directory:
    """A cache directory: its paths, its sections, and how a file in it is replaced."""

    SLOTS = 64
    #: Seconds to wait for a section.
    patience = 2.0

    def __init__(self, path: str, mode: int, hash_method: Callable[[bytes], Any]) -> None:
        self.path, self.mode = path, mode
        self.state = os.path.join(path, ".fca-state")
        self.entries = Paths(os.path.join(path, ""), ENTRY_SUFFIX, hash_method)
        self.versions = Paths(os.path.join(self.state, ""), VERSION_SUFFIX, hash_method)
        self.leases = Paths(os.path.join(self.state, ""), LEASE_SUFFIX, hash_method)
        self._epoch = os.path.join(self.state, "epoch")
        with contextlib.suppress(OSError):  # then the first write says so
            clear_the_way(self.state, stat.S_ISDIR)
        self._slots = [os.path.join(self.state, f"slot-{n:02x}") for n in range(self.SLOTS)]

    def section(self, path: str) -> Section:
        """The critical section of a file: it is changed only inside."""
        slot = zlib.crc32(os.path.basename(path).encode()) % self.SLOTS
        return Section(self._slots[slot], self.mode, self.patience)

    def replace(self, path: str, old: Record, data: bytes, section: Section) -> bool:
        """Replace an entry; readers see the old one or the new one.

        False if a handler has been in the ``section`` meanwhile: then the file is left.
        """
        ours = old.kind in (VALUE, TOMBSTONE)
        done = overwrite(path, data, section, self.mode) if ours else None
        if done is not None:
            return done
        try:
            return self.write(path, data, section)
        except OSError as error:
            if ours and is_full(error) and data[:4] == TOMBSTONE:
                done = overwrite(path, data, section, None)  # which needs no room
            if done is None:
                raise
            return done

    def write(self, path: str, data: bytes, section: Section | None = None) -> bool:
        """Write a file beside, and move it into its place.

        False if a handler has been in the ``section`` meanwhile: then the file is left.
        """
        temp = os.path.join(os.path.dirname(path), secrets.token_hex(8) + TEMP_SUFFIX)
        inside, left = section or _NO_SECTION, False
        try:
            self._create(temp, data)
            try:  # to a handler, this is one step
                left = bool((left_alone if inside.disturbed else os.replace)(temp, path))
            except OSError:
                clear_the_way(path)  # a directory, perhaps, which no file replaces
                patiently(os.replace, temp, path)
        except BaseException:
            remove(temp)
            raise
        if left:
            remove(temp)
        return not left

    def _create(self, path: str, data: bytes) -> None:
        fd = os.open(path, CREATE, self.mode)
        try:
            if hasattr(os, "fchmod"):  # the umask does not count
                os.fchmod(fd, self.mode)
            written = os.write(fd, data)
            while written < len(data):
                written += os.write(fd, memoryview(data)[written:])
        finally:
            os.close(fd)

    def try_to_write(self) -> None:
        """Write a file, and remove it.

        A directory that is gone is made anew by the next write: then it must be possible to make
        it.

        :raises OSError: if that is not possible.
        """
        if not os.path.lexists(self.path):
            above = os.path.dirname(self.path)
            while not os.path.lexists(above):
                above = os.path.dirname(above)
            if not os.access(above, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), self.path)
            return
        folders = [self.path, *([self.state] if os.path.isdir(self.state) else [])]
        for folder in folders:  # the second is made by the first write
            temp = os.path.join(folder, secrets.token_hex(8) + TEMP_SUFFIX)
            try:
                self._create(temp, MAGIC)
            finally:
                remove(temp)

    def version_of_absence(self) -> KeyVersion:
        """The version of every key that has no file: ``None``, or the epoch if there is one."""
        try:
            return slurp(self._epoch)
        except FileNotFoundError:
            return None
        except OSError:
            token = new_token()  # equal to nothing
            if is_odd(self._epoch):  # it would be so for ever
                with contextlib.suppress(OSError):
                    self.write(self._epoch, token.encode())
            return token

    def renew_absence(self) -> None:
        """Change the version of every key that has no file."""
        with self.section(self._epoch):
            self.write(self._epoch, new_token().encode())

    def tag_version(self, path: str, now: float, until: float = 0.0) -> str | None:
        """The version of a tag in its file, unless it is missing, expired or damaged.

        :param until: when it must not have expired yet.
        """
        try:
            data = slurp(path)
            kind, expiry = _TAG_VERSION.unpack_from(data)
        except (OSError, struct.error):
            return None
        stands = kind == TAG_VERSION and (not expiry or max(now, until) < expiry)
        return as_token(data[_TAG_VERSION.size :]) if stands else None

    def end_of_version(self, path: str) -> float:
        """When the version of a tag expires; 0 for one that is no good."""
        try:
            kind, expiry = _TAG_VERSION.unpack_from(slurp(path))
        except (OSError, struct.error):
            return 0.0
        return expiry or NEVER if kind == TAG_VERSION else 0.0

    def ensure_tag_version(self, path: str, now: float, until: float) -> str:
        """The version of a tag, made where there is none, and let live until then."""
        head = _TAG_VERSION.pack(TAG_VERSION, expiry_on_disk(until))
        with self.section(path) as section:  # what is there cannot be dropped meanwhile
            while True:  # but by a handler
                section.disturbed = False
                token = self.tag_version(path, now) or new_token()
                if self.write(path, head + token.encode(), section):
                    return token

    def listing(self, path: str, *suffixes: str) -> list[str]:
        """The files of a directory whose names end like ours."""
        names = os.listdir(path) if os.path.isdir(path) else []
        return [os.path.join(path, name) for name in names if name.endswith(suffixes)]

    def _make_room(self) -> None:
        """Remove all values without more ado: what is stored in between is found by the wipe."""
        for path in self.listing(self.path, ENTRY_SUFFIX):
            if look(path).kind == VALUE:
                remove(path)

    def wipe(self) -> None:
        """Remove all entries and tag versions, and the leases that no process holds.

        What a leader stores between its check and its write must not survive. One that found no
        file has checked the epoch in the same section, so passing through all sections waits for
        it; one that found a file has a name that is listed here.
        """
        try:
            self.renew_absence()
        except BackendError as error:
            if not is_full(error):
                raise
            self._make_room()
            self.renew_absence()
        for slot in self._slots:
            with Section(slot, self.mode, self.patience):
                pass
        for path in self.listing(self.path, ENTRY_SUFFIX):
            with self.section(path) as section:
                if begins_with(path, MAGIC) or (is_odd(path) and _NAME.fullmatch(path)):
                    section.unlink(path)
        for path in self.listing(self.state, VERSION_SUFFIX):
            with self.section(path):
                remove(path)
        for path in self.listing(self.state, LEASE_SUFFIX):
            discard_lease(path)


def existing_directory(path: str | os.PathLike[str] | None, mode: int | None) -> str:
    """The absolute path of a directory, which is created where it is missing.

    :param mode: who may read and write the files in it; by default, and what lies there is
        unpickled, nobody else.
    """
    if not path:
        raise ConfigurationError(
            "FileSystemCache needs a directory: set CACHE_DIR, for example to "
            "'/var/cache/myapp' (or give cache_dir to the class itself)"
        )
    absolute = os.path.abspath(path)
    shared = (mode or 0) & 0o066
    access = 0o700 | shared | (shared & 0o044) >> 2
    try:
        os.makedirs(absolute, access, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"CACHE_DIR {absolute!r} cannot be created: {error}; "
            "set it to a directory that this process may write to"
        ) from error
    return absolute
