"""Serializers for ``CACHE_SERIALIZER``; any cachelib ``BaseSerializer`` will do, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .json import JSONSerializer
from .pickle import PickleSerializer

if TYPE_CHECKING:
    from .msgpack import MsgpackSerializer

__all__ = ["JSONSerializer", "MsgpackSerializer", "PickleSerializer"]


def __getattr__(name: str) -> type[MsgpackSerializer]:
    if name == "MsgpackSerializer":
        from .msgpack import MsgpackSerializer

        return MsgpackSerializer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
