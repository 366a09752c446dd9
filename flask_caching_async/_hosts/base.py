"""What the cache asks of the framework that it serves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from .._flow.readthrough import Lead

__all__ = ["Host"]


class Host(Protocol):
    """One app of one framework.

    Request objects are Werkzeug's in all of them: ``path``, ``method``, ``host``, ``args``,
    ``headers`` and ``cookies`` need no host.
    """

    app: Any

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

    def spawn(self, lead: Lead, is_async: bool) -> None:
        """Compute in the background, with the contexts of the caller."""
        ...

    def install(self) -> None:
        """Whatever the app needs once, however many caches it has."""
        ...

    def add_template_tag(self, cache: Any) -> None:
        """Make ``{% cache %}`` known to the app's templates."""
        ...
