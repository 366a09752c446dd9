"""Whose a page is: everybody's who asks in the same way, or the visitor's alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from werkzeug.sansio.request import Request

from .._flow.policy import NotStored
from .reads import Reads

__all__ = ["PERSONAL", "Findings", "Keyed", "MadeFrom", "headers_in", "judge", "vary_of"]

#: What belongs to one visitor, in words, and what to write where it is meant for everybody who has
#: the same.
PERSONAL: dict[str, tuple[str, str]] = {
    "session": ("the session", "vary_on=lambda: session.get('user_id')"),
    "authorization": ("Authorization", "vary_on='Authorization'"),
    "cookies": ("all cookies", "vary_on='cookie:NAME'"),
    "headers": ("all headers", "vary_on='NAME', for each header that counts"),
    "body": ("the body of the request", "make_cache_key=..., which reads it"),
    "environ": ("the environment of the request", "request.headers and the like"),
    "changes": ("after_this_request", "a decorator above @cache.cached"),
    "argument": ("an argument without a text", "an argument that has one, such as an id"),
}


class Keyed:
    """What the key of a call has already.

    :param request: the current one.
    :param inputs: what ``vary_on``, ``query_string`` and the callbacks that make the key have read.
    :param excused: what ``unless`` has read: whose page is not to be cached, it has refused.
    :param known: the inputs that its page was known to be selected by, which are in the key, too.
    """

    __slots__ = ("request", "inputs", "excused", "known")

    def __init__(self, request: Request, inputs: Collection[str] = ()) -> None:
        self.request = request
        self.inputs = set(inputs)
        self.excused: set[str] = set()
        self.known: set[str] = set()

    def has(self, name: str, cookie: str) -> bool:
        """Whether an input is in the key.

        :param cookie: the name of the session's cookie.
        """
        inputs = self.inputs
        if name in inputs:
            return True
        if name[:4] == "arg:":
            return "args" in inputs
        if name in ("session", "cookies") or name.startswith("cookie:"):
            if "header:cookie" in inputs or "cookies" in inputs:
                return True
            return name == "session" and f"cookie:{cookie}" in inputs
        return name == "header:authorization" and "authorization" in inputs


class MadeFrom:
    """What one computation of a page was made from.

    :param keyed: what its key had of the request.
    """

    __slots__ = ("keyed", "reads", "selecting", "why")

    def __init__(self, keyed: Keyed) -> None:
        self.keyed = keyed
        self.reads: Reads | None = None
        #: What selects the page, and is not in its key.
        self.selecting: frozenset[str] = frozenset()
        #: Why it may not be stored.
        self.why: NotStored | None = None

    def select(self, inputs: Collection[str]) -> None:
        """The page was made from these, of which some were known when its key was made."""
        known = self.keyed.known  # by now other calls may have learned more
        more = {name for name in inputs if name not in known}
        if "args" in known:
            more = {name for name in more if not name.startswith("arg:")}
        self.selecting = frozenset(more)


class Findings(NamedTuple):
    """What follows from what a view has read.

    :param personal: what makes its answer the visitor's own, in words, with what to write.
    :param selecting: what selects the page, and is not in its key.
    """

    personal: tuple[tuple[str, str, str], ...]
    selecting: frozenset[str]


def judge(reads: Reads, keyed: Keyed, persons: bool, public: bool, cookie: str) -> Findings:
    """What follows from what a computation has read.

    :param persons: whether what belongs to one visitor makes a difference.
    :param public: whether the answer says that what ``Authorization`` permits is public (RFC 9111,
        3.5).
    :param cookie: the name of the session's cookie.
    """
    session = f"cookie:{cookie}"
    found: dict[str, str] = {}
    for name in sorted(reads.names):
        if name[:2] == "g." or name[:8] == "request.":
            for before in sorted(reads.before):
                if before[:2] != "g." and before[:8] != "request.":
                    found.setdefault("session" if before == session else before, name)
        else:
            found["session" if name == session else name] = ""
    if reads.changes:
        found["changes"] = ""
    personal: list[tuple[str, str, str]] = []
    selecting: set[str] = set()
    for name, by in found.items():
        if keyed.has(name, cookie):
            continue
        if name not in PERSONAL:
            if not (by and name.startswith("cookie:")):
                selecting.add(name)
                continue
            what, write = f"the cookie {name[7:]!r}", f"vary_on={name!r}"
        elif name == "authorization" and public:
            continue
        else:
            what, write = PERSONAL[name]
        if persons and name not in keyed.excused:
            through = f"{by}, which was set in a request of which {what} had been read"
            personal.append((name if not by else f"{name} by {by}", through if by else what, write))
    return Findings(tuple(personal), frozenset(selecting))


def headers_in(inputs: Iterable[str]) -> list[str]:
    """What ``Vary`` says of inputs; an address is in no header, and so in nobody else's key."""
    found = []
    for name in inputs:
        kind, _, rest = name.partition(":")
        if kind == "header":
            found.append(rest.title())
        elif kind == "cookie":
            found.append("Cookie")
        elif name == "address":
            found.append("*")
    return ["*"] if "*" in found else found


def vary_of(headers: Iterable[tuple[str, str]]) -> set[str]:
    """The headers that an answer says it was selected by, as inputs; ``*`` for what nobody knows.

    RFC 9110, 12.5.5.
    """
    found = [content.split(",") for name, content in headers if name.lower() == "vary"]
    names = {name.strip().lower() for several in found for name in several} - {""}
    return {"*"} if "*" in names else {"host" if n == "host" else f"header:{n}" for n in names}
