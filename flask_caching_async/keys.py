"""Keys and names: of a view's answer, of a function's call, of a template's fragment.

Everything here is pure; what a key is made of is handed in. Keys are the same in every process. How
a value is written down stands in ``identity.py``.

**Calls.** The arguments are bound with the function's own signature, by a small function that is
compiled for it when it is decorated. While every argument is of a plain type its text is one
f-string; else :func:`.canonical` writes it down with types and lengths, so that no two different
calls share a text. The text is then hashed with the hash method of the app (remembered, because
most calls are repeated).
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
import sys
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias
from urllib.parse import parse_qsl

from ._flow.callbacks import resolved
from .exceptions import InvalidKeyError
from .identity import (
    PLAIN,
    Notes,
    NoText,
    TooDeep,
    canonical,
    function_name,
    get_id,
    lacks_text,
    no_text,
    text_while_alive,
)
from .parts import kind_of
from .typing import Args, Callback, Kwargs, QueryArgs, Value

__all__ = [
    "SHORTEST",
    "around_path",
    "below_root",
    "call_text",
    "digest",
    "function_namespace",
    "looks_varied",
    "made_key",
    "make_template_fragment_key",
    "plain_name",
    "query_pairs",
    "signature_of",
    "source_of",
]


#: ``(name of an argument, what in it has no text, whether a token stands in its place)``.
Note: TypeAlias = Callable[[str, Value, bool], None]


# --- functions ------------------------------------------------------------------------------------


def signature_of(function: Callback, follow_wrapped: bool = True) -> inspect.Signature:
    """The signature, without evaluating annotations that exist for type checkers only."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return inspect.signature(
            function,
            follow_wrapped=follow_wrapped,
            annotation_format=annotationlib.Format.FORWARDREF,
        )
    return inspect.signature(function, follow_wrapped=follow_wrapped)


def function_namespace(f: Callback, args: Args | None = None) -> tuple[str, str | None]:
    """The name of a function as ``make_name`` gets it, and one for the instance it is called on.

    :param args: the call's positional arguments, where ``f`` is a method reached through its class.
    :raises ValueError: for a classmethod whose class is not the first argument.
    """
    names = [
        p.name for p in signature_of(f).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    first = names[0] if names else None
    owner = getattr(f, "__self__", None)
    token = None
    if owner is not None and not inspect.isclass(owner):
        token = get_id(owner)
    elif first == "self" and args:
        token = get_id(args[0])
    elif first == "cls" and not (args and inspect.isclass(args[0])):
        raise ValueError(
            f"{function_name(f)} is a classmethod: pass the class as the first argument"
        )
    name = function_name(f)
    return plain_name(name), None if token is None else plain_name(f"{name}.{token}")


def plain_name(text: str) -> str:
    """A name without the characters that no identifier has, as in ``<locals>``."""
    return "".join(c for c in text if c == "." or f"_{c}".isidentifier())


def source_of(function: Callback) -> bytes:
    """The source code of a function, for ``source_check``."""
    while isinstance(function, functools.partial):
        function = function.func
    if not (inspect.isroutine(function) or inspect.isclass(function)):
        function = type(function)
    return inspect.getsource(function).encode()


# --- the text of a call ---------------------------------------------------------------------------


class LeftOut:
    """Stands for an argument that a call leaves out, where that is not the same as its default."""

    def __repr__(self) -> str:
        return "~"  # no plain value has this text


LEFT_OUT = LeftOut()


def call_text(
    function: Callback,
    ignore: Iterable[str] = (),
    note: Note = lambda name, value, stored: None,
    shown: Sequence[inspect.Parameter] | None = None,
    left_out: bool = False,
) -> Callable[..., str]:
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

    ours = "_our"  # names of ours, and of no parameter: a function may well have one called `type`
    while any(p.name.startswith(ours) for p in parameters):
        ours = f"_{ours}"
    scope: dict[str, Value] = {
        f"{ours}_plain": PLAIN | {LeftOut}, f"{ours}_type": type,
        f"{ours}_write": write, f"{ours}_order": order
    }  # fmt: skip
    scope["__name__"] = __name__  # a warning is about the code that called this
    for p in parameters:
        if p.default is not p.empty:
            scope[f"{ours}_default_{p.name}"] = LEFT_OUT if left_out else p.default
    counted = [_source(p, ours, bool(ignored)) for p in parameters if p.name not in ignored]
    if parameters and parameters[0].name in ("self", "cls") and parameters[0].name not in ignored:
        # An instance is hardly ever plain; what comes after it most often is.
        counted[0] = counted[0]._replace(plain="", text=f"{{{counted[0].careful}}}")
    text = [part.text for part in counted if part.text]
    lines = [f"def text({_head(parameters, ours)}):"]
    if text:
        plain = " and ".join([part.plain for part in counted if part.plain])
        lines.append(f"    if {plain or True}:")
        lines.append(f'        try: return f"{",".join(text)}"')
        lines.append("        except ValueError: pass")  # an int that is too long for its repr
    lines.append(f"    return ','.join([{', '.join([part.careful for part in counted])}])")
    exec(compile("\n".join(lines), f"<key of {function_name(function)}>", "exec"), scope)
    scope["text"].__qualname__ = getattr(function, "__qualname__", type(function).__qualname__)
    return scope["text"]  # type: ignore[no-any-return]


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


#: What the base64 of RFC 4648, 5, has in the place of two characters.
URL_SAFE = bytes.maketrans(b"+/", b"-_")


def digest(hash_method: Callback, *parts: bytes) -> str:
    """A short text for ``parts``: up to 192 bits of their hash."""
    hashed = hash_method()
    for part in parts:
        if part:
            hashed.update(part)
    return b2a_base64(hashed.digest()[:24], newline=False).translate(URL_SAFE).decode().rstrip("=")


# --- pages and fragments --------------------------------------------------------------------------


#: The end of a key tells whether it may be that of a variant: by ``vary_on``, or by a hash. Most
#: are shorter.
SHORTEST = 33
OF_VARY_ON = re.compile(r"\|[\w-]{32}", re.ASCII)
OF_A_HASH = re.compile(r".[0-9a-f]{32}", re.DOTALL)


def around_path(key_prefix: str) -> list[str]:
    """What stands before, between and behind the path in ``key_prefix``.

    It is a format, as in Flask-Caching; where it is none, as "100%/%s", what is no ``%s`` is text.
    """
    try:
        made = key_prefix % "\0"
    except (TypeError, ValueError):
        made = key_prefix.replace("%s", "\0")
    return made.split("\0")


def looks_varied(base: str, *hash_methods: Callback) -> bool:
    """Whether the key of a path ends as that of a variant of another page does.

    :param hash_methods: what the hashes of query strings are made with.
    """
    tail = base[-SHORTEST:]
    if OF_VARY_ON.fullmatch(tail):
        return True
    if not OF_A_HASH.fullmatch(tail):
        return False
    lengths = {len(method(b"").hexdigest()) for method in hash_methods}
    return any(re.search(f"[0-9a-f]{{{length}}}\\Z", base) for length in lengths)


def query_pairs(query_args: QueryArgs) -> list[tuple[str, str]]:
    """A query string as ``(key, value)`` pairs.

    :param query_args: the text, a mapping (values of any type; lists repeat the key) or pairs.
    """
    if isinstance(query_args, str):
        return parse_qsl(query_args.lstrip("?"), keep_blank_values=True)
    given: Value = query_args
    if hasattr(given, "getlist"):
        pairs = given.items(multi=True)
    elif hasattr(given, "items"):
        pairs = [
            (key, item)
            for key, value in given.items()
            for item in (value if isinstance(value, (list, tuple)) else (value,))
        ]
    else:
        pairs = given
    return [(str(key), str(value)) for key, value in pairs]


def query_key(
    base: str, pairs: Iterable[tuple[str, str]], hash_method: Callback, source: bytes
) -> str:
    """The key of a page that depends on its query string.

    The order of the names does not count. That of the values of one name does: a view that asks for
    the first of them, or for all, has another page for each.
    """
    hashed = hash_method(str(tuple(sorted(pairs, key=lambda pair: pair[0]))).encode())
    if source:
        hashed.update(source)
    return base + str(hashed.hexdigest())


@functools.lru_cache(maxsize=256)
def below_root(root: str) -> str:
    """The end of the key of a page of an app that is mounted below a root.

    It looks like the end that ``vary_on`` makes, so that no path is mistaken for it.
    """
    return f"|{digest(hashlib.sha256, b'root', root.encode(errors='surrogatepass'))}"


def made_key(made: object) -> str:
    """The key that a callback has made, as text.

    :raises InvalidKeyError: if it made none: ``None`` would be one key for all calls.
    """
    if made is None:
        raise InvalidKeyError("what makes the cache key returned None, which is no key")
    return str(made)


def make_template_fragment_key(fragment_name: str, vary_on: Iterable[Value] | None = None) -> str:
    """The key under which ``{% cache timeout, fragment_name, *vary_on %}`` keeps its body.

    :param vary_on: what else the fragment depends on; objects count as their ``str``.
    :raises InvalidKeyError: if one has no text but its memory address.
    """
    fragment_name = _fragment_part(fragment_name)
    parts = [_fragment_part(part) for part in vary_on or ()]
    if not parts:
        return f"_template_fragment_cache_{_sendable(fragment_name)}"
    # Underscores are marked and one stands at the end, so that neither ("a_b", "c") and ("a",
    # "b_c") nor the fragments "user_5" and "user", 5 share a key.
    marked = [part.replace("\\", "\\\\").replace("_", "\\_") for part in (fragment_name, *parts)]
    return f"_template_fragment_cache_{_sendable('_'.join(marked))}_"


def _fragment_part(part: Value) -> str:
    """The text of a part, with a hash of what its ``str`` leaves out."""
    part = resolved(part)
    kind: type = type(part)
    text, how = str(part), kind_of(kind)
    try:
        if how.is_secret or (how.parts and kind not in (list, tuple, dict, set, frozenset)):
            whole = canonical(part, Notes(no_text)).encode(errors="surrogatepass")
            return f"{text}{digest(hashlib.sha256, whole)}"
        if lacks_text(part, text):
            raise NoText
    except NoText:
        raise InvalidKeyError(
            f"{kind.__qualname__} has no text that can be part of its key: pass what tells it "
            "apart, such as an id"
        ) from None
    return text


def _sendable(text: str) -> str:
    """A text without lone surrogates, which come from a visitor's JSON and which no server takes.

    They are written as one backslash and their number; all other backslashes are doubled by then.
    """
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
