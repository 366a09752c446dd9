"""``flask cache doctor``: what is not as it should be, and what to write."""

from __future__ import annotations

import click

from .apps import Target
from .checks import CHECKS, LEVELS, Finding
from .output import one_line, say, say_json
from .running import of_cache, perform

__all__ = ["doctor"]

COLOURS = {"error": "red", "warning": "yellow", "advice": "cyan"}


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@of_cache
def doctor(target: Target, as_json: bool) -> None:
    """Look for what is not as it should be.

    Exit with 1 if there is an error. A warning is none, and neither is an advice: they depend on
    what is not seen from here.
    """
    found = _examine(target)
    if as_json:
        say_json({"cache": target.name, "findings": [finding._asdict() for finding in found]})
    else:
        _write(target, found)
    if any(finding.level == "error" for finding in found):
        raise click.exceptions.Exit(1)


def _examine(target: Target) -> list[Finding]:
    health = perform(target, target.cache.aping)
    found = [finding for check in CHECKS for finding in check(target, health)]
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def _write(target: Target, found: list[Finding]) -> None:
    say(f"{target.name}: {one_line(target.described)}", bold=True)
    for level, name, text, advice in found:
        say(f"{level}: ", nl=False, fg=COLOURS[level])
        say(f"{one_line(text)} ({name})")
        say(f"  {one_line(advice)}")
    counts = [(sum(finding.level == level for finding in found), level) for level in LEVELS]
    told = ", ".join(f"{n} {level}{'s' if n > 1 else ''}" for n, level in counts if n)
    say(told or "Nothing was found.", fg=None if found else "green")
