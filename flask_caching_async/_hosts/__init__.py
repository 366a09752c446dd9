"""The frameworks. Nothing outside this folder imports one of them."""

from __future__ import annotations

from typing import Any

from .base import Host

__all__ = ["Host", "current_app", "pick"]


def pick(app: Any) -> Host:
    """The host for an app."""
    from .flask import FlaskHost

    return FlaskHost(app)


def current_app() -> Any:
    """The app whose context is active here, or ``None``."""
    from .flask import current_app as flask_app

    return flask_app()
