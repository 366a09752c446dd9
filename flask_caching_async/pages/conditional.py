"""Conditional requests (RFC 9110, section 13): what a page is known by, and who has it already."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from datetime import UTC, datetime

from werkzeug.datastructures import Headers
from werkzeug.http import parse_date, parse_etags, unquote_etag
from werkzeug.sansio.request import Request

__all__ = ["etag_of", "is_known", "is_made_of", "was_made_here"]

#: What an ETag begins with that was made here, so that it is told from a view's own.
OURS = '"~'
#: What of a page's headers belongs to what its ETag is the name of.
OF_THE_CONTENT = ("Content-Type", "Content-Encoding", "Content-Language")


def etag_of(body: bytes, headers: Headers) -> str:
    """A strong ETag for a page: another one for each change of a byte, or of what these mean."""
    told = "\n".join([headers.get(name, "") for name in OF_THE_CONTENT])
    made = hashlib.sha256(told.encode(errors="surrogatepass"), usedforsecurity=False)
    made.update(b"\0")
    made.update(body)
    return f'{OURS}{urlsafe_b64encode(made.digest()[:15]).decode()}"'


def was_made_here(etag: str | None) -> bool:
    """Whether an ETag is one of :func:`etag_of`."""
    return etag is not None and etag.startswith(OURS)


def is_made_of(etag: str | None, old: str) -> bool:
    """Whether an ETag is that of another form of what ``old`` names: ``"v1:br"``, ``"v1-gzip"``."""
    made, of = unquote_etag(etag)[0] or "", unquote_etag(old)[0] or ""
    return made.startswith((f"{of}:", f"{of}-", f"{of};"))


def is_known(request: Request, etag: str | None, last_modified: str | None) -> bool:
    """Whether a GET or HEAD has said that it has the page already.

    ``If-Match`` and ``If-Unmodified-Since`` are not for a cache (RFC 9111, 4.3.2).
    """
    known = request.headers.get("If-None-Match")
    if known is not None:  # then no date counts
        if known == etag:
            return request.method in ("GET", "HEAD")
        return request.method in ("GET", "HEAD") and _names(request.headers, etag)
    since = request.headers.get("If-Modified-Since")
    if since is None or last_modified is None or request.method not in ("GET", "HEAD"):
        return False
    asked, changed = _instant(since), _instant(last_modified)
    return asked is not None and changed is not None and changed <= asked


def _names(headers: Headers, etag: str | None) -> bool:
    """Whether ``If-None-Match`` names an ETag; the comparison is the weak one."""
    tags = parse_etags(", ".join(headers.getlist("If-None-Match")))
    if tags.star_tag:
        return True
    value = unquote_etag(etag)[0]
    return bool(value) and tags.contains_weak(str(value))


def _instant(text: str) -> datetime | None:
    instant = parse_date(text)
    return None if instant is None else instant.astimezone(UTC)
