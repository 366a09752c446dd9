"""Whether a server runs this app in several processes, for a warning that memory is not shared.

No server tells an app how many workers there are, but for uWSGI. So the workers find each other:
each of them locks a file of their common parent, the server, when it sets up a cache in memory. The
first one gets the lock and keeps it as long as it lives; a worker that does not get it is not
alone. An app that the server loads before it forks looks again in each child.

Only a process that is known to be a worker looks: one below gunicorn, which says so in the
environment, or one that uvicorn or hypercorn has started by ``multiprocessing``. It needs locks on
files, so there is no warning on Windows.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import tempfile
from pathlib import Path

from ..exceptions import warn
from .fork import begin_in_child

__all__ = ["has_siblings", "warn_of_many_workers"]

#: Servers whose workers are processes of ``multiprocessing``.
SPAWNERS = ("hypercorn", "uvicorn")


def warn_of_many_workers(backend: str) -> None:
    """Warn, in one of the processes, if each of several has a memory of its own.

    :param backend: the name of the class that keeps its values there.
    """
    global _backend
    _backend = backend
    if has_siblings():
        warn(
            f"{backend} keeps its values in the memory of one process, and this server runs "
            "several of them: each computes and keeps its own, and a deletion reaches only one. "
            "Set CACHE_TYPE to 'FileSystemCache' or 'RedisCache' to share them."
        )


def has_siblings() -> bool:
    """Whether another worker of the same server has a cache in memory, and has not warned yet."""
    try:
        uwsgi = sys.modules.get("uwsgi")
        if uwsgi is not None:
            # 0 is the process that they are forked from, which imports the app unless with
            # --lazy-apps.
            return bool(uwsgi.numproc > 1 and uwsgi.worker_id() <= 1)
        return _is_worker() and _first_of_the_others()
    except Exception:  # a server or a system that is not as we know it: go without the warning
        return False


def _is_worker() -> bool:
    """Whether a server that may have several workers runs this process."""
    if os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/"):
        return True
    if not any(name in sys.modules for name in SPAWNERS):
        return False
    from multiprocessing import parent_process  # a spawned process has imported it already

    return parent_process() is not None


#: The two bytes of the file that are locked: as long as a process lives, and while it looks.
LOCK, TURN = 0, 1
#: The file that this process has locked, and its name.
_locked: tuple[int, Path] | None = None
#: What keeps its values in the memory of this process, if anything does.
_backend: str | None = None


def _file() -> Path:
    """The file that the workers of one server have in common."""
    return Path(tempfile.gettempdir(), f"flask_caching_async-{os.getuid()}-{os.getppid()}.lock")


def _first_of_the_others() -> bool:
    """Whether a sibling holds the lock, and this process is the first to find that out.

    They look one after the other: who gets the lock removes the mark of an older server with the
    same number, and no sibling may have left a new one there by then.
    """
    global _locked
    import fcntl

    path = _file()
    if _locked is not None and _locked[1] == path:
        return False
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX, 1, TURN)
        if not _get_lock(file):
            return _leave_mark(path)
        _mark(path).unlink(missing_ok=True)
        fcntl.lockf(file, fcntl.LOCK_UN, 1, TURN)
        _locked = file, path
        return False
    finally:
        if _locked is None or _locked[0] != file:
            os.close(file)  # which also ends its turn


def _get_lock(file: int) -> bool:
    import fcntl

    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, LOCK)
    except (BlockingIOError, PermissionError):  # POSIX allows both
        return False
    return True


def _leave_mark(path: Path) -> bool:
    """Leave the mark of one that has warned; whether there was none."""
    try:
        _mark(path).touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        return False
    return True


def _mark(path: Path) -> Path:
    """The file that is there once one of them has warned."""
    return path.with_suffix(".warned")


@atexit.register
def _clean_up() -> None:
    if _locked is not None:
        for path in (_locked[1], _mark(_locked[1])):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


@begin_in_child
def _look_again() -> None:
    global _locked
    if _locked is not None:  # it is the parent's, who keeps the lock
        os.close(_locked[0])
        _locked = None
    if _backend is not None:
        warn_of_many_workers(_backend)
