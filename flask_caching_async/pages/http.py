"""What is said of a page in HTTP: which headers, and who asked for them.

Pure rules. The words are those of RFC 9110 (validators), RFC 9111 (caching), RFC 5861 (the stale
windows), RFC 9211 (Cache-Status) and RFC 9875 (Cache-Groups).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import quote

from .._entries.times import NEVER, duration
from ..exceptions import ConfigurationError
from ..typing import Config, Timeout, Value

__all__ = [
    "Forwarded",
    "Http",
    "HttpOptions",
    "HttpSettings",
    "PRIVATE",
    "PageRules",
    "cache_control",
    "cache_status",
    "header_name",
    "tag_line",
    "vary_line",
]

#: Whether pages are served as HTTP wants it; ``"strict"`` obeys the directives of requests, too.
Http: TypeAlias = bool | Literal["strict"]
#: Why a request was not answered from the cache, in the words of RFC 9211.
Forwarded: TypeAlias = Literal["miss", "stale", "request", "method", "bypass"]

#: The headers for tags that there are, and what stands between two names in them.
TAG_HEADERS = {"Cache-Tag": ",", "Surrogate-Key": " ", "Cache-Groups": ", "}
#: What is said of a page that is nobody else's business.
PRIVATE = "private, no-cache"
#: The name of this cache in ``Cache-Status``, where none is given.
OWN_NAME = "flask_caching_async"
#: A token of RFC 9110, as structured fields (RFC 9651) have it.
TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*")
#: What needs no escape in the name of a tag: each of the headers can carry it.
PLAIN = "!#$&'()*+/:;<=>?@[]^`{|}"


# --- who asked for what ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """What ``cached`` was given, checked.

    :param http: ``None`` for the app's setting.
    :param client_timeout: seconds for which a browser may show the page without asking.
    :param shared_timeout: the same for shared caches; ``None`` for what browsers may.
    """

    http: Http | None = None
    client_timeout: float = 0
    shared_timeout: float | None = None

    @classmethod
    def read(
        cls, http: Value, client_timeout: Timeout, shared_timeout: Timeout | None
    ) -> HttpOptions:
        """Check what a decorator was given.

        :raises ConfigurationError: if a value is wrong, or says something of nothing.
        :raises TypeError: if a time is none.
        """
        if http not in (None, True, False, "strict") or type(http) in (int, float):
            raise ConfigurationError(f"http must be True, False or 'strict', not {http!r}")
        client = duration("client_timeout", client_timeout) or 0
        shared = duration("shared_timeout", shared_timeout)
        if http is False and (client or shared is not None):
            raise ConfigurationError(
                "client_timeout and shared_timeout are told to browsers and shared caches, and "
                "http=False tells them nothing: leave that out"
            )
        return cls(http, client, shared)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """``CACHE_HTTP``, ``CACHE_STATUS_HEADER`` and ``CACHE_TAG_HEADER``, checked.

    :param name: of this cache in ``Cache-Status``; ``None`` for no such header.
    :param tag_header: the header that has the tags, if any.
    """

    http: Http = False
    name: str | None = None
    tag_header: str | None = None

    @classmethod
    def read(cls, config: Config) -> HttpSettings:
        """Check the settings of an app.

        :raises ConfigurationError: with what to write instead.
        """
        http, status, tags = (config[f"CACHE_{n}"] for n in ("HTTP", "STATUS_HEADER", "TAG_HEADER"))
        if http not in (None, True, False, "strict"):
            raise ConfigurationError(f"CACHE_HTTP must be True, False or 'strict', not {http!r}")
        if not isinstance(status, (str, bool, type(None))) or not str(status).isprintable():
            raise ConfigurationError(
                f"CACHE_STATUS_HEADER is the name of this cache, or True, not {status!r}"
            )
        named = {name.lower(): name for name in TAG_HEADERS}
        if tags and (not isinstance(tags, str) or tags.lower() not in named):
            raise ConfigurationError(
                f"CACHE_TAG_HEADER must be one of {', '.join(TAG_HEADERS)}, not {tags!r}"
            )
        name = _item(OWN_NAME if status is True else status) if status else None
        return cls(http or False, name, named[tags.lower()] if tags else None)


def _item(name: str) -> str:
    """A name as RFC 9211 writes it: a token where it can be one, else a string.

    :raises ConfigurationError: if it is neither.
    """
    if TOKEN.fullmatch(name):
        return name
    if not name.isascii():
        raise ConfigurationError(f"CACHE_STATUS_HEADER takes plain ASCII, not {name!r}")
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True)
class PageRules:
    """What is said of the pages of one view on one app.

    :param http: whether they have validators, an age and a Cache-Control.
    :param strict: whether the directives of requests count.
    :param client: seconds for which a browser may show a page without asking.
    :param shared: the same for shared caches, if that is another time.
    :param windows: the directives of the stale windows, each with ``", "`` before it.
    :param personal: whether something that is no header decides who sees which page.
    """

    http: bool
    strict: bool
    client: int
    shared: int | None
    windows: str
    personal: bool
    name: str | None
    tag_header: str | None

    @classmethod
    def join(
        cls,
        options: HttpOptions,
        settings: HttpSettings,
        revalidate: float,
        if_error: float,
        personal: bool,
    ) -> PageRules | None:
        """The rules that follow from a decorator and an app; ``None`` if nothing is said at all."""
        http = settings.http if options.http is None else options.http
        if not (http or settings.name or settings.tag_header):
            return None
        windows = f", stale-while-revalidate={int(revalidate)}" if revalidate else ""
        windows += f", stale-if-error={int(if_error)}" if if_error else ""
        shared = options.shared_timeout
        return cls(
            http=bool(http),
            strict=http == "strict",
            client=int(options.client_timeout),
            shared=None if shared is None else int(shared),
            windows=windows,
            personal=personal,
            name=settings.name,
            tag_header=settings.tag_header,
        )


# --- the headers ----------------------------------------------------------------------------------


def cache_control(rules: PageRules, age: int, stale: bool = False) -> str:
    """What browsers and shared caches may do with a stored page.

    Its ``Age`` counts against what is said here, so it is added: the times are those from now on.

    :param age: of the page, in seconds.
    :param stale: whether it is an old one, for which a new one is on its way: nobody is to keep it.
    """
    client, shared = rules.client, rules.shared
    if stale:
        client, shared = 0, None if shared is None else 0
    if shared is None:
        own = "private, " if rules.personal else ""
        return f"{own}{f'max-age={client + age}' if client else 'no-cache'}{rules.windows}"
    # Not no-cache, which would bind shared caches, too.
    first = f"max-age={client + age}" if client else "max-age=0, must-revalidate"
    return f"{first}, s-maxage={shared + age if shared else 0}{rules.windows}"


def vary_line(present: str, names: tuple[str, ...]) -> str:
    """A ``Vary`` with more names: each of them once, in their order; ``*`` says it all."""
    given = [one.strip() for one in present.split(",") if one.strip()]
    if "*" in given:
        return "*"
    known = {one.lower() for one in given}
    for name in names:
        if name.lower() not in known:
            known.add(name.lower())
            given.append(name)
    return ", ".join(given)


def cache_status(
    name: str, forwarded: Forwarded | None, stored: bool, collapsed: bool, left: float | None
) -> str:
    """What this cache did with a request (RFC 9211).

    :param forwarded: why the view was called; ``None`` for a hit.
    :param collapsed: whether another request's call of the view answered this one.
    :param left: seconds for which the page is still fresh, less than 0 for a stale one; ``None``
        where nothing is stored.
    """
    said = f"{name}; hit" if forwarded is None else f"{name}; fwd={forwarded}"
    if stored:
        said += "; stored"
    if collapsed:
        said += "; collapsed"
    return said if left is None or left == NEVER else f"{said}; ttl={int(left // 1)}"


def header_name(name: str) -> str:
    """The name of a tag or a view as the tag header has it, to be purged by."""
    return quote(name, safe=PLAIN, errors="surrogatepass")


def tag_line(header: str, present: str, names: list[str]) -> str:
    """The tags of a page in one of the headers that there are for them."""
    said = [f'"{name}"' if header == "Cache-Groups" else name for name in map(header_name, names)]
    return TAG_HEADERS[header].join([*([present] if present else []), *dict.fromkeys(said)])
