"""The text of a call: what of its arguments counts, written by a function that is compiled for it.

The arguments are bound with the function's own signature, when it is decorated. While every
argument is of a plain type the text is one f-string; else :func:`.canonical` writes each of them
down with types and lengths, so that no two different calls share a text.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from .identity import (
    PLAIN,
    Notes,
    NoText,
    TooDeep,
    canonical,
    function_name,
)
from .keys import signature_of
from .tokens import quick_text, text_while_alive, tokens
from .typing import Callback, Kwargs, Value

__all__ = ["CallText", "call_text"]

#: ``(name of an argument, what in it has no text, whether a token stands in its place)``.
Note: TypeAlias = Callable[[str, Value, bool], None]


#: Source code: :func:`.quick_text` of an instance, without a call for one that has a token.
QUICK = """(
    {o}_known[3]
    if ({o}_known := {o}_tokens.get({o}_id({owner}))) is not None
    and {o}_known[2] is {o}_type({owner})
    and {o}_known[0]() is {owner}
    and {o}_getattr({owner}, {o}_own_id, None) is None
    else {o}_quick({owner})
) or """.replace("\n", " ")


class LeftOut:
    """Stands for an argument that a call leaves out, where that is not the same as its default."""

    def __repr__(self) -> str:
        return "~"  # no plain value has this text


LEFT_OUT = LeftOut()

#: What names of ours stand for in that code.
NAMED: dict[str, Value] = {
    "plain": PLAIN | {LeftOut}, "type": type, "id": id, "getattr": getattr, "quick": quick_text,
    "tokens": tokens, "own_id": "__caching_id__",
}  # fmt: skip


class CallText(NamedTuple):
    """What writes down the calls of one function, and what it was compiled of.

    :param write: takes the arguments of a call, and returns its text.
    :param names: the names of the parameters, if all of them can be given by position.
    :param plain: source code: whether these have a quick text.
    :param text: source code: that text, as the inside of an f-string. It is that of a call whose
        key is known: of an instance without a text of its own nothing is said.
    :param ours: what our own names in that code begin with, and no parameter's.
    :param scope: what they stand for.
    """

    write: Callable[..., str]
    names: tuple[str, ...] | None
    plain: str
    text: str
    ours: str
    scope: dict[str, Value]


def call_text(
    function: Callback,
    ignore: Iterable[str] = (),
    note: Note = lambda name, value, stored: None,
    shown: Sequence[inspect.Parameter] | None = None,
    left_out: bool = False,
) -> CallText:
    """Compile a function with ``function``'s parameters that returns the text of a call.

    It raises the ``TypeError`` that ``function`` would raise for arguments that it does not take,
    and :class:`.NoText` for an argument that has no text at all.

    :param ignore: names of arguments that do not count.
    :param shown: its parameters, if they are not those of its signature.
    :param left_out: whether a call that leaves an argument out is not one that gives its default.
    :param note: called with the name of an argument that has no text of its own, with the object in
        it that has none, and whether a token stands in its place.
    """
    ignored = set(ignore)
    parameters = list(signature_of(function).parameters.values() if shown is None else shown)
    write = _argument_writer(parameters, note)

    def order(given: Kwargs) -> Kwargs:
        return {name: given[name] for name in sorted(given) if name not in ignored}

    ours = _ours(parameters)
    scope = {f"{ours}_{name}": value for name, value in NAMED.items()}
    # A warning is about the code that called this.
    scope |= {f"{ours}_write": write, f"{ours}_order": order, "__name__": __name__}
    for p in parameters:
        if p.default is not p.empty:
            scope[f"{ours}_default_{p.name}"] = LEFT_OUT if left_out else p.default
    counted = [_source(p, ours, bool(ignored)) for p in parameters if p.name not in ignored]
    quick = ""
    if parameters and parameters[0].name in ("self", "cls") and parameters[0].name not in ignored:
        # An instance is hardly ever plain; what comes after it most often is.
        counted[0] = counted[0]._replace(plain="", text=f"{{{counted[0].careful}}}")
        quick = QUICK.format(o=ours, owner=parameters[0].name)
    text = ",".join([part.text for part in counted if part.text])
    plain = " and ".join([part.plain for part in counted if part.plain]) or "True"
    lines = [f"def text({_head(parameters, ours)}):"]
    if text:
        lines.append(f"    if {plain}:")
        lines.append(f'        try: return f"{text}"')
        lines.append("        except ValueError: pass")  # an int that is too long for its repr
    lines.append(f"    return ','.join([{', '.join([part.careful for part in counted])}])")
    exec(compile("\n".join(lines), f"<key of {function_name(function)}>", "exec"), scope)
    scope["text"].__qualname__ = getattr(function, "__qualname__", type(function).__qualname__)
    names = _by_position(parameters)
    return CallText(
        scope["text"], names, plain, f"{{{quick}{text[1:]}" if quick else text, ours, scope
    )


def _by_position(parameters: list[inspect.Parameter]) -> tuple[str, ...] | None:
    """The names of the parameters, if all of them can be given by position."""
    if all(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters):
        return tuple([p.name for p in parameters])
    return None


def _ours(parameters: list[inspect.Parameter]) -> str:
    """What names of ours begin with, and no parameter: one may well be called `type`."""
    ours = "_our"
    while any(p.name.startswith(ours) for p in parameters):
        ours = f"_{ours}"
    return ours


def _argument_writer(
    parameters: Iterable[inspect.Parameter], note: Note
) -> Callable[[str, Value], str]:
    """What writes down an argument that is not plain."""

    def notes_of(name: str, default: Value) -> Notes:
        def stand_in(found: Value, text: str, variable: str) -> str:
            if found is default:  # as ``_missing = object()``: it lives as long as the function
                return "default"
            try:
                token = text_while_alive(found, text)
            except NoText:
                note(name, found, False)
                raise
            note(name, found, True)
            return token

        return Notes(stand_in)

    notes = {p.name: notes_of(p.name, p.default) for p in parameters}

    def write(name: str, value: Value) -> str:
        try:
            return canonical(value, notes[name])
        except TooDeep:
            note(name, value, False)
            raise

    return write


class _Source(NamedTuple):
    """How one argument is written, as source code.

    :param plain: whether it is of a plain type, or empty.
    :param text: its text then, as part of an f-string.
    :param careful: its text otherwise.
    """

    plain: str
    text: str
    careful: str


def _source(p: inspect.Parameter, ours: str, some_ignored: bool) -> _Source:
    written = f"{ours}_write({p.name!r}, {p.name})"
    if p.kind is p.VAR_POSITIONAL:
        return _Source(f"not {p.name}", "", f"'*' + {written}")
    if p.kind is p.VAR_KEYWORD:
        ordered = f"{ours}_order({p.name})"
        plain = f"not {ordered}" if some_ignored else f"not {p.name}"
        return _Source(plain, "", f"'**' + {ours}_write({p.name!r}, {ordered})")
    return _Source(f"{ours}_type({p.name}) in {ours}_plain", f"{{{p.name}!r}}", written)


def _head(parameters: list[inspect.Parameter], ours: str) -> str:
    """Parameters as source code, their defaults as names."""
    head: list[str] = []
    keyword_only = False
    for index, p in enumerate(parameters):
        if p.kind is p.KEYWORD_ONLY and not keyword_only:
            head.append("*")
        keyword_only = keyword_only or p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        star = "*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else ""
        default = "" if p.default is p.empty else f"={ours}_default_{p.name}"
        head.append(f"{star}{p.name}{default}")
        last = index + 1 == len(parameters) or parameters[index + 1].kind is not p.POSITIONAL_ONLY
        if p.kind is p.POSITIONAL_ONLY and last:
            head.append("/")
    return ", ".join(head)
