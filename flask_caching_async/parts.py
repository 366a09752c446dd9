"""What objects consist of, where their ``repr`` says less than that, or says it in another order.

A ``repr`` is for people: that of an array leaves out its middle, that of a pattern its end, that of
a model its secrets, and a set in it stands in another order in each process. So the parts of an
object are written down instead, where its class is known to have no more to it.

Libraries are known by the names of their classes; none is imported here.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import hashlib
import logging
import re
import sys
import types
from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple, TypeAlias

from .typing import Value

__all__ = ["FUNCTIONS", "Kind", "kind_of"]

#: Gives the parts of an object.
Take: TypeAlias = Callable[[Value], Value]

#: Parts by class, for it and for subclasses that have its ``repr``.
PARTS: dict[type, Take] = {
    list: list,
    tuple: tuple,
    dict: dict,
    set: set,
    frozenset: frozenset,
    collections.OrderedDict: dict,
    collections.Counter: dict,
    collections.defaultdict: lambda value: (value.default_factory, dict(value)),
    collections.deque: lambda value: (list(value), value.maxlen),
    collections.ChainMap: lambda value: value.maps,
    collections.UserDict: lambda value: value.data,
    collections.UserList: lambda value: value.data,
    types.MappingProxyType: dict,
    types.SimpleNamespace: vars,
    type({}.keys()): list,
    type({}.values()): list,
    type({}.items()): list,
    slice: lambda value: (value.start, value.stop, value.step),
    memoryview: lambda value: (value.format, value.shape, value.tobytes()),
    re.Pattern: lambda value: (value.pattern, value.flags),
    re.Match: lambda value: (value.re, value.string, value.pos, value.endpos, value.span()),
    logging.Logger: lambda value: value.name,
    ContextVar: lambda value: value.name,
    types.ModuleType: lambda value: value.__name__,
}  # fmt: skip


FUNCTIONS = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType,
    types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType,
    functools.partial, functools._lru_cache_wrapper,
)  # fmt: skip


class Kind(NamedTuple):
    """How the objects of a class are written down.

    :param name: its module and name.
    :param parts: gives what an object consists of; ``None`` where its ``repr`` says that or more.
    :param is_class: whether the objects are classes themselves.
    :param is_secret: whether an object hides its value, as those of pydantic do.
    :param describes: whether a ``repr`` like ``<Request ...>`` says less than the value: a
        request's has its path, but neither its headers nor its visitor.
    :param elides: whether any ``repr`` says less than the value.
    :param has_repr_only: whether nothing but the ``repr``, or a ``__caching_id__``, tells an object
        apart.
    :param is_address: whether that ``repr`` is the address of the object in memory.
    :param is_repr: whether it says all that there is to say, unless it has an address in it.
    """

    name: str
    parts: Take | None
    is_class: bool
    is_enum: bool
    is_secret: bool
    describes: bool
    elides: bool
    has_repr_only: bool
    is_address: bool
    is_repr: bool

    def says_less(self, text: str) -> bool:
        """Whether the ``repr`` of an object is known to say less than its value."""
        return self.elides or (self.describes and text.startswith("<"))


#: Where a ``repr`` in angle brackets describes a request, a response, a file, a task, a matrix ...
DESCRIBING = frozenset(
    "werkzeug flask quart requests httpx aiohttp urllib3 starlette _io io asyncio _asyncio socket "
    "subprocess threading multiprocessing scipy shapely".split()
)
#: What holds more data than a ``repr`` would show hands it over in one of these ways.
DATA = ("__array__", "__array_interface__", "__arrow_c_stream__", "__dataframe__", "__dlpack__")


@functools.lru_cache(512)
def kind_of(kind: type) -> Kind:
    """How the objects of a class are written down; remembered."""
    shown_by = next(base for base in kind.__mro__ if "__repr__" in vars(base))
    scalar = any(_library(base) == ("numpy", "generic") for base in kind.__mro__)
    parts, is_secret = _parts_of(kind), callable(getattr(kind, "get_secret_value", None))
    describes = shown_by.__module__.partition(".")[0] in DESCRIBING
    elides = not scalar and any(hasattr(kind, name) for name in DATA)
    has_repr_only = not (
        parts
        or is_secret
        or issubclass(kind, (type, enum.Enum, *FUNCTIONS))
        or kind.__module__.startswith(f"{__package__}.")
    )
    return Kind(
        name=f"{kind.__module__}.{kind.__qualname__}",
        parts=parts,
        is_class=issubclass(kind, type),
        is_enum=issubclass(kind, enum.Enum),
        is_secret=is_secret,
        describes=describes,
        elides=elides,
        has_repr_only=has_repr_only,
        is_address=shown_by is object,
        is_repr=has_repr_only and not (shown_by is object or describes or elides),
    )


def _library(kind: type) -> tuple[str, str]:
    return kind.__module__.partition(".")[0], kind.__qualname__


def _parts_of(kind: type) -> Take | None:
    if hasattr(kind, "_fields") and issubclass(kind, tuple):
        return tuple
    for base in kind.__mro__:
        library = LIBRARIES.get(_library(base))
        if library is not None:
            return library if library is not _model or _is_generated(kind, "pydantic") else None
        take = PARTS.get(base)
        if take is not None:
            return take if kind.__repr__ is base.__repr__ else None
    if dataclasses.is_dataclass(kind):
        return _fields(kind, dataclasses.fields(kind), "<string>", "compare")
    attributes = getattr(kind, "__attrs_attrs__", None)
    return None if attributes is None else _fields(kind, attributes, "<attrs generated", "eq")


def _is_generated(kind: type, source: str) -> bool:
    """Whether a ``repr`` was not written by the author of the class, but comes from a library."""
    written: Value = kind.__repr__
    code = getattr(getattr(written, "__wrapped__", written), "__code__", None)
    where = (code and code.co_filename, getattr(written, "__module__", None))
    return any(place and place.startswith(source) for place in where)


def _fields(kind: type, fields: Value, source: str, compared: str) -> Take | None:
    """The fields of a class whose ``repr`` was generated, or left out, by its decorator.

    A field that neither its ``repr`` nor its ``==`` looks at does not count.
    """
    written: Value = kind.__repr__
    if written is not object.__repr__ and not _is_generated(kind, source):
        return None
    names = [field.name for field in fields if field.repr or getattr(field, compared)]
    return lambda value: {name: getattr(value, name) for name in names if hasattr(value, name)}


# --- libraries ------------------------------------------------------------------------------------


def _array(value: Value) -> Value:
    """An array of NumPy, or a structured scalar; of a class of another library with its own."""
    data = value.tolist() if value.dtype.hasobject else hashlib.sha256(value.tobytes()).hexdigest()
    ours = type(value).__module__.partition(".")[0] == "numpy"
    return repr(value.dtype), value.shape, data, None if ours else dict(vars(value))


def _masked(value: Value) -> Value:
    return value.data, sys.modules["numpy"].ma.getmaskarray(value), value.fill_value


def _column(value: Value) -> Value:
    """An array of pandas."""
    dtype, codes = value.dtype, getattr(value, "codes", None)
    if codes is not None:
        return codes, value.categories, value.ordered
    numpy = type(dtype).__module__.partition(".")[0] == "numpy"
    return (str(dtype), value.to_numpy() if numpy else list(value))


def _index(value: Value) -> Value:
    levels, step = getattr(value, "levels", None), getattr(value, "step", None)
    if levels is not None:
        return list(levels), [list(codes) for codes in value.codes], list(value.names)
    if step is not None:
        return value.start, value.stop, step, value.name
    return value.array, value.name, getattr(value, "freqstr", None)


def _frame(value: Value) -> Value:
    columns = [value.iloc[:, number].array for number in range(value.shape[1])]
    return value.index, value.columns, columns, value.attrs


def _model(value: Value) -> Value:
    """A model of pydantic."""
    return dict(vars(value)), getattr(value, "__pydantic_extra__", None)


#: Parts by the top module and the name of a class, for it and all of its subclasses.
LIBRARIES: dict[tuple[str, str], Take] = {
    ("numpy", "ndarray"): _array,
    ("numpy", "MaskedArray"): _masked,
    ("numpy", "void"): _array,
    ("pandas", "DataFrame"): _frame,
    ("pandas", "Series"): lambda value: (value.index, value.array, value.name, value.attrs),
    ("pandas", "Index"): _index,
    ("pandas", "ExtensionArray"): _column,
    ("pydantic", "BaseModel"): _model,
    ("flask", "App"): lambda value: value.import_name,
    ("flask", "Blueprint"): lambda value: (value.name, value.import_name),
    ("flask", "Config"): dict,
    ("werkzeug", "CallbackDict"): dict,
}  # fmt: skip
