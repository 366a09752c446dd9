"""The signature that a call is bound with, where a decorator stands around the function.

``functools.wraps`` shows the signature of the function inside, but what is called is the decorator:
it may give the function an argument, take one for itself, or have a default of its own. So:

* One that is seen to call the function with its ``*args`` and ``**kwargs`` as they are, as most do,
  makes no difference.
* One that takes both, but does something to them, is bound with the signature that it shows, with
  its own keyword arguments added. What a call leaves out counts as left out, not as its default,
  which the decorator may change. A call that does not fit is written down as the decorator gets it.
* Any other says itself what it takes.
"""

from __future__ import annotations

import dis
import inspect
import types
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from ..keys import signature_of
from ..typing import Args, Callback, Kwargs, Value
from .methods import is_decorated

__all__ = ["Arguments", "arguments_of"]

Parameters: TypeAlias = Sequence[inspect.Parameter]
#: The name of a step of byte code, and what it is about.
Step: TypeAlias = tuple[str, Value]


class Arguments(NamedTuple):
    """What a function is called with.

    :param shown: what the arguments are bound with.
    :param called: what they are bound with where that does not fit; ``None`` if no call is taken
        then.
    """

    shown: Parameters
    called: Parameters | None

    def check(self, args: Args, kwargs: Kwargs) -> None:
        """Bind a call.

        :raises TypeError: if it fits neither.
        """
        inspect.Signature(self.called or self.shown).bind(*args, **kwargs)

    @property
    def may_leave_out(self) -> bool:
        """Whether two calls may have the same arguments, of which one leaves a default out."""
        return self.called is not None and any(p.default is not p.empty for p in self.shown)


def arguments_of(function: Callback) -> Arguments:
    """What a function is called with; see above."""
    function = _below_what_passes_on(function)
    shown = list(signature_of(function).parameters.values())
    try:
        own = list(signature_of(_itself(function), follow_wrapped=False).parameters.values())
    except ValueError:  # functools.lru_cache has none
        return Arguments(shown, None)
    if _same(own, shown):
        return Arguments(shown, None)
    kinds = {p.kind for p in own}
    first = [p for p in own if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= kinds or not (
        _same(first, shown[: len(first)])
    ):
        return Arguments(own, None)
    keywords = [p for p in own if p.kind is p.KEYWORD_ONLY]
    names = {p.name for p in keywords}
    rest = [p for p in shown if p.name not in names]
    last = [p for p in rest if p.kind is p.VAR_KEYWORD]
    return Arguments([*[p for p in rest if p.kind is not p.VAR_KEYWORD], *keywords, *last], own)


def _itself(function: Callback) -> Callback:
    """A function without the ``__signature__`` that ``functools.wraps`` has taken from inside."""
    inside = getattr(function, "__wrapped__", None)
    taken = getattr(function, "__signature__", None)
    if type(function) is not types.FunctionType or taken is None:
        return function
    if taken is not getattr(inside, "__signature__", None):
        return function
    plain = types.FunctionType(
        function.__code__, {}, function.__name__, function.__defaults__, function.__closure__
    )
    plain.__kwdefaults__ = function.__kwdefaults__
    return plain


def _same(one: Parameters, other: Parameters) -> bool:
    """Whether parameters differ in nothing but their annotations."""

    def told(p: inspect.Parameter) -> tuple[object, ...]:
        return p.name, p.kind, p.default is p.empty

    return [told(p) for p in one] == [told(p) for p in other] and all(
        p.default is q.default for p, q in zip(one, other, strict=True)
    )


# --- what passes its arguments on -----------------------------------------------------------------


def _below_what_passes_on(function: Callback) -> Callback:
    """The function below decorators that change no argument."""
    while True:
        if is_decorated(function):
            function = function.uncached
        elif type(function) is types.FunctionType and _passes_on(function):
            function = function.__wrapped__  # type: ignore[attr-defined]
        else:
            return function


def _passes_on(function: types.FunctionType) -> bool:
    """Whether a function does nothing to its arguments but ``wrapped(*args, **kwargs)``.

    Its byte code says so; one that is not understood counts as one that may do something.
    """
    code, inside = function.__code__, getattr(function, "__wrapped__", None)
    rest = [bool(code.co_flags & flag) for flag in (inspect.CO_VARARGS, inspect.CO_VARKEYWORDS)]
    if inside is None or code.co_argcount or code.co_kwonlyargcount or not any(rest):
        return False
    names = code.co_varnames[: sum(rest)]
    given: list[Step] = [("LOAD_FAST", names[0]) if rest[0] else ("LOAD_CONST", ())]
    if rest[1]:
        given += [("BUILD_MAP", 0), ("LOAD_FAST", names[-1]), ("DICT_MERGE", 1)]
    call = [*given, ("CALL_FUNCTION_EX", None)]
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    try:
        calls = [[("LOAD_DEREF", n), *call] for n, cell in cells if cell.cell_contents is inside]
    except ValueError:  # a cell without a value yet
        return False
    steps = [_step(step) for step in dis.get_instructions(code) if step.opname != "PUSH_NULL"]
    passed = sum(steps[place : place + len(call) + 1] in calls for place in range(len(steps)))
    used = sum(
        (name if isinstance(name, tuple) else (name,)).count(own)
        for _, name in steps
        for own in names
    )
    return passed > 0 and used == passed * len(names)


def _step(step: dis.Instruction) -> Step:
    """What a step of byte code does, in the words of all versions of Python."""
    name = step.opname.removesuffix("_BORROW")
    return name, None if name == "CALL_FUNCTION_EX" else step.argval
