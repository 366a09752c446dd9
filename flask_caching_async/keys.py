"""Keys and names: of a view's answer, of a function's call, of a template's fragment.

Everything here is pure; what a key is made of is handed in. Keys are the same in every process. How
a value is written down stands in ``identity.py``, how a call is in ``call_text.py``.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
import sys
from binascii import b2a_base64
from collections.abc import Iterable
from urllib.parse import parse_qsl

from ._flow.callbacks import resolved
from .exceptions import InvalidKeyError
from .identity import Notes, NoText, canonical, function_name, get_id, lacks_text, no_text
from .parts import kind_of
from .typing import Args, Callback, QueryArgs, Value

__all__ = [
    "SHORTEST",
    "around_path",
    "below_root",
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


#: What the base64 of RFC 4648, 5, has in the place of two characters.
URL_SAFE = bytes.maketrans(b"+/", b"-_")


def digest(hash_method: Callback, first: bytes, *parts: bytes) -> str:
    """A short text for what is hashed: up to 192 bits of that."""
    hashed = hash_method(first)
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
    if type(part) is str and "0x" not in part:  # so it has no address; what most parts are
        return part
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
