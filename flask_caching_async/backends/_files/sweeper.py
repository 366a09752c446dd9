"""Keeping a cache directory small: what is over, what is too much, what dead processes left."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import random
import time
from collections.abc import Iterator
from typing import TypeAlias

from ...exceptions import BackendError
from .._versioned.contract import NAMESPACE
from .directory import ENTRY_SUFFIX, LEASE_SUFFIX, TEMP_SUFFIX, VERSION_SUFFIX, Directory
from .lease import discard_lease
from .locks import LockedFile, remove
from .records import ABSENT, TOMBSTONE, VALUE, Record, look, pack

__all__ = ["Sweeper"]

log = logging.getLogger("flask_caching_async")

#: Tombstones that a directory may always have; it may have ``threshold`` if that is more.
_TOMBSTONES = 1000
#: Tag versions that a directory may always have; it may have twice its ``threshold``.
_VERSIONS = 1000
#: Writes between two looks at tag versions, leases and temporary files; more where there are more.
_TIDY_EVERY = 500
#: Entries of which it is remembered what was read of them: half a kilobyte for each.
_KNOWN = 10_000
#: Seconds after which a temporary file has no writer any more, and an unheld lease no reader.
_TEMP_AGE, _LEASE_AGE = 3600, 60

#: What a file looked like: its inode, and where it is no value, when it changed, and its size.
Seen: TypeAlias = tuple[int, int, int]


class Sweeper:
    """Keeps a directory small without listing it at each write.

    It counts what this process adds, and reads all headers when there may be too many values, or
    when other processes may have added some. It makes room for a tenth of the threshold at once,
    so the cost of a write does not depend on the size.

    :param threshold: how many values may stay; 0 for any number.
    """

    def __init__(self, files: Directory, threshold: int) -> None:
        self._files, self._threshold = files, threshold
        #: What was read of entries, and what their files looked like then.
        self._known: dict[str, tuple[Seen, Record]] = {}
        self.restart()

    def restart(self) -> None:
        """Know nothing: where there is a threshold, the next new value makes it look."""
        self._room = 0 if self._threshold > 0 else math.inf
        # At random: processes that end before they have written so much sweep now and then, too.
        self._until_sweep = random.randrange(_TIDY_EVERY)
        self._until_tidy = random.randrange(_TIDY_EVERY)

    def count(self, path: str, old: Record, data: bytes, now: float) -> None:
        """Note that a file was written, outside of any section; sweep if it is time.

        :param old: what it replaced.
        :param data: the new file, which this sweep leaves alone.
        """
        self._known.pop(path, None)
        self._until_tidy -= 1
        self._until_sweep -= old is ABSENT
        self._room -= data.startswith(VALUE) - old.lives(now)
        if self._room >= 0 and self._until_sweep >= 0 and self._until_tidy >= 0:
            return
        try:
            turn = LockedFile(os.path.join(self._files.state, "sweep"), self._files.mode)
            with contextlib.closing(turn):
                if turn.lock():  # else another process is at it
                    self._sweep(path, now)
        except (OSError, BackendError):  # what was written is there; try again some writes later
            self._room = self._until_sweep = self._until_tidy = 16
            log.debug("could not sweep %r", self._files.path, exc_info=True)

    def _sweep(self, keep: str, now: float) -> None:
        living, over = self._survey(now)
        excess = self._threshold and len(living) - self._threshold
        excess = excess + self._threshold // 10 if excess > 0 else 0
        oldest = sorted((i for i in living if i[0] != keep), key=lambda item: item[1].written)
        over += oldest[:excess]
        for path, record in over:
            self._retire(path, record, now)
        self._thin_out([item for item in over if item[1].keep_until > now])
        if self._until_tidy < 0:
            self._tidy(now)
        self._until_sweep = max(1000, len(living) + len(over))
        if self._threshold > 0:
            self._room = self._threshold - len(living) + excess
            self._until_sweep = max(16, self._threshold // 8)

    def make_room(self, now: float) -> None:
        """The disk is full: remove what is over, and the oldest tenth of the values."""
        living, over = self._survey(now)
        living.sort(key=lambda item: item[1].written)
        for path, record in over + living[: len(living) // 10 + 1]:
            with contextlib.suppress(BackendError):
                self._retire(path, record, now)

    def _survey(self, now: float) -> tuple[list[tuple[str, Record]], list[tuple[str, Record]]]:
        """The files of the values that live, and of all other entries."""
        living, over = [], []
        for path, record in self._records():
            if record.lives(now):
                living.append((path, record))
            elif record.kind in (VALUE, TOMBSTONE):
                over.append((path, record))
        return living, over

    def _records(self) -> Iterator[tuple[str, Record]]:
        """All entries; a file that looks as it did when it was read is not read again.

        Of a value only the name and the inode are compared, which cost nothing: another process may
        have written to it. So who acts on a record looks at the file once more; see ``_retire``.
        """
        known, self._known = self._known, {}
        with os.scandir(self._files.path) as found:
            for file in found:
                if not file.name.endswith(ENTRY_SUFFIX):
                    continue
                before, record = known.get(file.path, (None, ABSENT))
                seen: Seen = (file.inode(), 0, 0)
                if before != seen:
                    try:
                        state = file.stat(follow_symlinks=False)
                    except OSError:  # gone
                        continue
                    written = (state.st_ino, state.st_ctime_ns, state.st_size)
                    if before != written:
                        record = look(file.path)
                    if record.kind != VALUE:
                        seen = written
                if len(self._known) < _KNOWN:
                    self._known[file.path] = seen, record
                yield file.path, record

    def _retire(self, path: str, seen: Record, now: float) -> None:
        """Forget an entry, but not its version before the time until which that is kept."""
        if seen.kind == TOMBSTONE and seen.keep_until > now:
            return
        with self._files.section(path) as section:
            self._known.pop(path, None)
            if look(path).key_version != seen.key_version:
                return
            if seen.keep_until <= now:
                section.unlink(path)
            else:
                end, version = seen.keep_until, seen.key_version
                tombstone = pack(TOMBSTONE, b"", end, end, seen.written, version)
                self._files.replace(path, seen, tombstone, section)

    def _thin_out(self, tombs: list[tuple[str, Record]]) -> None:
        """Where there are too many tombstones, let the epoch stand for the older half of them."""
        if len(tombs) <= max(_TOMBSTONES, self._threshold):
            return
        self._files.renew_absence()
        for path, record in sorted(tombs, key=lambda item: item[1].keep_until)[: len(tombs) // 2]:
            self._retire(path, record, math.inf)

    def _tidy(self, now: float) -> None:
        """Remove what dead processes left behind, and expired tag versions."""
        files = self._files
        litter = files.listing(files.path, TEMP_SUFFIX)
        litter += files.listing(files.state, VERSION_SUFFIX, LEASE_SUFFIX, TEMP_SUFFIX)
        for path in litter:
            if path.endswith(VERSION_SUFFIX) and files.tag_version(path, now) is None:
                with files.section(path):
                    if files.tag_version(path, now) is None:
                        remove(path)
            elif path.endswith(LEASE_SUFFIX) and _age(path) > _LEASE_AGE:
                discard_lease(path)
            elif path.endswith(TEMP_SUFFIX) and _age(path) > _TEMP_AGE:
                remove(path)
        self._forget_versions(now)
        self._until_tidy = max(_TIDY_EVERY, len(litter))

    def _forget_versions(self, now: float) -> None:
        """Where there are too many tag versions, drop the half of them that would end first.

        Each path that a visitor makes up has one. What is stored with them is dead then.
        """
        files, bound = self._files, max(_VERSIONS, 2 * self._threshold)
        found = set(files.listing(files.state, VERSION_SUFFIX)) - {files.versions[NAMESPACE]}
        if len(found) <= bound:
            return
        ends = sorted((files.end_of_version(path), -_age(path), path) for path in found)
        for _, _, path in ends[: len(found) - bound // 2]:
            with files.section(path):
                remove(path)


def _age(path: str) -> float:
    """Seconds since a file was written, on the clock of its file system."""
    try:
        return time.time() - os.lstat(path).st_mtime
    except OSError:
        return 0.0
