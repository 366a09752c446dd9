"""The command line ``flask cache …``, which is ``quart cache …``, too.

``apps`` finds the app and its cache, ``running`` calls it in the app's contexts, ``arguments`` and
``output`` read and write what people do. The commands are ``figures`` (``stats``), ``values``,
``functions``, ``explaining``, ``pinging`` and ``doctor``, whose findings are in ``checks``.

Exit codes: 0, it was done; 1, it was not, or the answer is no; 2, the command line is wrong.
"""

from __future__ import annotations

from .doctor import doctor
from .explaining import explain
from .figures import stats
from .functions import delete_memoized, delete_view, refresh
from .group import CacheGroup
from .pinging import ping
from .values import clear, delete, delete_tags, get

__all__ = ["commands"]

#: The commands; an entry point of Flask and of Quart.
commands = CacheGroup("cache", help="See and operate the cache of the app.")
for _command in (
    stats, get, explain, delete, clear, delete_tags, delete_view, delete_memoized, refresh, ping,
    doctor,
):  # fmt: skip
    commands.add_command(_command)
