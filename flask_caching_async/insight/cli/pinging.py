"""``flask cache ping``: whether the backend answers."""

from __future__ import annotations

import click

from ...typing import Value
from ..health import Health
from .apps import Target
from .output import duration, one_line, say, say_json
from .running import of_cache, perform

__all__ = ["ping"]


@click.command("ping")
@click.option("--json", "as_json", is_flag=True, help="For programs: times in seconds.")
@of_cache
def ping(target: Target, as_json: bool) -> None:
    """Ask the backend whether it is there.

    Exit with 1 if it does not answer. The time is that of a trip over a connection that is open.
    """

    async def ask() -> Health:
        first = await target.cache.aping()  # which connects
        return await target.cache.aping() if first else first

    health = perform(target, ask)
    if as_json:
        say_json(data_of(target, health))
    else:
        _write(target, health)
    if not health:
        raise click.exceptions.Exit(1)


def _write(target: Target, health: Health) -> None:
    where = f" at {health.where}" if health.where else ""
    place = one_line(f"{target.name}: {health.backend}{where}")
    state = "open, so it is left alone" if health.is_open else "closed"
    pending = f", {health.pending} deletions pending" if health.pending else ""
    if health:
        version = f", version {one_line(health.version)}" if health.version else ""
        say(f"{place} answered in {duration(health.seconds)}{version}", fg="green")
        say(f"breaker {state}{pending}")
    else:
        broken = f" (breaker {state}{pending})" if health.is_open or pending else ""
        say(f"{place} does not answer: {one_line(health.error)}{broken}", err=True, fg="red")


def data_of(target: Target, health: Health) -> dict[str, Value]:
    """What a ping found, as it stands in JSON."""
    names = ("ok", "backend", "where", "seconds", "pending", "version", "error")
    found = {name: getattr(health, name) for name in names}
    return {"cache": target.name, **found, "breaker_open": health.is_open}
