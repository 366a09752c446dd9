"""How many processes the server runs this app in, for a warning that memory is not shared.

No server says so by an API that they all have, and none tells its app. uWSGI has a module for it.
The others leave a trace on the stack: what starts the workers calls, in the end, what imports the
app. That holds while an app is set up in a request, too, because the main thread still stands
there.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple

from ..exceptions import warn

__all__ = ["Workers", "server_workers", "warn_of_many_workers"]


class Workers(NamedTuple):
    """The processes that a server runs an app in.

    :param number: how many there are, 1 if that is not known.
    :param first: whether this is the first of them, or the one that they are forked from.
    """

    number: int = 1
    first: bool = True


def server_workers() -> Workers:
    """The processes of gunicorn, uvicorn, hypercorn or uWSGI; one process under anything else."""
    try:
        if "uwsgi" in sys.modules:
            return _of_uwsgi(sys.modules["uwsgi"])
        if any(name in sys.modules for name in SERVERS):
            return next(_on_the_stack(), Workers())
    except Exception:  # a server that is not as we know it; nobody needs this warning so much
        pass
    return Workers()


def warn_of_many_workers(backend: str) -> None:
    """Warn, in one of the processes, if each of several has a memory of its own.

    :param backend: the name of the class that keeps its values there.
    """
    workers = server_workers()
    if workers.number > 1 and workers.first:
        warn(
            f"{backend} keeps its values in the memory of one process, and this server runs "
            f"{workers.number} of them: each computes and keeps its own, and a deletion reaches "
            "only one. Set CACHE_TYPE to 'FileSystemCache' or 'RedisCache' to share them."
        )


def _of_uwsgi(uwsgi: Any) -> Workers:
    # 0 is the process that they are forked from, which imports the app unless with --lazy-apps.
    return Workers(int(uwsgi.numproc), uwsgi.worker_id() <= 1)


def _of_gunicorn(arbiter: FrameType) -> Workers | None:
    # With --preload there is no worker yet. One that replaces another one has a higher age.
    worker = arbiter.f_locals.get("worker")
    number = getattr(arbiter.f_locals.get("self"), "num_workers", None)
    return Workers(number, worker is None or worker.age == 1) if number else None


def _of_a_spawner(started: FrameType) -> Workers | None:
    from multiprocessing import current_process  # a spawned process has imported it already

    number = getattr(started.f_locals.get("config"), "workers", None)
    return Workers(number, current_process().name.endswith("-1")) if number else None


#: The modules that call into each worker, and how many there are by what one of its frames knows.
SERVERS = {
    "gunicorn.arbiter": _of_gunicorn,
    "uvicorn._subprocess": _of_a_spawner,
    "hypercorn.asyncio.run": _of_a_spawner,
    "hypercorn.trio.run": _of_a_spawner,
}


def _on_the_stack() -> Iterator[Workers]:
    """What is found from this call upwards, and then on the main thread."""
    main = sys._current_frames().get(threading.main_thread().ident or 0)
    for frame in (sys._getframe(), main):
        while frame is not None:
            look = SERVERS.get(frame.f_globals.get("__name__", ""))
            found = look(frame) if look else None
            if found:
                yield found
            frame = frame.f_back
