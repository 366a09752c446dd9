"""Operations on files beside other processes, whatever lies under the name of one.

That may be a FIFO, which to open would wait for ever, or a link to a file elsewhere. So nothing is
opened that waits or follows.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from typing import Any

__all__ = ["CREATE", "READ", "SAFELY", "WRITE", "begins_with", "patiently", "slurp"]

SAFELY = 0
for _name in ("O_CLOEXEC", "O_BINARY", "O_NONBLOCK", "O_NOFOLLOW", "O_NOCTTY"):
    SAFELY |= getattr(os, _name, 0)
READ = os.O_RDONLY | SAFELY
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY
WRITE = os.O_WRONLY | SAFELY
_CHUNK = 1 << 16


def slurp(path: str) -> bytes:
    """A whole file, with three system calls where it is small.

    :raises OSError: if it is no file.
    """
    fd = os.open(path, READ)
    try:
        data = os.read(fd, _CHUNK)
        if 0 < len(data) < _CHUNK:
            return data
        if not stat.S_ISREG(os.fstat(fd).st_mode):  # an empty FIFO, or a device without an end
            raise OSError(errno.EINVAL, "this is no file", path)
        parts = [data]
        while part := os.read(fd, max(_CHUNK, os.fstat(fd).st_size)):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def patiently(operation: Callable[..., None], *args: Any) -> None:
    """Do something that Windows and network drives refuse while others have the file open."""
    for pause in (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128):
        try:
            return operation(*args)
        except PermissionError:
            time.sleep(pause)
    return operation(*args)


def begins_with(path: str, magic: bytes) -> bool:
    """Whether a file begins with ``magic``, as far as it was written before the power failed."""
    try:
        return magic.startswith(slurp(path)[: len(magic)])
    except OSError:
        return False
