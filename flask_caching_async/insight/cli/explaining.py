"""``flask cache explain``: what one call would be answered with, and why."""

from __future__ import annotations

from collections.abc import Mapping

import click

from ...exceptions import CacheError
from ...stats import CAUSES
from ...typing import Value
from ..explanation import Explanation
from .apps import Target
from .arguments import Command, call_of, function_named, headers_of
from .output import printable, say, say_json
from .running import of_cache, perform

__all__ = ["explain", "say_what_is_stored"]


@click.command("explain", cls=Command)
@click.argument("what", metavar="PATH|PACKAGE.MODULE:FUNCTION")
@click.argument("arguments", metavar="[ARGS]...", nargs=-1)
@click.option(
    "--header", "-H", "headers", multiple=True, help="A header of the request: 'Name: value'."
)
@click.option("--json", "as_json", is_flag=True, help="For programs: times in seconds.")
@of_cache
def explain(
    target: Target, what: str, arguments: tuple[str, ...], headers: tuple[str, ...], as_json: bool
) -> None:
    """Say what would answer a page or a call, and why.

    That is whether the cache would, what is stored there, and what hinders it. Nothing is computed
    or changed. Arguments are given as to delete-memoized.
    """
    is_path = what.startswith("/") or "://" in what
    if is_path and arguments:
        raise click.UsageError("A path takes no arguments; those of its query string stand in it.")
    function: Value = what if is_path else function_named(what)
    args, kwargs = call_of(arguments)
    given = headers_of(headers)
    found = perform(
        target, lambda: target.cache.aexplain(function, *args, headers=given or None, **kwargs)
    )
    not_stored = _not_stored(target, found)
    if as_json:
        say_json({"cache": target.name, **found.as_dict(), "not_stored": dict(not_stored)})
    else:
        _write(found, not_stored)
    if any(reason.cause == "backend" for reason in found.reasons) and found.stored is None:
        raise click.exceptions.Exit(1)  # nobody knows what is stored


def _not_stored(target: Target, found: Explanation) -> Mapping[str, int]:
    """How many values of the function were not stored by all workers, by cause.

    What an explanation knows of the last value is known to the process that computed it alone.
    """
    if target.binding.sharing is None:
        return {}
    try:
        uses = perform(target, target.cache.ashared_stats)
    except Exception:  # the explanation says what is wrong with the backend
        return {}
    what = (found.kind, found.name)
    return next((u.not_stored for u in uses.values() if (u.kind, u.name) == what), {})


def _write(found: Explanation, not_stored: Mapping[str, int]) -> None:
    """Say it in lines, the answer first."""
    answer, *rest = found.text().splitlines()
    say(printable(answer), fg="green" if found.served else "yellow")
    for line in rest:
        say(printable(line))
    for cause, count in sorted(not_stored.items(), key=lambda item: -item[1]):
        say(f"  so far   {count} x not stored, or past the cache ({cause}): {CAUSES[cause]}")


def say_what_is_stored(target: Target, path: str, headers: Mapping[str, str]) -> None:
    """After a refresh: under which key, and what; as far as that can be found out afterwards."""
    try:
        found = perform(target, lambda: target.cache.aexplain(path, headers=headers or None))
    except CacheError:
        return
    if found.key is not None and found.stored is not None:
        say(f"Stored under {printable(found.key)}: {printable(found.stored.text())}")
