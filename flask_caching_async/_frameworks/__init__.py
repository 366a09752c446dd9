"""The frameworks. Nothing outside this folder imports one of them."""

from __future__ import annotations

import sys

from ..typing import Value
from .base import App, Framework
from .standalone import Program, Standalone

__all__ = ["App", "Framework", "Program", "current_app", "pick"]


def pick(app: Value) -> Framework:
    """The framework of an app.

    :raises ConfigurationError: if it is no app of a framework that is known here.
    """
    if isinstance(app, Program):
        return Standalone(app)
    if "quart" in sys.modules:  # as it is in a program that has an app of it
        from quart import Quart

        if isinstance(app, Quart):
            from .quart import QuartFramework

            return QuartFramework(app)
    from .flask import FlaskFramework

    return FlaskFramework(app)


def current_app() -> App | None:
    """The app whose context is active here, or ``None``."""
    from .flask import current_app as flask_app

    app = flask_app()
    if app is None and "quart" in sys.modules:
        from .quart import current_app as quart_app

        return quart_app()
    return app
