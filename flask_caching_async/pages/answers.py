"""What the cache has to say of the answer of one request, and how it is said.

While the view is being answered nothing is known yet of what becomes of its answer: functions that
an app calls after each request may compress it, put something into it, or send another one. So the
cache leaves a *note* with the request, and the headers are written when all others are done with
the response. Only then a conditional request is answered, and only if the body is still the one
that the cache gave: the functions in between have seen a whole page.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.sansio.request import Request
from werkzeug.sansio.response import Response

from .._entries.entry import tag_of
from .._frameworks.base import Framework
from .._frameworks.bodies import body_of, emptied, held_body
from ..typing import Value
from .conditional import etag_of, is_known, is_made_of, was_made_here
from .http import PRIVATE, Forwarded, PageRules, cache_control, cache_status, tag_line, vary_line
from .reads import Muted

__all__ = ["Note", "Source", "as_page", "finish", "leave_note"]

#: Where a request has the note.
NOTE = "_flask_caching_async_note"
#: What the stored names of the user's tags begin with.
USER_TAG = tag_of("t", "")


class Source(NamedTuple):
    """Where an answer comes from.

    :param stored: whether others get it, too: it was found, or stored now.
    :param forwarded: why the view was called; ``None`` for a hit.
    :param collapsed: whether another request's call of the view answered this one.
    :param age: seconds since it was computed; ``None`` if that was for this request.
    :param left: seconds for which it is still fresh; ``None`` if that is not known.
    :param tags: of its entry, as they are stored.
    """

    stored: bool
    forwarded: Forwarded | None
    collapsed: bool = False
    age: float | None = None
    left: float | None = None
    tags: tuple[str, ...] = ()


class Note(NamedTuple):
    """What is to be said of an answer, and by what it is known again at the end.

    :param view: the name of the view.
    :param vary: the headers of the request that are in the page's key.
    :param etag: what it had; ``None`` for an answer that is not a response yet.
    :param body: what :func:`.held_body` gave for it.
    """

    rules: PageRules
    source: Source
    view: str
    vary: tuple[str, ...]
    etag: str | None = None
    status: int = 0
    body: tuple[object, ...] | None = None


def as_page(framework: Framework, value: Value, anew: bool = False) -> Value:
    """A view's answer as a response with a strong ETag; what cannot be one stays as it is.

    :param anew: whether an ETag that was made here may be that of an older body: a view may keep
        its response, and change it.
    """
    if value is None or isinstance(value, HTTPException):
        return value
    response = value
    if not isinstance(value, Response):
        # Where it is a TypeError, a decorator above the view makes a response of it.
        with contextlib.suppress(TypeError), Muted():
            response = framework.make_response(value)
    if isinstance(response, Response):
        headers = response.headers
        etag = headers.get("ETag")
        if not etag or (anew and was_made_here(etag)):
            body = body_of(response)
            if body is not None:
                headers["ETag"] = etag_of(body, headers)
    return response


def leave_note(request: Request, note: Note, value: Value) -> None:
    """Let :func:`finish` find a note with its request.

    :param value: the answer that it is about.
    """
    if isinstance(value, Response):
        etag, body = value.headers.get("ETag"), held_body(value)
        note = note._replace(etag=etag, status=value.status_code, body=body)
    vars(request)[NOTE] = note


def finish(framework: Framework, response: Value) -> Value:
    """Write what the cache has to say of a response that is about to be sent."""
    request = framework.request()
    note: Note | None = None if request is None else vars(request).pop(NOTE, None)
    if note is None or request is None:
        return response
    headers, rules, source = response.headers, note.rules, note.source
    if rules.http and (source.stored or request.method in ("GET", "HEAD")):
        told = {name.lower(): value for name, value in headers}  # one look at all of them
        mine = source.stored and _is_that_page(note, response, told.get("etag"))
        _describe(note, headers, told, mine)
        if mine and 200 <= response.status_code < 300:
            if is_known(request, told.get("etag"), told.get("last-modified")):
                response.status_code = 304
                emptied(response)
    if rules.name is not None:
        stored = source.stored and source.forwarded is not None and not source.collapsed
        said = cache_status(rules.name, source.forwarded, stored, source.collapsed, source.left)
        headers.add("Cache-Status", said)
    if rules.tag_header is not None and source.stored:
        names = [tag.removeprefix(USER_TAG) for tag in source.tags if tag.startswith(USER_TAG)]
        present = headers.get(rules.tag_header, "")
        headers[rules.tag_header] = tag_line(rules.tag_header, present, [*names, note.view])
    return response


def _is_that_page(note: Note, response: Value, etag: str | None) -> bool:
    """Whether a response is still the page that the cache gave, or another form of it.

    An ETag that was made here goes with its body. Who changes both, and makes the new one of the
    old, as compression does, answers for it.
    """
    if note.etag is None or response.status_code not in (note.status, 304):
        mine = False
    elif response.status_code == 304:  # another function has answered the condition
        return etag == note.etag or is_made_of(etag, note.etag)
    elif note.body is not None and held_body(response) == note.body:
        return True
    else:
        mine = is_made_of(etag, note.etag)
    if etag is not None and etag == note.etag and was_made_here(etag):
        del response.headers["ETag"]
    return mine


def _describe(note: Note, headers: Headers, told: dict[str, str], mine: bool) -> None:
    """The headers about how old a page is, who may keep it, and what it depends on.

    :param told: what the headers say, by their names in small letters.
    :param mine: whether it is the page that the cache gave.
    """
    age = 0 if note.source.age is None else max(0, int(note.source.age))
    if mine and note.vary:
        headers["Vary"] = vary_line(", ".join(headers.getlist("Vary")), note.vary)
    if mine and note.source.age is not None and "age" not in told:
        headers.add("Age", str(age))
    if "cache-control" not in told and "expires" not in told:
        # A cookie is one visitor's, whoever has set it.
        shareable = mine and "set-cookie" not in told
        stale = note.source.left is not None and note.source.left < 0
        said = cache_control(note.rules, age, stale) if shareable else PRIVATE
        headers.add("Cache-Control", said)
