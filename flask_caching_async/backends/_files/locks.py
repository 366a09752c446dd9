"""Operations and locks on files, between threads and between processes.

Two kinds. A *section* covers a few file operations (microseconds) on one key; a *lease* covers a
whole computation. Both are ``flock`` on a file that is opened for the purpose, so one mechanism
excludes threads and processes alike, and the kernel gives the lock back when its holder is killed.

Rules that a change must keep:

1. A lock belongs to an open file, and a forked child inherits open files. So each descriptor is
   registered under a lock that also covers forking, and a child closes what it inherited.
2. No wait is inside the kernel. A section polls, for a bounded time: a stopped process costs its
   waiters that long, not for ever, and under gevent the wait lets other greenlets run. (Inside of
   a section is plain file I/O, which does not switch greenlets; even where it sleeps, to try again
   what Windows refused, another greenlet of the thread polls and cannot deadlock.)
3. No thread holds two sections at once, so their order does not matter. But a handler (a signal's,
   or a ``__del__``) may enter one while its thread is in one. If it is the same one, it shares the
   lock, and what it came in between is told that all it has looked at may have changed.
4. A lease file is unlinked only by the process that has it locked. So a process that locks one must
   check that its path still names the file that was locked.
5. What lies under one of our names may be anything: a FIFO, which to open would wait for ever, a
   link to a file elsewhere, a directory. So nothing is opened that waits or follows, and
   :func:`clear_the_way` takes away what is no file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType

from ..._runtime.fork import forget_in_child, held_while_forking
from ...exceptions import BackendError, BackendTimeout
from .plain import SAFELY, patiently

__all__ = [
    "LockedFile",
    "Section",
    "clear_the_way",
    "is_odd",
    "left_alone",
    "remove",
]

_FLAGS = os.O_RDWR | SAFELY
_HELD_BY_ANOTHER = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}


# --- file operations beside other processes ------------------------------------------------------


def remove(path: str) -> None:
    """Unlink a file, unless another process did."""
    try:
        patiently(os.unlink, path)
    except FileNotFoundError:
        pass
    except OSError:
        if not clear_the_way(path):  # a directory, perhaps
            raise


# --- locks ----------------------------------------------------------------------------------------

if sys.platform == "win32":
    import msvcrt

    def _flock(fd: int, acquire: bool) -> None:
        # Locks are mandatory there: lock a byte far behind what others read.
        os.lseek(fd, 1 << 30, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK if acquire else msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _flock(fd: int, acquire: bool) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB if acquire else fcntl.LOCK_UN)

    def _flock_directory(path: str, patience: float = 2.0) -> int:
        """Open and lock a directory itself: nothing that lies in it could be relied upon."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _wait_for(lambda: _try_flock(fd), path, patience)
        except BaseException:
            os.close(fd)
            raise
        return fd


_forking = threading.RLock()
_open_files: set[LockedFile] = set()


def is_odd(path: str, expected: Callable[[int], bool] = stat.S_ISREG) -> bool:
    """Whether a path names something, and not what is expected there: a file."""
    try:
        return not expected(os.lstat(path).st_mode)
    except OSError:
        return False


def clear_the_way(path: str, expected: Callable[[int], bool] = stat.S_ISREG) -> bool:
    """Take away what has one of our names and is no file; whether there was such a thing.

    One process does so at a time: another one could take away the file that was put there
    meanwhile. A directory that is not empty is kept, under another name.
    """
    if not is_odd(path, expected):
        return False
    with _forking, _alone_in(os.path.dirname(path)):
        if is_odd(path, expected):
            _take_away(path)
    return True


def _take_away(path: str) -> None:
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
        return
    try:
        os.rmdir(path)
    except OSError:
        os.rename(path, f"{path}.displaced-{secrets.token_hex(4)}")


@contextlib.contextmanager
def _alone_in(directory: str) -> Iterator[None]:
    if sys.platform == "win32":  # it cannot lock a directory, and has neither FIFOs nor devices
        yield
        return
    fd = _flock_directory(directory)
    try:
        yield
    finally:
        os.close(fd)


def _try_flock(fd: int) -> bool:
    """Try once to lock an open file."""
    try:
        _flock(fd, True)
    except OSError as error:
        if error.errno in _HELD_BY_ANOTHER:
            return False
        raise
    return True


def _wait_for(lock: Callable[[], bool], path: str, patience: float) -> None:
    """Try to lock something until it succeeds.

    :raises BackendTimeout: after ``patience`` seconds.
    """
    deadline, pause = time.monotonic() + patience, 0.0001
    while not lock():
        if time.monotonic() >= deadline:
            raise BackendTimeout(
                f"{path!r} has been locked for more than {patience} s; "
                "a process that writes to this cache is stopped, or the disk is very slow"
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 0.002)


class LockedFile:
    """A file that is open for locking, and that no forked child keeps open.

    :param path: the file; with ``mode`` it is created where it is missing, and its directory too.
    :param new: whether it hardly ever exists.
    """

    __slots__ = ("fd", "path")

    def __init__(self, path: str, mode: int | None, new: bool = False) -> None:
        self.path = path
        try:
            if new and mode is not None and self._made(mode):
                return
            self._open(_FLAGS)
        except OSError as error:
            odd = clear_the_way(path) or clear_the_way(os.path.dirname(path), stat.S_ISDIR)
            if mode is None or not (odd or isinstance(error, FileNotFoundError)):
                raise
            self._create(mode)

    def _open(self, flags: int, mode: int = 0) -> None:
        with _forking:
            self.fd = os.open(self.path, flags, mode)
            _open_files.add(self)
        if not stat.S_ISREG(os.fstat(self.fd).st_mode):
            self.close()
            raise OSError(errno.EINVAL, "this is no file", self.path)

    def _made(self, mode: int) -> bool:
        """Create the file; whether it was missing, and its directory was not."""
        try:
            self._open(_FLAGS | os.O_CREAT | os.O_EXCL, mode)
        except (FileExistsError, FileNotFoundError):
            return False
        self._let_others_lock(mode)
        return True

    def _create(self, mode: int) -> None:
        # A process that may write to the cache directory may lock, too.
        parent = os.path.dirname(self.path)
        if not os.path.isdir(parent):
            os.makedirs(parent, exist_ok=True)
            with contextlib.suppress(OSError):
                os.chmod(parent, stat.S_IMODE(os.stat(os.path.dirname(parent)).st_mode))
        self._open(_FLAGS | os.O_CREAT, mode)
        self._let_others_lock(mode)

    def _let_others_lock(self, mode: int) -> None:
        with contextlib.suppress(OSError):
            os.chmod(self.path, mode)  # whatever the umask is

    def lock(self) -> bool:
        """Try once to lock it."""
        return _try_flock(self.fd)

    def close(self) -> None:
        """Unlock and close it; after a fork, in the child, nothing is left to do."""
        if self.fd >= 0:
            # Closing unlocks only when no child that is about to exec shares the open file.
            with contextlib.suppress(OSError):
                _flock(self.fd, False)
        with _forking:
            _open_files.discard(self)
            fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def is_current(self) -> bool:
        """Whether its path still names this file."""
        try:
            return os.path.samestat(os.fstat(self.fd), os.lstat(self.path))
        except FileNotFoundError:
            return False

    def read(self) -> bytes:
        """What is in it (it is small)."""
        os.lseek(self.fd, 0, os.SEEK_SET)
        return os.read(self.fd, 4096)

    def write(self, data: bytes) -> None:
        """Replace what is in it; always the same length, so that there is nothing to cut off."""
        os.lseek(self.fd, 0, os.SEEK_SET)
        os.write(self.fd, data)


@forget_in_child
def _close_inherited() -> None:
    global _forking
    _forking = threading.RLock()
    for file in _open_files:
        os.close(file.fd)
        file.fd = -1
    _open_files.clear()
    _inside.clear()


held_while_forking(lambda: _forking.acquire(), lambda: _forking.release())


def left_alone(*args: object) -> bool:
    """What is done instead of a step: nothing."""
    return True


#: The innermost section of each thread on each path.
_inside: dict[tuple[int, str], Section] = {}


class Section:
    """The short critical section of a key: ``with Section(...):``.

    An ``OSError`` inside becomes a :class:`BackendError`.

    :param path: the slot file to lock.
    :param mode: what a new slot file may be.
    :param patience: seconds to wait for the one that is inside.
    """

    __slots__ = ("_file", "_me", "_mode", "_outer", "_path", "_patience", "disturbed")

    _file: LockedFile
    _outer: Section | None

    def __init__(self, path: str, mode: int, patience: float) -> None:
        self._path, self._mode, self._patience = path, mode, patience
        #: Whether a handler has been in this section since this was last set to False.
        self.disturbed = False

    def __enter__(self) -> Section:
        try:
            self._me = threading.get_ident(), self._path
            outer = _inside.get(self._me)
            # One that is closed is left already, but for the last step.
            self._outer = None if outer is None or outer._file.fd < 0 else outer
            self._file = self._outer._file if self._outer else LockedFile(self._path, self._mode)
            _inside[self._me] = self
            try:
                if not self._file.lock():
                    self._wait()
            except BaseException:
                self._leave()
                raise
        except OSError as error:
            if isinstance(error, BackendError):
                raise
            raise BackendError(f"cannot lock {self._path!r}: {error}") from error
        while outer is not None:
            outer.disturbed, outer = True, outer._outer
        return self

    def _leave(self) -> None:
        if self._outer is not None:
            _inside[self._me] = self._outer
            return
        self._file.close()
        _inside.pop(self._me, None)

    def unlink(self, path: str) -> None:
        """Remove a file, unless a handler has been here since it was looked at."""
        try:
            (left_alone if self.disturbed else os.unlink)(path)  # to a handler, this is one step
        except FileNotFoundError:
            pass
        except OSError:
            remove(path)

    def _wait(self) -> None:
        _wait_for(self._file.lock, self._path, self._patience)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()
        if isinstance(error, OSError) and not isinstance(error, BackendError):
            raise BackendError(f"the cache directory failed: {error}") from error
