"""Keys and names: of a view's answer, of a function's call, of a template's fragment.

Everything here is pure; what a key is made of is handed in. Keys are the same in every process: no
``hash()``, no memory address, sets sorted.

**Calls.** The arguments are bound with the function's own signature, by a small function that is
compiled for it when it is decorated. While every argument is of a plain type its text is one
f-string; else :func:`canonical` writes it down with types and lengths, so that no two different
calls share a text. The text is then hashed with the hash method of the app (remembered, because
most calls are repeated).
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import parse_qsl

from .exceptions import AddressKeyWarning, InvalidKeyError
from .typing import Args, Callback, Kwargs, QueryArgs, Value

__all__ = [
    "call_text",
    "canonical",
    "digest",
    "function_name",
    "function_namespace",
    "get_id",
    "made_key",
    "make_template_fragment_key",
    "plain_name",
    "query_pairs",
    "signature_of",
    "source_of",
]

PLAIN = frozenset({int, str, float, bool, bytes, type(None)})
ADDRESS = re.compile(r"\bat 0x[0-9A-Fa-f]+")


# --- functions ------------------------------------------------------------------------------------


def signature_of(function: Callback) -> inspect.Signature:
    """The signature, without evaluating annotations that exist for type checkers only."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(function)


def function_name(function: Callback) -> str:
    """A name for a function that is the same in every process."""
    module = getattr(function, "__module__", None) or ""
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{module}.{name}"


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


def get_id(obj: object) -> str:
    """What tells an object apart: its ``__caching_id__()``, else its ``repr``."""
    caching_id = getattr(obj, "__caching_id__", None)
    return repr(obj) if caching_id is None else str(caching_id())


def source_of(function: Callback) -> bytes:
    """The source code of a function, for ``source_check``."""
    return inspect.getsource(function).encode()


# --- the text of a call ---------------------------------------------------------------------------


def canonical(value: Value, note: Callable[[Value], None] | None = None) -> str:
    """A text for a value, different for different values, and the same in every process.

    :param note: called with an object whose text is its memory address.
    """
    kind = type(value)
    if kind in PLAIN:
        try:
            return repr(value)
        except ValueError:  # Python writes no int of more than 4300 digits in base 10
            return hex(value)
    if kind is list:
        return f"[{','.join([canonical(item, note) for item in value])}]"
    if kind is tuple:
        return f"({','.join([canonical(item, note) for item in value])},)"
    if kind is dict:
        pairs = [f"{canonical(k, note)}:{canonical(v, note)}" for k, v in value.items()]
        return f"{{{','.join(pairs)}}}"
    if kind is set or kind is frozenset:
        return f"{kind.__name__}{{{','.join(sorted(canonical(item, note) for item in value))}}}"
    return _named(value, kind, note)


def _named(value: Value, kind: type, note: Callable[[Value], None] | None) -> str:
    """The text of an object: its type, and what tells it apart, with its length."""
    if inspect.isclass(value):
        return f"<class {value.__module__}.{value.__qualname__}>"
    name = f"{kind.__module__}.{kind.__qualname__}"
    if getattr(value, "__caching_id__", None) is None:
        if isinstance(value, enum.Enum):
            return f"<{name}.{value.name}>"
        parts = _parts(value, kind)
        if parts is not None:
            return f"<{name} {canonical(parts, note)}>"
    text = get_id(value)
    if note is not None and ADDRESS.search(text) and not hasattr(value, "__caching_id__"):
        note(value)
    return f"<{name} {len(text)}:{text}>"


def _parts(value: Value, kind: type) -> Value:
    """What an object consists of, where its ``repr`` says no more than that; else ``None``.

    A set in such a ``repr`` would stand there in another order in each process.
    """
    written: Value = kind.__repr__
    for container in (list, tuple, dict, set, frozenset):
        if isinstance(value, container):
            plain = written is container.__repr__ or hasattr(kind, "_fields")
            return container(value) if plain else None
    code = getattr(getattr(written, "__wrapped__", written), "__code__", None)
    if dataclasses.is_dataclass(value) and code is not None and code.co_filename == "<string>":
        fields = [field.name for field in dataclasses.fields(value) if field.repr]
        return {name: getattr(value, name) for name in fields}
    return None


def call_text(function: Callback, ignore: Iterable[str] = ()) -> Callable[..., str]:
    """Compile a function with ``function``'s parameters that returns the text of a call.

    It raises the ``TypeError`` that ``function`` would raise for arguments that it does not take.

    :param ignore: names of arguments that do not count.
    """
    ignored = set(ignore)
    noted: set[str] = set()

    def write(name: str, value: Value) -> str:
        return canonical(value, lambda found: _warn_address(function, name, found, noted))

    def order(given: Kwargs) -> Kwargs:
        return {name: given[name] for name in sorted(given) if name not in ignored}

    parameters = list(signature_of(function).parameters.values())
    ours = "_our"  # names of ours, and of no parameter: a function may well have one called `type`
    while any(p.name.startswith(ours) for p in parameters):
        ours = f"_{ours}"
    scope: dict[str, Value] = {
        f"{ours}_plain": PLAIN, f"{ours}_type": type, f"{ours}_write": write, f"{ours}_order": order
    }  # fmt: skip
    for p in parameters:
        if p.default is not p.empty:
            scope[f"{ours}_default_{p.name}"] = p.default
    counted = [_source(p, ours, bool(ignored)) for p in parameters if p.name not in ignored]
    text = [part.text for part in counted if part.text]
    lines = [f"def text({_head(parameters, ours)}):"]
    if text:
        lines.append(f"    if {' and '.join([part.plain for part in counted])}:")
        lines.append(f'        try: return f"{",".join(text)}"')
        lines.append("        except ValueError: pass")  # an int that is too long for its repr
    lines.append(f"    return ','.join([{', '.join([part.careful for part in counted])}])")
    exec(compile("\n".join(lines), f"<key of {function_name(function)}>", "exec"), scope)
    scope["text"].__qualname__ = getattr(function, "__qualname__", type(function).__qualname__)
    return scope["text"]  # type: ignore[no-any-return]


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


def _warn_address(function: Callback, name: str, value: Value, noted: set[str]) -> None:
    """Say once for each argument that it is told apart by its address."""
    if name in noted:
        return
    noted.add(name)
    warnings.warn(
        f"the argument {name!r} of {function_name(function)} is told apart by its memory address "
        f"({type(value).__qualname__} has no repr of its own): give the class a __caching_id__() "
        f"or a __repr__(), or put {name!r} into args_to_ignore",
        AddressKeyWarning,
        stacklevel=2,
    )


def digest(hash_method: Callback, *parts: bytes) -> str:
    """A short text for ``parts``: up to 192 bits of their hash."""
    hashed = hash_method()
    for part in parts:
        hashed.update(part)
    return base64.urlsafe_b64encode(hashed.digest()[:24]).decode().rstrip("=")


# --- query strings and fragments ------------------------------------------------------------------


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
    """The key of a page that depends on its query string, in any order."""
    hashed = hash_method(str(tuple(sorted(pairs))).encode())
    if source:
        hashed.update(source)
    return base + str(hashed.hexdigest())


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
    """
    parts = [str(part) for part in vary_on or ()]
    if not parts:
        return f"_template_fragment_cache_{_sendable(fragment_name)}"
    # Underscores are marked and one stands at the end, so that neither ("a_b", "c") and ("a",
    # "b_c") nor the fragments "user_5" and "user", 5 share a key.
    marked = [part.replace("\\", "\\\\").replace("_", "\\_") for part in (fragment_name, *parts)]
    return f"_template_fragment_cache_{_sendable('_'.join(marked))}_"


def _sendable(text: str) -> str:
    """A text without lone surrogates, which come from a visitor's JSON and which no server takes.

    They are written as one backslash and their number; all other backslashes are doubled by then.
    """
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
