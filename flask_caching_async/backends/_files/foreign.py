"""What others may do in a cache directory: whether one of them may write there at all."""

from __future__ import annotations

import os
import stat

from cachelib.serializers import BaseSerializer, RedisSerializer

from ...exceptions import warn
from ...serializers.pickle import PickleSerializer

__all__ = ["unpickles", "warn_of_writers", "writers_of"]

#: How serializers read that let a file decide what is run.
_UNPICKLING = {kind.loads for kind in (BaseSerializer, RedisSerializer, PickleSerializer)}


def unpickles(serializer: object) -> bool:
    """Whether what a serializer reads decides what is run."""
    return getattr(type(serializer), "loads", None) in _UNPICKLING


def warn_of_writers(path: str, serializer: object) -> None:
    """Warn if another user may write into a directory whose files are unpickled.

    A pickle may name any function to call.
    """
    if not unpickles(serializer):
        return
    who = writers_of(path)
    if who:
        warn(
            f"CACHE_DIR {path!r} {who}, and what is found there is unpickled: a file of theirs can "
            "run any code in this app. Make it a directory of its own with the mode 0700, or set "
            "CACHE_SERIALIZER to flask_caching_async.serializers.JSONSerializer"
        )


def writers_of(path: str) -> str:
    """Who else may write into a directory; nothing if that is only its owner, or root."""
    if not hasattr(os, "geteuid"):  # Windows has lists of rights instead
        return ""
    found = os.stat(path)
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"may be written to by other users (its mode is {stat.S_IMODE(found.st_mode):04o})"
    return "" if found.st_uid in (0, os.geteuid()) else "belongs to another user"
