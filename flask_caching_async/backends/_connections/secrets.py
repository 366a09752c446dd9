"""Passwords, which stand in no error, no line of a log and no repr.

A password is sent when a connection is opened. A server that does not understand it (an old Redis,
another program on that port) quotes it in its answer, and drivers quote what they were given. So
whatever opens connections does it inside of ``with secrets:``, which takes it out of each error
that leaves, and of all that this error has as its cause or context.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import TracebackType
from urllib.parse import quote

__all__ = ["Secrets", "host_name", "shown"]

#: What Redis quotes of a command that it does not know: of a long password only the beginning.
_ARGUMENTS = re.compile(r"(with args beginning with:).*", re.DOTALL)
#: A client in the text of an error of redis-py's sentinels; older versions show its settings.
_CLIENT = re.compile(r"<redis\.[\w.]*Redis\(.*?\)>\)>\)>", re.DOTALL)
#: Below this length, a secret is taken out only where it is a word: "1" is a part of any text.
_SHORT = 4


class Secrets:
    """What must not be shown; a context that takes it out of the errors that leave it.

    :param words: passwords, as text or bytes; anything else is none.
    """

    def __init__(self, words: Iterable[object] = ()) -> None:
        forms = {form for word in words for form in _forms(word)}
        parts = [
            re.escape(form) if len(form) >= _SHORT else rf"(?<!\w){re.escape(form)}(?!\w)"
            for form in sorted(forms, key=len, reverse=True)
        ]
        self._pattern = re.compile("|".join(parts)) if parts else None

    def __enter__(self) -> None:
        """Nothing is to be done before."""

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._clean(error, set())

    def hide(self, text: str) -> str:
        """A text without them."""
        text = _CLIENT.sub("a client", _ARGUMENTS.sub(r"\1 ...", text))
        return text if self._pattern is None else self._pattern.sub("***", text)

    def _clean(self, error: BaseException, done: set[int]) -> None:
        """Take them out of the arguments of an error, and of those that led to it."""
        done.add(id(error))
        error.args = tuple([self._without(argument) for argument in error.args])
        for link in ("__cause__", "__context__"):
            before = getattr(error, link)
            if before is None or id(before) in done:
                continue
            self._clean(before, done)
            if self.hide(text := str(before)) != text:  # it says so in a way of its own
                setattr(error, link, None)

    def _without(self, argument: object) -> object:
        if isinstance(argument, BaseException):
            argument = str(argument)
        if isinstance(argument, bytes):
            text = argument.decode("utf-8", "surrogateescape")
            return self.hide(text).encode("utf-8", "surrogateescape")
        return self.hide(argument) if isinstance(argument, str) else argument


def _forms(word: object) -> set[str]:
    """How a password is written: as it is, in a URL, in the repr of a text."""
    if isinstance(word, (bytes, bytearray)):
        word = word.decode("utf-8", "replace")
    if not isinstance(word, str) or not word:
        return set()
    in_url = quote(word, safe="", errors="replace")
    return {word, in_url, repr(word)[1:-1], repr(word.encode("utf-8", "replace"))[2:-1]}


def shown(given: object) -> str:
    """What an error can show of a setting in which a password may stand anywhere."""
    if isinstance(given, (int, float, type(None))):
        return repr(given)
    if not isinstance(given, str):
        return f"a {type(given).__name__}"
    scheme, separator, _ = given.partition("://")
    return f"{scheme}://..." if separator and scheme.isalpha() else "text without a scheme"


def host_name(host: object) -> str:
    """The name of a host.

    :raises ValueError: if it is a URL or the rest of one. An error would name it, with the password
        in it.
    """
    name = str(host)
    if "@" in name or "://" in name:
        raise ValueError("the name of a host has neither '@' nor '://'")
    return name
