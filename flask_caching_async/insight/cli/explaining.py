"""``flask cache explain``: what one call would be answered with, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from ...exceptions import CacheError
from ...typing import Value
from ..explanation import Explanation, StoredEntry
from .apps import Target
from .arguments import Command, call_of, function_named, headers_of
from .output import elapsed, one_line, printable, say, say_json, size, table
from .running import of_cache, perform

__all__ = ["explain", "say_what_is_stored"]

#: What each answer means.
ANSWERS = {
    "hit": "it would be answered from the cache",
    "stale": "it would be answered with the old value, while a new one is computed",
    "compute": "the function would be called",
    "bypass": "the function would be called, and the cache would not be asked",
    "not-cached": "the cache has nothing to do with it",
}


@click.command("explain", cls=Command)
@click.argument("what", metavar="PATH|PACKAGE.MODULE:FUNCTION")
@click.argument("arguments", metavar="[ARGS]...", nargs=-1)
@click.option("--header", "-H", "headers", multiple=True, help="A header of the request: 'Name: value'.")
@click.option("--json", "as_json", is_flag=True, help="For programs: times in seconds.")
@of_cache
def explain(
    target: Target, what: str, arguments: tuple[str, ...], headers: tuple[str, ...], as_json: bool
) -> None:
    """Say whether a page or a call would be answered from the cache, and if not, why.

    Nothing is computed or changed. Arguments are given as to delete-memoized.
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
    if as_json:
        say_json(data_of(target, found))
    else:
        _write(found)


# --- for people -----------------------------------------------------------------------------------


def _write(found: Explanation) -> None:
    kind = f" ({found.kind})" if found.kind else ""
    say(f"{printable(found.name)}{kind}", bold=True)
    colour = "green" if found.served else "yellow"
    for line in table(_rows(found), left=2):
        is_answer = line.startswith("answer")
        say(line, **({"fg": colour} if is_answer else {}))
    for reason in found.reasons:
        say(f"  {reason.cause}: {one_line(reason.text)}")


def _rows(found: Explanation) -> Iterator[tuple[str, str]]:
    yield "key", found.key or "none"
    for at, (name, value) in enumerate(found.made_of):
        yield ("" if at else "made of"), f"{name}: {value}"
    if found.tags:
        yield "tags", ", ".join(found.tags)
    yield "stored", "nothing" if found.stored is None else described(found.stored)
    yield "answer", f"{found.answer}: {ANSWERS[found.answer]}"


def described(stored: StoredEntry) -> str:
    """What is stored, in a line: what it is, how old, and how long it will be served."""
    parts = [stored.kind, size(stored.size)]
    if stored.age is not None:
        parts.append(f"{elapsed(stored.age)} old")
    parts.append(_freshness(stored))
    if stored.tags:
        parts.append(f"tags {', '.join(stored.tags)}")
    return ", ".join(parts)


def _freshness(stored: StoredEntry) -> str:
    if stored.fresh_for is None:
        return "fresh for ever"
    if stored.fresh_for > 0:
        return f"fresh for {elapsed(stored.fresh_for)}"
    over = f"stale since {elapsed(-stored.fresh_for)}"
    if stored.usable_for is None:
        return f"{over}, usable for ever"
    return f"{over}, usable for {elapsed(stored.usable_for)}" if stored.usable_for > 0 else over


def say_what_is_stored(target: Target, path: str, headers: Mapping[str, str]) -> None:
    """After a refresh: under which key, and what; as far as that can be found out afterwards."""
    try:
        found = perform(target, lambda: target.cache.aexplain(path, headers=headers or None))
    except CacheError:
        return
    if found.key is not None and found.stored is not None:
        say(f"Stored {described(found.stored)}, under {printable(found.key)}")


# --- for programs ---------------------------------------------------------------------------------


def data_of(target: Target, found: Explanation) -> dict[str, Value]:
    """An explanation as it stands in JSON."""
    stored = found.stored
    return {
        "cache": target.name,
        "kind": found.kind,
        "name": found.name,
        "key": found.key,
        "made_of": [list(pair) for pair in found.made_of],
        "tags": list(found.tags),
        "stored": stored
        and {
            **{n: getattr(stored, n) for n in ("age", "fresh_for", "usable_for", "size", "kind")},
            "tags": list(stored.tags),
        },
        "answer": found.answer,
        "served": found.served,
        "reasons": [{"cause": reason.cause, "text": reason.text} for reason in found.reasons],
    }
