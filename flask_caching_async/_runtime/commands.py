"""Whether what runs here is a command of a person or a script, and not the app at work."""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ["in_command"]

#: Set while a command runs. Then a failure of the backend is raised whatever the settings say, and
#: no deletion is left pending, since somebody is told of it who can try again; and nothing is
#: renewed or counted among the workers, since the process ends in a moment. Worker threads and
#: loops get it with the context.
in_command: ContextVar[bool] = ContextVar("in_command", default=False)
