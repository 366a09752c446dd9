"""What tells a value, an object and a function apart: a text that is the same in every process.

No ``hash()``, no memory address, sets sorted; types and lengths count, so that no two different
values share a text. Where an object has no such text, :class:`Notes` decides what stands in its
place: a token that belongs to this one object and to no later one (``tokens.py``), or nothing
(:class:`NoText`).

**Functions** are told apart by module and qualified name, and where several can share those, by
what they were made of: the arguments of a ``partial``, the object of a bound method, the values in
the cells of a closure, the code of a lambda.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import re
import types
from collections.abc import Callable
from typing import NamedTuple, TypeGuard

from werkzeug.local import LocalProxy

from ._flow.callbacks import resolved
from .parts import FUNCTIONS, Kind, kind_of
from .tokens import ADDRESS, NoText, represent, token_of
from .typing import Callback, Value

__all__ = [
    "PLAIN",
    "Identity",
    "NoText",
    "Notes",
    "TooDeep",
    "canonical",
    "function_name",
    "get_id",
    "has_address",
    "has_own_name",
    "identify",
    "lacks_text",
    "no_text",
]

PLAIN = frozenset({int, str, float, bool, bytes, type(None)})
#: What ``object.__repr__`` writes.
DEFAULT_REPR = re.compile(r"<[\w.<>]+ object at 0x[0-9A-Fa-f]+>")


class TooDeep(NoText):
    """A value is nested too deeply to be written down, or is a list that is in itself."""


class Notes:
    """What is done about a value that has no text of its own.

    :param stand_in: is given such a value, its ``repr``, and the name of the variable in which it
        was found; it returns what stands in the place of its text.
    :param decorating: whether values tell a function apart that is being decorated.
    :param seen: the functions whose text has been begun: they may lead to themselves, or several
        times to each other.
    :param above: the objects inside which this one was found, the innermost last: a node of a tree
        may know its parent.
    """

    __slots__ = ("stand_in", "decorating", "seen", "variable", "above")

    def __init__(
        self,
        stand_in: Callable[[Value, str, str], str],
        decorating: bool = False,
        seen: list[Callback] | None = None,
        variable: str = "",
        above: tuple[Value, ...] = (),
    ) -> None:
        self.stand_in, self.decorating = stand_in, decorating
        self.seen, self.variable, self.above = seen, variable, above

    def inside(self, function: Callback) -> Notes | None:
        """The same for what a function was made of; ``None`` if that was begun before."""
        seen = [] if self.seen is None else self.seen
        if any(function is other for other in seen):
            return None
        seen.append(function)
        return Notes(self.stand_in, self.decorating, seen, self.variable, self.above)

    def at(self, variable: str) -> Notes:
        """The same for what is found in a variable of the outermost function."""
        found = self.variable or variable
        return Notes(self.stand_in, self.decorating, self.seen, found, self.above)

    def below(self, value: Value) -> Notes:
        """The same for what an object consists of."""
        above = (*self.above, value)
        return Notes(self.stand_in, self.decorating, self.seen, self.variable, above)


#: The ``repr`` counts, whatever it says.
AS_IT_IS = Notes(lambda value, text, variable: text)


def canonical(value: Value, notes: Notes = AS_IT_IS) -> str:
    """A text for a value, different for different values, and the same in every process.

    :param notes: for objects that have no text of their own.
    :raises TooDeep: where it has no end, or none that Python could reach.
    """
    try:
        return _text(value, notes)
    except RecursionError:
        raise TooDeep(type(value).__qualname__) from None


def _text(value: Value, notes: Notes) -> str:
    kind: type = type(value)
    if kind in PLAIN:
        try:
            return repr(value)
        except ValueError:  # Python writes no int of more than 4300 digits in base 10
            return hex(value)
    if kind is list:
        return f"[{','.join([_text(item, notes) for item in value])}]"
    if kind is tuple:
        return f"({','.join([_text(item, notes) for item in value])},)"
    if kind is dict:
        pairs = [f"{_text(k, notes)}:{_text(v, notes)}" for k, v in value.items()]
        return f"{{{','.join(pairs)}}}"
    if kind is set or kind is frozenset:
        return f"{kind.__name__}{{{','.join(sorted(_text(item, notes) for item in value))}}}"
    if issubclass(kind, LocalProxy) and not notes.decorating:
        return _text(resolved(value), notes)
    return _named(value, kind_of(kind), notes)


def _named(value: Value, kind: Kind, notes: Notes) -> str:
    """The text of an object: its type, and what tells it apart, with its length."""
    if notes.decorating and _says_nothing(value):
        return f"<{kind.name}>"
    if kind.is_class:
        return f"<class {value.__module__}.{value.__qualname__}>"
    if getattr(value, "__caching_id__", None) is not None:
        text = get_id(value)
        return f"<{kind.name} {len(text)}:{text}>"
    if kind.has_repr_only:
        return _represented(value, kind, notes)
    if kind.is_enum:
        return f"<{kind.name}.{value.name or _text(value.value, notes)}>"
    if kind.is_secret:
        hidden = _text(value.get_secret_value(), notes).encode(errors="surrogatepass")
        return f"<{kind.name} {hashlib.sha256(hidden).hexdigest()}>"
    if kind.parts is not None:
        for place, above in enumerate(notes.above):
            if above is value:
                return f"<{kind.name}^{place}>"
        return f"<{kind.name} {_text(kind.parts(value), notes.below(value))}>"
    if is_function(value):
        return f"<function {function_text(value, notes)}>"
    return _represented(value, kind, notes)


def _represented(value: Value, kind: Kind, notes: Notes) -> str:
    """The text of an object that has nothing but its ``repr``."""
    text = repr(value)
    if kind.is_address or has_address(value, text) or kind.says_less(text):
        text = notes.stand_in(value, text, notes.variable)
    return represent(kind, text)


def get_id(obj: object) -> str:
    """What tells an object apart: its ``__caching_id__()``, else its ``repr``."""
    obj = resolved(obj)
    caching_id = getattr(obj, "__caching_id__", None)
    return repr(obj) if caching_id is None else str(caching_id())


def has_address(value: object, text: str) -> bool:
    """Whether a text of an object contains a memory address, its own or that of another one."""
    number = id(value)
    if "at 0x" in text and ADDRESS.search(text):
        return True
    return len(text) > 8 and any(
        form in text for form in (f"{number:x}", f"{number:X}", str(number))
    )


def lacks_text(value: object, text: str) -> bool:
    """Whether a text that a program made of a value is that of no other value by accident only.

    A text may be a visitor's: of that, only what Python itself writes of an object counts.
    """
    if isinstance(value, str):
        return DEFAULT_REPR.search(text) is not None
    kind: type = type(value)
    return has_address(value, text) or kind_of(kind).says_less(text)


def no_text(value: Value, text: str, variable: str) -> str:
    """What stands for a value in a key that must not have a token.

    :raises NoText: always.
    """
    raise NoText(type(value).__qualname__)


# --- functions ------------------------------------------------------------------------------------


def function_name(function: Callback) -> str:
    """A name for a function that is the same in every process."""
    if isinstance(function, functools.partial) and not hasattr(function, "__qualname__"):
        return function_name(function.func)
    module = getattr(function, "__module__", None) or ""
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    own = getattr(function, "__name__", None)
    if "<" in name and isinstance(own, str) and not name.endswith(own):
        name = f"{name}.{own}"  # the view of a class is called like its endpoint
    return f"{module}.{name}"


def is_function(value: Value) -> bool:
    """Whether a value is a function in any of its forms, and no other object that can be called."""
    return isinstance(value, FUNCTIONS) or _decorated(value) is not None


#: Where a function that was made for a decorated one says whose it is.
DECORATED = "_flask_caching_async_decorated"


def is_decorated_function(value: Value) -> bool:
    """Whether a function is what a decorator of this package has made of one.

    Not one that merely has the attributes of such: ``functools.wraps`` hands them on.
    """
    return type(value) is types.FunctionType and value.__dict__.get(DECORATED) is value


def _is_plain(value: Value) -> TypeGuard[types.FunctionType]:
    """Whether this is a function, and not what a decorator of this package has made of one."""
    return type(value) is types.FunctionType and not is_decorated_function(value)


def _decorated(value: Value) -> Callback | None:
    """The function below a decorator of this package."""
    ours = type(value).__module__.startswith(f"{__package__}.") or is_decorated_function(value)
    return getattr(value, "uncached", None) if ours else None


def function_text(function: Callback, notes: Notes) -> str:
    """The text of a function that is a value, with its defaults if it is made anew in each run."""
    name, inner = function_name(function), notes.inside(function)
    if inner is None:
        return f"{name}^{_place(function, notes)}"
    if "<" in name and _is_plain(function):
        name += canonical((function.__defaults__, function.__kwdefaults__), inner)
        name += "" if notes.decorating else _code_text(function.__code__)
    return name + _made_of(function, inner)


def made_of(function: Callback, notes: Notes) -> str:
    """What a function was made of, where its name may be that of several; else nothing."""
    inner = notes.inside(function)
    return f"^{_place(function, notes)}" if inner is None else _made_of(function, inner)


def _place(function: Callback, notes: Notes) -> int:
    """Which one it is of the functions whose text has been begun."""
    return next(n for n, other in enumerate(notes.seen or ()) if other is function)


def _made_of(function: Callback, notes: Notes) -> str:
    if isinstance(function, functools.partial):
        given = canonical((function.args, function.keywords), notes.at("an argument"))
        return given + made_of(function.func, notes)
    if _is_plain(function):
        return _closure(function, notes)
    if inspect.isclass(function):
        return ""
    if not is_function(function):
        return canonical(function, notes.at("itself"))
    inner = _decorated(function)
    if isinstance(function, functools._lru_cache_wrapper):
        inner = function.__wrapped__
    if inner is not None:
        return made_of(inner, notes)
    owner = getattr(function, "__self__", None)
    if owner is None or inspect.ismodule(owner):
        return ""
    inner = getattr(function, "__func__", None)
    return canonical(owner, notes.at("self")) + ("" if inner is None else made_of(inner, notes))


def _closure(function: types.FunctionType, notes: Notes) -> str:
    """The values that a function closes over, and the code of a lambda."""
    parts = [_code_text(function.__code__)] if function.__name__ == "<lambda>" else []
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        try:
            value = cell.cell_contents
        except ValueError:  # it has no value yet: a function that calls itself, for example
            continue
        if name == "__class__":
            continue
        if value is getattr(function, "__wrapped__", None) and callable(value):
            # A decorator's function has the name of the one inside: what counts is the rest.
            parts.append(made_of(value, notes.at(name)))
        else:
            parts.append(f"{name}={canonical(value, notes.at(name))}")
    return ",".join(filter(None, parts))


#: Where those come from that let threads and tasks wait for each other.
WAITING = frozenset({"_thread", "threading", "asyncio", "concurrent", "anyio", "trio"})


def _says_nothing(value: Value) -> bool:
    """Whether a value makes no difference between functions that close over it.

    A lock, a bare ``object()``, what stands for something else in each request, and an extension of
    an app, of which there is one.
    """
    kind: type = type(value)
    return (
        kind is object
        or issubclass(kind, LocalProxy)
        or kind.__module__.partition(".")[0] in WAITING
        or (kind.__module__.endswith(".config") and kind.__name__ == "Config")
        or callable(getattr(kind, "init_app", None))
    )


def _code_text(code: types.CodeType) -> str:
    """The code of a function as a text, but for its place in its file."""
    constants = [_code_text(c) if isinstance(c, types.CodeType) else c for c in code.co_consts]
    return canonical([code.co_code, constants, code.co_names, code.co_freevars, code.co_flags])


def _short(text: str) -> str:
    return text and hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:24]


class Identity(NamedTuple):
    """What tells a decorated function apart from others of its name, each a short text or none.

    :param stable: the same in every process.
    :param own: known to this process only.
    :param variable: where the function keeps what has no text, and the class of that.
    """

    stable: str = ""
    own: str = ""
    variable: tuple[str, str] = ("", "")


def identify(function: Callback) -> Identity:
    """What tells a function apart that is being decorated; its values are read now, and once.

    Its code does not, but for a lambda's: a release that changes a function finds its entries,
    unless ``source_check`` is set.
    """
    own: list[str] = []
    found: list[tuple[str, str]] = []

    def stand_in(value: Value, text: str, variable: str) -> str:
        own.append(token_of(value) or os.urandom(12).hex())
        found.append((variable, type(value).__qualname__))
        return ""

    try:
        stable = _short(made_of(function, Notes(stand_in, decorating=True)))
    except Exception as error:  # a repr that fails
        stable = stand_in(error, "", "something")
    return Identity(stable, _short("".join(own)), found[0] if found else ("", ""))


def has_own_name(function: Callback) -> bool:
    """Whether a function has the name of one in a module or a class, as below a decorator."""
    return "<" not in function_name(function) and _is_plain(function)
