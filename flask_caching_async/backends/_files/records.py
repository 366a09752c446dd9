"""The file of an entry: a header, and the value.

A small one is replaced in its own place, by one write: a file that is moved over another one makes
a journaling file system write it out, which takes thirty times as long. A reader in another thread
or process may find a part of each, which the checksum tells. One that is larger than a block is
written beside, and moved.
"""

from __future__ import annotations

import functools
import math
import os
import stat
import struct
import sys
from typing import NamedTuple
from zlib import crc32

from ..._entries.times import NEVER
from .._versioned.contract import KeyVersion, new_token
from .locks import Section, left_alone
from .plain import READ, WRITE, slurp

__all__ = [
    "ABSENT",
    "HEADER_SIZE",
    "MAGIC",
    "TOMBSTONE",
    "VALUE",
    "Record",
    "damaged",
    "expiry_on_disk",
    "look",
    "overwrite",
    "pack",
    "read_entry",
]

MAGIC = b"FCA"
VALUE, TOMBSTONE = MAGIC + b"V", MAGIC + b"T"

#: What it is, a checksum of all else (0 in a file that is larger than ``IN_PLACE``), and a record.
HEADER = struct.Struct("<4sI12sdddQ")
HEADER_SIZE = HEADER.size
#: Bytes of a file that is replaced in its place: it has one block, and is read at once.
IN_PLACE = 4096
#: How often a reader looks again at what fails its checksum: a write takes less than a look.
LOOKS = 4


class Record(NamedTuple):
    """The header of an entry."""

    kind: bytes
    #: Of all else; 0 in a file that is larger than ``IN_PLACE``.
    checksum: int
    #: The id of the write that made it.
    key_version: KeyVersion
    #: When the value expires.
    expiry: float
    #: Until when its version must not be forgotten.
    keep_until: float
    written: float
    #: Length of what follows the header.
    size: int

    def lives(self, now: float) -> bool:
        """Whether there is a value that has not expired."""
        return self.kind == VALUE and now < self.expiry


ABSENT = Record(b"absent", 0, None, 0, 0, 0, 0)


def damaged(path: str) -> Record:
    """What stands for a file that is no readable entry, or no file: its identity is its version."""
    try:
        found = os.lstat(path)
    except OSError:
        key_version = new_token()  # equal to nothing, so nothing can be stored
    else:
        key_version = f"{found.st_ino}-{found.st_ctime_ns}-{found.st_size}"
    return Record(b"damaged", 0, key_version, 0, math.inf, 0, 0)


def pack(
    kind: bytes,
    payload: bytes,
    expiry: float,
    keep_until: float,
    now: float,
    key_version: KeyVersion = None,
) -> bytes:
    """An entry.

    :param key_version: an id of its own, if it is not given.
    """
    version = key_version or os.urandom(12)
    stored = expiry_on_disk(expiry), keep_until, now, len(payload)
    data = HEADER.pack(kind, 0, version, *stored) + payload
    if len(data) > IN_PLACE:
        return data
    rest = data[8:]
    return b"%b%b%b" % (kind, _checksum(kind, rest).to_bytes(4, "little"), rest)


def _checksum(kind: bytes, rest: bytes) -> int:
    """The checksum of an entry without the place where it stands itself."""
    return crc32(rest, _begun(kind)) or 1


#: The checksum of what entries begin with, which is one of two.
_begun = functools.lru_cache(16)(crc32)
#: Makes a record of all its fields, without a call in Python.
_record = functools.partial(tuple.__new__, Record)


def parse(data: bytes, length: int) -> Record | None:
    """The header of an entry; ``None`` if there is none, or if its file is not whole.

    :param data: the file, or the beginning of it.
    :param length: the length of the whole file.
    """
    if len(data) < HEADER_SIZE or data[:3] != MAGIC:
        return None
    fields = HEADER.unpack_from(data)
    kind, checksum, _, expiry, _, _, size = fields
    end = HEADER_SIZE + size
    if not checksum:
        if length != end:
            return None
    elif len(data) < end or _checksum(kind, data[8:end]) != checksum:  # a longer one was there
        return None
    return _record(fields if expiry else (*fields[:3], NEVER, *fields[4:]))


def expiry_on_disk(expiry: float) -> float:
    """An expiry as files have it: 0 is ``NEVER``."""
    return 0.0 if expiry == NEVER else max(expiry, sys.float_info.min)


def read_entry(path: str) -> tuple[Record | None, bytes]:
    """The header of an entry file, unless it is damaged, and what is in the file.

    :raises OSError: if there is no file.
    """
    looks = 0
    while True:
        data, looks = slurp(path), looks + 1
        record = parse(data, len(data))
        if record is not None or looks == LOOKS or not data.startswith(MAGIC):
            return record, data


def look(path: str) -> Record:
    """The header of an entry file, :data:`ABSENT`, or a :func:`damaged` one."""
    try:
        fd = os.open(path, READ)
    except FileNotFoundError:
        return ABSENT
    except OSError:
        return damaged(path)
    try:
        record = None
        for _ in range(LOOKS):
            data = os.read(fd, IN_PLACE)
            record = parse(data, os.fstat(fd).st_size)
            if record is not None or not data.startswith(MAGIC):
                break
            os.lseek(fd, 0, os.SEEK_SET)
    except OSError:
        record = None
    finally:
        os.close(fd)
    return record or damaged(path)


def overwrite(path: str, data: bytes, section: Section, mode: int | None) -> bool | None:
    """Replace an entry in its own place, if both fit into a block, or if only a header is left.

    :param section: nothing is written if a handler has been in it.
    :param mode: what its file must have, which must have one name only: else it is to be another
        one. ``None`` for any file.
    :returns: whether it was written; ``None`` if it could not be.
    """
    if len(data) > IN_PLACE:
        return None
    try:
        fd = os.open(path, WRITE)
    except OSError:
        return None
    try:
        found, ends = os.fstat(fd), data[:4] == TOMBSTONE
        usual = stat.S_IMODE(found.st_mode) == mode and found.st_nlink == 1
        if not stat.S_ISREG(found.st_mode) or not (usual or mode is None):
            return None
        if not ends and found.st_size > IN_PLACE:
            return None
        # To a handler, each of these is one step.
        written = (left_alone if section.disturbed else os.write)(fd, data)
        if written is True:
            return False
        if ends and found.st_size > len(data):
            (left_alone if section.disturbed else os.ftruncate)(fd, len(data))
        return True if written == len(data) else None
    finally:
        os.close(fd)
