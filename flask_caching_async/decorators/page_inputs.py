"""What the pages of a view are made from: what is noted, and which keys follow from it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from .._entries.entry import BASE_TAG, Elsewhere, tag_of
from .._entries.times import Times
from .._flow.callbacks import CallCallback
from .._flow.policy import Call, ElsewhereKey
from ..pages.inputs import Learned
from ..pages.reads import base_of, note, reading
from ..pages.rules import Keyed, MadeFrom
from ..typing import Callback, Value
from .head import as_get
from .plan import Plan, State

__all__ = ["MadeOfRequest", "inputs_of"]


class MadeOfRequest(Plan):
    """A function whose answers are made of the request."""

    of_request = True
    #: Whether its key is its user's own.
    own_key: bool
    #: What its keys have of the request by themselves.
    inputs: set[str]

    def known_inputs(self, state: State) -> Keyed | None:
        """What the key of a call has of the request, but for what callbacks read."""
        framework = state.binding.framework
        request = framework.visit()
        if request is None:
            return None
        keyed = Keyed(request, self.inputs)
        if framework.many_hosts and not self.own_key:
            keyed.inputs.add("host")
        return keyed

    def noting(self, state: State, call_callback: CallCallback, into: set[str]) -> CallCallback:
        """``call_callback``, which notes what callbacks read of the request."""

        async def call(callback: Callback, /, *args: Value, **kwargs: Value) -> Value:
            with state.binding.framework.recorded() as reads:
                answer = await call_callback(callback, *args, **kwargs)
            if reads is not None:
                into.update(reads.all_names())
            return answer

        return call

    def vary(
        self, state: State, key: str, tags: tuple[str, ...], keyed: Keyed | None = None
    ) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """The key of the page for this request, as far as it is known what selects it."""
        learned = state.learned
        if key not in learned.names or (request := state.binding.framework.visit()) is None:
            return key, tags, ()
        key, above = learned.key_of(key, request)
        for names in above.values():
            if keyed is not None:
                keyed.known.update(names)
            if reading.get() is not None:  # what calls this is made from the same
                for name in names:
                    note(base_of(request), name)
        return key, (*tags, *[tag_of("b", one) for one in above]), tuple(above)

    def prepare(self, state: State, call: Call, keyed: Keyed | None) -> None:
        """Let what the function reads be noted; a HEAD is answered as a GET, for both."""
        framework = state.binding.framework
        if keyed is not None:
            call.made_from = MadeFrom(keyed)
            call.within = functools.partial(framework.recorded, call.made_from)
            if keyed.request.method == "HEAD" and not self.own_key:
                call.within = functools.partial(as_get, framework, call.within)

    def stays(self, call: Call) -> bool:
        """Whether the page has turned out to be no other one of several."""
        return call.made_from is None or not call.made_from.selecting

    def elsewhere(self, call: Call) -> ElsewhereKey | None:
        """The key of the variant, where the page has turned out to be one of several."""
        made, state = call.made_from, call.context
        if made is None or not made.selecting:
            return None
        request = state.binding.framework.visit()
        if request is None:
            return None
        marker = Elsewhere(state.learned.learn(call.key, made.selecting))
        key, above = state.learned.key_of(call.key, request)
        return ElsewhereKey(key, (*call.tags, *[tag_of("b", one) for one in above]), marker)

    def make_room(self, call: Call, key: str, times: Times) -> str | None:
        """The key of a variant that has to go; ``None`` if there are too many."""
        base = next((tag for tag in call.tags if tag.startswith(BASE_TAG)), None)
        if base is None:
            if key == call.key:
                return ""
            base = tag_of("b", call.key)
        learned: Learned = call.context.learned
        return learned.admit(base, key, times.created, times.usable_until)


def inputs_of(vary_on: Sequence[str | Callable[[], Value]], query_string: bool) -> set[str]:
    """What the arguments of the decorator put into keys."""
    found = {"args"} if query_string else set()
    for vary in vary_on:
        if isinstance(vary, str):
            name = vary.lower()
            header = "authorization" if name == "authorization" else f"header:{name}"
            found.add(vary if vary.startswith("cookie:") else "host" if name == "host" else header)
    return found
