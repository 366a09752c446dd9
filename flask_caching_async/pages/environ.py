"""Environments of servers, WSGI's and ASGI's, that note what is read of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

from ..typing import Value
from .reads import BASE, Base, base_of, note

__all__ = ["WatchedEnviron", "input_of_scope", "input_of_variable"]

#: The input that a variable says, if it says one.
InputOf: TypeAlias = Callable[[Any], str | None]

#: What a WSGI environment says by other names than ``HTTP_...``.
ENVIRON = {
    "QUERY_STRING": "args", "REQUEST_URI": "args", "RAW_URI": "args",
    "REMOTE_ADDR": "address", "REMOTE_HOST": "address", "REMOTE_PORT": "address",
    "HTTP_HOST": "host", "SERVER_NAME": "host", "SERVER_PORT": "host",
    "wsgi.url_scheme": "scheme", "HTTPS": "scheme", "wsgi.input": "body",
    "CONTENT_TYPE": "header:content-type", "CONTENT_LENGTH": "header:content-length",
    **dict.fromkeys(("REMOTE_USER", "AUTH_TYPE", "HTTP_AUTHORIZATION"), "authorization"),
}  # fmt: skip
#: What it says of the server, or of what is in every key.
OF_THE_SERVER = (
    "wsgi.", "werkzeug.", "flask.", "gunicorn.", "SERVER_", "REQUEST_METHOD", "PATH_INFO",
    "SCRIPT_NAME", "GATEWAY_",
)  # fmt: skip


def input_of_variable(name: Any) -> str | None:
    """What a variable of a WSGI environment says."""
    known = ENVIRON.get(name)
    if known is not None:
        return known
    if str(name).startswith("HTTP_"):
        return f"header:{name[5:].replace('_', '-').lower()}"
    return None if str(name).startswith(OF_THE_SERVER) else "environ"


#: What an ASGI scope says.
SCOPE = {
    "query_string": "args", "raw_path": "args", "headers": "headers", "client": "address",
    "server": "host", "scheme": "scheme",
}  # fmt: skip
#: What it says of the server, or of what is in every key.
OF_ASGI = frozenset(
    "type asgi http_version method path root_path extensions _quart._preserve_context".split()
)


def input_of_scope(name: Any) -> str | None:
    """What an item of an ASGI scope says."""
    return None if name in OF_ASGI else SCOPE.get(name, "environ")


def _as_a_whole(name: str) -> Any:
    inherited = getattr(dict, name)

    @functools.wraps(inherited)
    def method(self: Value, *args: Value) -> Value:
        note(base_of(self), "environ")
        return inherited(self, *args)

    return method


class WatchedEnviron(dict[str, Any]):
    """A copy of an environment that notes what is read of it, and hands on what is written.

    :param environ: the server's.
    :param input_of: says what a variable says.
    """

    def __init__(self, environ: dict[str, Any], base: Base, input_of: InputOf) -> None:
        super().__init__(environ)
        self._environ, self._input_of = environ, input_of
        setattr(self, BASE, base)

    def _note(self, name: Value) -> None:
        base = base_of(self)
        if base is not None and (found := self._input_of(name)) is not None:
            note(base, found)

    def __getitem__(self, name: str) -> Any:
        self._note(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """What a variable says."""
        self._note(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self._note(name)
        return super().__contains__(name)

    def copy(self) -> dict[str, Any]:
        """All of it."""
        note(base_of(self), "environ")
        return dict(super().items())

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self._environ[name] = value

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self._environ.pop(name, None)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """What a variable says, or will say."""
        self._note(name)
        self._environ.setdefault(name, default)
        return super().setdefault(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        """What a variable said."""
        self._note(name)
        self._environ.pop(name, None)
        return super().pop(name, *default)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Write several."""
        super().update(*args, **kwargs)
        self._environ.update(*args, **kwargs)


for _name in (
    "__iter__", "__len__", "__reversed__", "__eq__", "__ne__", "__or__", "__ror__", "__repr__",
    "keys", "items", "values",
):  # fmt: skip
    setattr(WatchedEnviron, _name, _as_a_whole(_name))
