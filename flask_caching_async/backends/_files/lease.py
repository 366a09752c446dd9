"""Leases that are locked files: the kernel gives that of a dead holder back at once."""

from __future__ import annotations

import contextlib
import os

from ...exceptions import BackendError
from .._versioned.contract import Lease, new_token
from .locks import LockedFile
from .plain import slurp

__all__ = ["FileLease", "discard_lease"]

#: How many unshared holders a lease file remembers: its waiters may look a few holders too late.
_REMEMBERED = 15
#: What stands for a holder where there is none.
_NONE = "-"


def _pack(holder: str, unshared: list[str]) -> bytes:
    lines = [holder, *unshared, *[_NONE] * _REMEMBERED][: _REMEMBERED + 1]
    return "".join(f"{line:<16}\n" for line in lines).encode()


def _unpack(data: bytes) -> tuple[str | None, list[str]]:
    """Who holds the lease, and who released it unshared."""
    holder, *unshared = data.decode("ascii", "replace").split() or [_NONE]
    return (None if holder == _NONE else holder), [t for t in unshared if t != _NONE]


class FileLease(Lease):
    """A lease that is a locked file, as long as the computation lasts.

    It needs no life: the kernel unlocks the file of a dead holder at once.
    """

    def __init__(self, path: str, mode: int) -> None:
        self._path, self._mode = path, mode
        self._file: LockedFile | None = None

    def acquire(self) -> bool:
        """Try once to take the lease; True if it is ours now."""
        if self._file is not None and self._file.fd >= 0:
            return True
        try:
            return self._try()
        except OSError as error:
            raise BackendError(f"cannot lock {self._path!r}: {error}") from error

    def _try(self) -> bool:
        for _ in range(8):
            file = LockedFile(self._path, self._mode, new=True)
            try:
                if not file.lock():
                    self.holder = _unpack(file.read())[0]
                    return False
                if file.is_current():
                    self._take(file)
                    return True
            finally:
                if self._file is not file:
                    file.close()
        return False  # released and taken again and again: another process holds it

    def _take(self, file: LockedFile) -> None:
        token = new_token()
        # Those who wait for a holder before us must still see that it did not share.
        file.write(_pack(token, _unpack(file.read())[1]))
        self.holder, self._file = token, file

    def release(self, shared: bool = True) -> None:
        """Give the lease back; see :meth:`Lease.release`."""
        file, self._file = self._file, None
        if file is None or file.fd < 0:  # never ours, or the parent's
            return
        try:
            unshared = [] if shared or self.holder is None else [self.holder]
            unshared += _unpack(file.read())[1]
            if unshared:  # other processes may still wait for them
                file.write(_pack(_NONE, unshared))
            elif file.is_current():
                os.unlink(self._path)
        except OSError:  # Windows unlinks no open file; the next sweep does
            pass
        finally:
            file.close()

    forsake = release

    def __del__(self) -> None:
        self.release()  # its leader has lost it: no later one may wait for that

    def unshared(self, holder: str | None) -> bool:
        """Whether ``holder`` released its lease with ``shared=False``."""
        if holder is None:
            return False
        try:
            return holder in _unpack(slurp(self._path))[1]
        except OSError:
            return False


def discard_lease(path: str) -> None:
    """Remove a lease file that no process holds."""
    try:
        with contextlib.closing(LockedFile(path, None)) as file:
            if file.lock() and file.is_current():
                os.unlink(path)
    except OSError:
        pass
