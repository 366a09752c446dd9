"""A request and its answer, for a page of ours that Flask and Quart serve alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from ..typing import Value

__all__ = ["Answer", "Answering", "Asked", "Colour"]


class Asked(NamedTuple):
    """What a page of ours needs of a request.

    :param page: the path below that of the blueprint, without a slash before it.
    :param host: as the request names it, with the port unless that is the usual one.
    :param is_secure: whether it came by HTTPS, as far as the app knows.
    :param secret: the app's ``secret_key``; empty if it has none.
    """

    method: str
    page: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    cookies: Mapping[str, str]
    headers: Mapping[str, str]
    host: str
    is_secure: bool
    secret: bytes


class Answer(NamedTuple):
    """What is sent.

    :param headers: all of them; a name may be there several times.
    """

    body: str
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class Colour(Protocol):
    """What acts on a cache in the colour of the framework; a sync one never suspends."""

    async def of_cache(self, method: str, *args: Value) -> Value:
        """What a method of the cache, or its awaitable twin, returns."""
        ...

    async def refresh(self, function: Value, path: str) -> None:
        """Compute and store one page of a view, in a request for it.

        :raises NotStoredError: if it was not stored.
        """
        ...


class Answering(Protocol):
    """What answers the requests of a blueprint."""

    #: The pages below its path, with the methods that they take.
    pages: Mapping[str, tuple[str, ...]]
    cache: Value

    async def answer(self, asked: Asked, colour: Colour) -> Answer:
        """The answer to a request of somebody who may see it."""
        ...
