"""The wrapper of a memoized function, compiled for its parameters: the shortest way to a hit.

Where all arguments are given by position, a call has nothing to do but to make its text, to look it
up twice, and to look at the clock. A call of a function in Python takes as long as half of that,
so they stand in one function, whose source is made of that of the text (``call_text.py``), and of
the usual case of ``Memory.peek``. Whatever is not as usual goes the general way, ``fast_path.py``,
which says the same with all its cases.
"""

from __future__ import annotations

from collections.abc import Callable

from .._entries.entry import MISSING
from ..typing import Args, Callback, Kwargs, Value
from .plan import Plan

__all__ = ["can_be_compiled", "compiled_wrapper"]

#: ``{o}`` begins our own names. The parameters take what is given by position, without a tuple; so
#: all others that the function may have come as what is given by name. What the text of an argument
#: raises is raised again, or logged, by the general way, which asks for it anew.
SOURCE = """
{define} wrapper({parameters}*{o}_args, **{o}_kwargs):
    if {all_given}not {o}_kwargs and not {o}_args:
        if {plain} and ({o}_state := {o}_plan.last) is not None:
            {o}_missing = False
            try:
                if {o}_state.binding is not {o}_cache._only:
                    pass
                elif {o}_state.peek is None:
                    {o}_missing = {o}_state.remote
                else:
                    {o}_memory = {o}_state.memory
                    {o}_entry = {o}_memory.entries.get({o}_state.memo.get(f"{text}"))
                    {o}_missing = {o}_entry is None  # or its key is not remembered
                    if (
                        not {o}_missing
                        and {o}_entry.generation == {o}_memory.generation
                        and {o}_entry.owner is {o}_author
                        and {o}_state.timekeeper.clock() < {o}_entry.fresh_until
                    ):
                        {o}_thaw = {o}_entry.thaw
                        {o}_value = {o}_entry.kept if {o}_thaw is None else {o}_thaw({o}_entry.kept)
                        if {o}_value is not None:
                            if not {o}_entry.visited:
                                {o}_entry.visited = True
                            {o}_state.counters.hits += 1
                            return {o}_value
            except Exception:
                pass
            if {o}_missing:
                return {wait}{o}_slow({o}_plan, {o}_state, ({names}), {o}_kwargs)
    {o}_args = {o}_given(({names}), {o}_args)
    {o}_value = {o}_hit({o}_args, {o}_kwargs)
    if {o}_value is not {o}_MISSING:
        return {o}_value
    return {wait}{o}_slow({o}_plan, {o}_plan.state(), {o}_args, {o}_kwargs)
"""

#: Stands for an argument that was not given by position.
ABSENT = object()


def given(named: Args, more: Args) -> Args:
    """The arguments that were given by position."""
    if more:
        return named + more
    return tuple([value for value in named if value is not ABSENT])


def can_be_compiled(plan: Plan) -> bool:
    """Whether the calls of a function may be answered by its first look, by their text alone."""
    quick = plan.quick
    named = quick is not None and quick.names is not None
    return named and plan.fast and not (plan.fixed_tags or plan.answers)


def compiled_wrapper(
    plan: Plan, hit: Callable[[Args, Kwargs], Value], slow: Callback, is_async: bool
) -> Callback:
    """What is called in the place of a function.

    :param hit: the general way to a hit; else ``MISSING``.
    :param slow: what answers a call that is no hit.
    """
    quick = plan.quick
    assert quick is not None and quick.names is not None
    o, names = quick.ours, quick.names
    source = SOURCE.format(
        define="async def" if is_async else "def",
        wait="await " if is_async else "",
        o=o,
        parameters="".join([f"{name}={o}_ABSENT, " for name in names]) + "/, " * bool(names),
        all_given=f"{names[-1]} is not {o}_ABSENT and " if names else "",
        names="".join([f"{name}, " for name in names]),
        plain=quick.plain,
        text=quick.text,
    )
    ours = {
        "plan": plan, "cache": plan.cache, "author": plan.author, "hit": hit, "slow": slow,
        "MISSING": MISSING, "ABSENT": ABSENT, "given": given,
    }  # fmt: skip
    scope = {**quick.scope, **{f"{quick.ours}_{name}": value for name, value in ours.items()}}
    exec(compile(source, f"<call of {plan.name}>", "exec"), scope)
    wrapper: Callback = scope["wrapper"]
    return wrapper
