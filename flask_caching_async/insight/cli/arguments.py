"""What stands on a command line: arguments of functions, headers, and names of functions."""

from __future__ import annotations

import ast
import difflib
import importlib
import re
from collections.abc import Iterable

import click

from ...typing import Args, Kwargs, Value
from .output import fail, one_line

__all__ = ["Command", "call_of", "function_named", "headers_of", "literal", "named_values"]

#: Put before an argument that begins with a minus and is no option, as long as click parses.
NEGATIVE = "\0"


class Command(click.Command):
    """A command whose ``arguments`` may be negative numbers."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep negative numbers from being taken for options."""
        shielded = [NEGATIVE + a if re.match(r"-\.?\d", a) else a for a in args]
        rest = super().parse_args(ctx, shielded)
        given = ctx.params.get("arguments") or ()
        ctx.params["arguments"] = tuple([argument.removeprefix(NEGATIVE) for argument in given])
        return rest


def literal(text: str) -> Value:
    """The value of an argument: that of a literal of Python, else the text itself.

    ``7`` is a number, ``'"7"'`` a text, ``[1, 2]`` a list, ``None`` nothing, ``red`` a text.
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def call_of(arguments: Iterable[str]) -> tuple[Args, Kwargs]:
    """The arguments of a call: ``7 lang=de`` is ``(7, lang="de")``.

    :raises click.UsageError: if one is named twice.
    """
    args: list[Value] = []
    kwargs: Kwargs = {}
    for text in arguments:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()):
            args.append(literal(text))
        elif name in kwargs:
            raise click.UsageError(f"{name} is given twice.")
        else:
            kwargs[name] = literal(value)
    return tuple(args), kwargs


def named_values(arguments: Iterable[str]) -> Kwargs:
    """Arguments of a view, each of which has a name.

    :raises click.UsageError: if one has none.
    """
    args, kwargs = call_of(arguments)
    if args:
        raise click.UsageError(
            f"An argument of a view is given by its name, as name={args[0]!r}; a path is given as "
            "--path /PATH."
        )
    return kwargs


def headers_of(given: Iterable[str]) -> dict[str, str]:
    """Headers of a request: ``Accept-Language: de``.

    :raises click.UsageError: for what is none.
    """
    headers = {}
    for text in given:
        name, colon, value = text.partition(":")
        if not (colon and re.fullmatch(r"[!#$%&'*+.^_`|~\w-]+", name.strip(), re.ASCII)):
            raise click.UsageError(f"A header is given as 'Name: value', not {text!r}.")
        headers[name.strip()] = value.strip()
    return headers


# --- functions by their names ---------------------------------------------------------------------


def function_named(text: str) -> Value:
    """What ``package.module:function`` or ``package.module:Class.method`` names.

    ``package.module.function``, as the statistics name it, is found, too.

    :raises click.ClickException: if there is no such module, or nothing of that name in it.
    """
    module, colon, path = text.partition(":")
    if colon and not (module and path):
        fail(f"{text!r} names no function: write package.module:function.")
    if not colon:
        module, path = _split(text)
    found: Value = _imported(module)
    for name in path.split("."):
        found = _attribute(found, name, text)
    return found


def _split(text: str) -> tuple[str, str]:
    """The module, which is as much of a dotted name as can be imported, and the rest."""
    parts = text.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        fail(f"{text!r} names no function: write package.module:function.")
    for end in range(len(parts) - 1, 1, -1):
        module = ".".join(parts[:end])
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not module.startswith(error.name or ""):  # that module is there, and fails
                break
        else:
            return module, ".".join(parts[end:])
    return parts[0], ".".join(parts[1:])


def _imported(name: str) -> Value:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if f"{name}.".startswith(f"{error.name}."):
            fail(
                f"there is no module {error.name!r}; modules are looked for where the app is, and "
                "in PYTHONPATH."
            )
        fail(f"the module {name!r} cannot be imported: {one_line(str(error))}")
    except Exception as error:
        fail(f"the module {name!r} cannot be imported: {type(error).__name__}: {error}")


def _attribute(holder: Value, name: str, text: str) -> Value:
    try:
        return getattr(holder, name)
    except AttributeError:
        near = difflib.get_close_matches(name, dir(holder), 1)
        where = getattr(holder, "__qualname__", None) or getattr(holder, "__name__", repr(holder))
        hint = f"; did you mean {near[0]!r}?" if near else "."
        fail(f"there is nothing called {name!r} in {where}, so {text} is no function{hint}")
