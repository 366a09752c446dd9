"""What the cache asks of the framework that it serves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from .._flow.leader import Leader

__all__ = ["Framework"]


class Framework(Protocol):
    """One app of one framework.

    Request objects are Werkzeug's in all of them: ``path``, ``method``, ``host``, ``args``,
    ``headers`` and ``cookies`` need no host.
    """

    app: Any
    #: Whether the app runs as soon as it is there; an ASGI app waits for a loop that serves it.
    serves: bool
    #: The loop that serves the app, where there is one that lives long.
    loop: Any

    @property
    def debug(self) -> bool:
        """Whether the app is in debug mode now."""
        ...

    @property
    def many_hosts(self) -> bool:
        """Whether the app routes by host or subdomain, so that a path alone is not a page."""
        ...

    def request(self) -> Any:
        """The current request of this framework, or ``None``."""
        ...

    def url_for(self, endpoint: str, values: dict[str, Any]) -> str:
        """The path of a view."""
        ...

    def views(self) -> Iterable[Callable[..., Any]]:
        """The functions that are registered as views now."""
        ...

    def before_requests(self, check: Callable[[], None]) -> None:
        """Call ``check`` before each request."""
        ...

    def endpoint_of(self, function: Callable[..., Any]) -> str:
        """The endpoint under which a view was registered; its name where it was not."""
        ...

    def unread(self, request: Any, before: frozenset[str]) -> list[str]:
        """What the view has read of the request that makes a difference between visitors."""
        ...

    def reads(self, request: Any) -> frozenset[str]:
        """What has been read of the request until now."""
        ...

    def after_this_request(self, change: Callable[[Any], Any]) -> None:
        """Let ``change`` have the response of the current request."""
        ...

    def spawn(self, leader: Leader, is_async: bool) -> None:
        """Compute in the background, with the contexts of the caller."""
        ...

    def install(self) -> None:
        """Whatever the app needs once, however many caches it has."""
        ...

    def request_for(self, where: Any, query_args: Any, headers: Any) -> Any:
        """A context in which a page is requested; entered, it gives the view and its arguments.

        :param where: the path, or endpoint and values.
        """
        ...

    def arequest_for(self, where: Any, query_args: Any, headers: Any) -> Any:
        """:meth:`request_for` for async code."""
        ...

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refresh a function from a thread of our own, as a job would, and wait for it.

        What is async runs on the loop that serves, where there is one.
        """
        ...

    def while_serving(self, begin: Callable[[], Any], end: Callable[[], Any]) -> None:
        """Await ``begin`` before a loop that lives long begins to serve, and ``end`` after it."""
        ...

    def add_template_tag(self, cache: Any) -> None:
        """Make ``{% cache %}`` known to the app's templates."""
        ...
