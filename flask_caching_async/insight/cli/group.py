"""The group of all commands, which leaves an app the commands of its own.

Commands of a plugin hide those of the app. An app may have had a group ``cache`` long before.
"""

from __future__ import annotations

import click

from ...typing import Value
from .apps import loaded_app

__all__ = ["CacheGroup"]


class CacheGroup(click.Group):
    """Commands, behind those of a group ``cache`` that the app itself has."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The app's own command of that name, or else ours."""
        own = _group_of_app(ctx, self.name)
        found = None if own is None else own.get_command(ctx, cmd_name)
        return super().get_command(ctx, cmd_name) if found is None else found

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, the app's own among them."""
        own = _group_of_app(ctx, self.name)
        theirs = [] if own is None else own.list_commands(ctx)
        return sorted({*super().list_commands(ctx), *theirs})


def _group_of_app(ctx: click.Context, name: str | None) -> click.Group | None:
    """The group that an app itself has under our name; none if it cannot be made."""
    try:
        app: Value = loaded_app(ctx)
    except Exception:  # the command says so
        return None
    found = app.cli.commands.get(name)
    return found if isinstance(found, click.Group) and not isinstance(found, CacheGroup) else None
