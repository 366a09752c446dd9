"""``flask cache get``, ``delete``, ``delete-tags`` and ``clear``: what is done to keys and tags."""

from __future__ import annotations

import inspect
import json
import sys

import click
from werkzeug.sansio.response import Response

from ...typing import Value
from .apps import Target
from .output import fail, printable, say
from .running import of_cache, perform

__all__ = ["clear", "delete", "delete_tags", "get"]

#: What is given back for a key that has no value.
NO_VALUE = object()


@click.command("get")
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="The value as JSON, if it is plain data.")
@click.option("--raw", is_flag=True, help="Text, bytes or the body of a page exactly as they are.")
@of_cache
def get(target: Target, key: str, as_json: bool, raw: bool) -> None:
    """Print the value of KEY.

    Exit with 1 if it has none. Without an option it is shown as Python writes it.
    """
    if as_json and raw:
        raise click.UsageError("--json and --raw exclude each other.")

    async def look() -> Value:
        value = await target.cache.aget(key, NO_VALUE)
        # A None that was set by hand looks like nothing on a server.
        return None if value is NO_VALUE and await target.cache.ahas(key) else value

    value = perform(target, look)
    if value is NO_VALUE:
        fail(f"nothing is stored under {key!r}.")
    if raw:
        click.echo(_bytes_of(target, value), nl=False)  # to the byte
    else:
        say(_json_of(value) if as_json else printable(repr(value)))


def _json_of(value: Value) -> str:
    try:
        return json.dumps(value, indent=2)
    except (TypeError, ValueError, RecursionError) as error:
        fail(f"the value is a {type(value).__name__} and cannot be said in JSON: {error}")


def _bytes_of(target: Target, value: Value) -> bytes:
    if isinstance(value, Response):
        value = perform(target, lambda: _body_of(value))
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    fail(f"the value is a {type(value).__name__}; --raw is for text, bytes and pages.")


async def _body_of(response: Value) -> Value:
    body = response.get_data(as_text=False)
    return await body if inspect.isawaitable(body) else body


@click.command("delete")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@of_cache
def delete(target: Target, keys: tuple[str, ...]) -> None:
    """Delete keys.

    With each go all variants of the page whose base it is. A key that had no value is said to have
    had none, and is no error.
    """

    async def drop() -> list[bool]:
        return [await target.cache.adelete(key) for key in keys]

    for key, existed in zip(keys, perform(target, drop), strict=True):
        done = "deleted" if existed else "nothing was stored under it"
        say(f"{printable(key)}: {done}")


@click.command("delete-tags")
@click.argument("tags", metavar="TAG...", nargs=-1, required=True)
@of_cache
def delete_tags(target: Target, tags: tuple[str, ...]) -> None:
    """Drop what carries one of the tags."""
    if not perform(target, lambda: target.cache.adelete_tags(*tags)):
        fail("the backend did not drop them.")
    say(f"Dropped what carries {' or '.join(map(printable, tags))}.")


@click.command("clear")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@of_cache
def clear(target: Target, yes: bool) -> None:
    """Drop all that is stored; it asks first."""
    place = f"{target.described}{_prefix(target)}"
    what = f"everything that the cache {target.name!r} has stored ({place})"
    if not yes:
        if not sys.stdin.isatty():
            fail("clear asks first, and there is no terminal to ask on: add --yes.")
        click.confirm(printable(f"Drop {what}?"), abort=True, err=True)
    if not perform(target, target.cache.aclear):
        fail("the backend did not drop it.")
    say(printable(f"Dropped {what}."))


def _prefix(target: Target) -> str:
    prefix = target.binding.timekeeper.key_prefix
    if callable(prefix):
        return ", of this tenant"
    return f", under {prefix!r}" if prefix else ""
