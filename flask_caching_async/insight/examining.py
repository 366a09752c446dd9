"""Looking at one call of a cached function without making it.

The steps are those of ``decorators/call_key.py`` and ``decorators/lookup.py``; but whatever is
found, the look goes on, so that it is also said what is stored where it would not be served.
Nothing is counted, told to listeners, learned, warned of, or noted as read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .._entries.entry import Elsewhere, Verdict, is_marker, tag_of
from .._entries.times import NEVER
from .._flow.callbacks import CallCallback
from .._flow.engine import Engine
from .._flow.store_protocol import Inspected
from .._store.pending_invalidations import told
from ..decorators.plan import Plan
from ..exceptions import CacheError, ColourError, InvalidKeyError, overheard
from ..pages.inputs import LEVELS, Learned
from ..pages.reads import Muted
from ..typing import Args, Callback, Kwargs, Value
from . import causes
from .explanation import Answer, Explanation, Reason, StoredEntry, told_time
from .key_parts import Part, learned_parts, parts_of

__all__ = ["Examination"]


@contextmanager
def _unnoticed() -> Iterator[list[str]]:
    """A context in which nothing is noted as read; what would be warned of is in what it gives."""
    told: list[str] = []
    token = overheard.set(told)
    try:
        with Muted():
            yield told
    finally:
        overheard.reset(token)


class Examination:
    """One call of a cached function, looked at.

    :param args: what it would be called with, and ``kwargs``.
    :param call_callback: calls the user's callbacks in the colour of the caller.
    :param aio: whether the caller is async code.
    """

    def __init__(
        self, plan: Plan, args: Args, kwargs: Kwargs, call_callback: CallCallback, aio: bool
    ) -> None:
        self.plan, self.args, self.kwargs, self.state = plan, args, kwargs, plan.state()
        self.call_callback, self.aio = call_callback, aio
        self.answer: Answer = "compute"
        self.reasons: list[Reason] = []
        self.made_of: list[Part] = []
        self.key: str | None = None
        self.tags: tuple[str, ...] = ()
        #: The keys under which a computation of this call may have begun.
        self.keys: list[str] = []
        self.stored: StoredEntry | None = None
        #: Whether ``forced_update`` said so.
        self.forced = False
        self._overheard: list[str] = []

    async def run(self) -> Explanation:
        """All that can be said."""
        with _unnoticed() as self._overheard:
            await self._ask_unless()
            engine = await self._find_key()
            if engine is not None:
                await self._look(engine)
        if self.answer == "compute":
            self._add_history()
        tags = tuple(told(tag for tag in self.tags if tag.startswith("~t:")))
        return Explanation(
            kind=self.plan.use, name=self.plan.name, key=self.key, made_of=tuple(self.made_of),
            tags=tags, stored=self.stored, answer=self.answer,
            reasons=tuple(dict.fromkeys(self.reasons)),
        )  # fmt: skip

    def _bypass(self, cause: str, text: str) -> None:
        """The cache would not be asked; what was found to be so first counts."""
        if self.answer != "bypass":
            self.answer = "bypass"
            self.reasons.append(Reason(cause, text))

    # --- the key ----------------------------------------------------------------------------------

    async def _ask(self, name: str, callback: Callback, *first: Value, args: Args) -> Value:
        """What a callback answers; ``None`` if it fails, which is a reason then."""
        more, named = self.plan.arguments_for(name, args, self.kwargs)
        try:
            return await self.call_callback(callback, *first, *more, **named)
        except ColourError:
            raise self._is_async() from None
        except Exception as error:
            effect = "the call raises it" if name == "unless" else "it is called without the cache"
            self._bypass("callback", causes.short(f"{name} raised {error!r}, so that {effect}"))
            return None

    def _is_async(self) -> ColourError:
        return ColourError(f"a callback of {self.plan.name} is async: await aexplain() instead")

    async def _ask_unless(self) -> None:
        unless = self.plan.options.unless
        if unless and await self._ask("unless", unless, args=(self.plan.function, *self.args)):
            self._bypass("unless", "unless said that this call bypasses the cache")

    async def _find_key(self) -> Engine | None:
        """The engine of the current tenant, once the key is known; ``None`` if there is none."""
        plan, state = self.plan, self.state
        try:
            callbacks = plan.key_callbacks(state, self.args, self.kwargs)
            answers = [await self.call_callback(callback) for callback in callbacks]
            made = plan.make_key(state, self.args, self.kwargs, answers)
            engine = state.binding.engine
            prefix = engine.store.backend.key_prefix
            self.made_of = parts_of(plan, state, self.args, self.kwargs, answers, prefix)
            if made is None:
                self._has_no_key()
                return None
            engine.store.check((made[0], *made[1]))
        except ColourError:
            raise self._is_async() from None
        except Exception as error:
            self._cannot_have(error)
            return None
        self.key, self.tags = made
        if self._overheard:
            self.reasons.append(Reason("key", self._overheard[-1]))
        forced = plan.options.forced_update
        if forced and await self._ask("forced_update", forced, args=self.args):
            self.forced = True
        return engine

    def _cannot_have(self, error: Exception) -> None:
        """What makes the key has failed.

        :raises CacheError: if a call raises it, too.
        :raises TypeError: if the function takes no such arguments.
        """
        if isinstance(error, CacheError) and not isinstance(error, InvalidKeyError):
            raise error
        self.plan.explain(error, self.args, self.kwargs)
        why = f"what makes the key, or the tags, raised {error!r}"
        self._bypass("callback", causes.short(f"{why}, so that it is called without the cache"))

    def _has_no_key(self) -> None:
        cause = self.plan.why_no_key(self.state)
        text = self._overheard[-1] if self._overheard else "an argument has no text of its own"
        if cause == "method":
            request = self.state.binding.framework.request()
            method = "" if request is None else f", not {request.method}"
            text = f"only what GET asks for is stored{method}"
        self._bypass(cause, text)

    # --- what is stored ---------------------------------------------------------------------------

    async def _look(self, engine: Engine) -> None:
        """See what stands under the key, and judge it as a call would."""
        binding = self.state.binding
        found = await self._follow(engine)
        if found.entry is not None and not is_marker(found.entry):
            self.stored = self._described(found)
        if self.answer == "bypass":
            return
        if self.forced:
            self.reasons.append(Reason("forced", "forced_update said that it is computed anew"))
        elif binding.null:
            self.reasons.append(Reason("null", "CACHE_TYPE is NullCache, which stores nothing"))
        else:
            await self._judge(found)
        if pending := engine.store.condition().pending:
            many = f"{len(pending)} deletions are pending, and made before anything is read"
            self.reasons.append(Reason("backend", many))

    async def _follow(self, engine: Engine) -> Inspected:
        """Look under the key; what stands there may say that its pages have other ones.

        What that says is not learned.
        """
        steps, base, tags = engine.aio if self.aio else engine.sync, self.key or "", self.tags
        visit, known = self.state.binding.framework.visit(), Learned(1)
        known.names.update(self.state.learned.names)
        learned, found = list[Part](), Inspected(None, "absent")
        for _ in range(LEVELS + 1):
            key, above = base, dict[str, tuple[str, ...]]()
            if self.plan.of_request and visit is not None:
                key, above = known.key_of(base, visit)
                learned = learned_parts(above, visit)
            self.key, self.keys = key, [key, *reversed(above)]
            self.tags = (*tags, *[tag_of("b", one) for one in above])
            found = await steps.inspect(key, self.tags)
            names = _names_elsewhere(found)
            if names is None or visit is None:
                break
            known.learn(key, names)
        self.made_of += [part for part in learned if part not in self.made_of]
        return found

    def _described(self, found: Inspected) -> StoredEntry:
        entry, now, policy = found.entry, self.state.timekeeper.clock(), self.state.policy
        assert entry is not None
        try:
            kind = type(entry.value())
            name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        except Exception:  # whatever a pickle raises
            name = "unreadable"
        fresh = usable = None
        if entry.fresh_until != NEVER:
            fresh = entry.fresh_until - now
            usable = min(fresh + policy.stale_while_revalidate, entry.usable_until - now)
        tags = tuple(told(tag for tag in found.tags if tag.startswith("~t:")))
        age = now - entry.created if entry.created else None
        return StoredEntry(age, fresh, usable, tags, found.size, name)

    async def _judge(self, found: Inspected) -> None:
        """Whether what stands there is served."""
        entry, now, options = found.entry, self.state.timekeeper.clock(), self.plan.options
        if found.why or entry is None or is_marker(entry):
            found = found if found.why else Inspected(None, "absent")
            self.reasons.append(causes.of_entry(self.plan, found))
            return
        demand = self.plan.demand(self.state)
        if demand is not None and demand.refuses(entry, now):
            self.reasons.append(Reason("forced", "the request demands a newer one"))
            return
        verdict = self.state.policy.judge(entry, now)
        if verdict not in (Verdict.FRESH, Verdict.STALE):
            self.reasons.append(Reason("expired", self._expired(now - entry.fresh_until, verdict)))
            return
        try:
            value = entry.value()
        except Exception:
            self.reasons.append(causes.of_entry(self.plan, Inspected(None, "unreadable")))
            return
        if value is None and not options.cache_none:
            self.reasons.append(Reason("none", "it is None, and cache_none is not set"))
            return
        if options.is_stale and await self._is_outdated(options.is_stale, value):
            return
        self.answer = "hit" if verdict is Verdict.FRESH else "stale"
        if verdict is Verdict.STALE:
            over = told_time(now - entry.fresh_until)
            self.reasons.append(Reason("stale", f"its timeout was over {over} ago"))

    def _expired(self, over: float, verdict: Verdict) -> str:
        text = f"its timeout was over {told_time(over)} ago"
        rescue = "; it is served if the function fails, or a view answers 5xx"
        return text + rescue if verdict is Verdict.STALE_IF_ERROR else text

    async def _is_outdated(self, is_stale: Callback, value: Value) -> bool:
        shown = self.plan.for_callbacks(value)
        outdated = await self._ask("is_stale", is_stale, shown, args=self.args)
        if outdated:
            self.reasons.append(Reason("stale", "is_stale said that it must be computed anew"))
        return bool(outdated) or self.answer == "bypass"

    def _add_history(self) -> None:
        """What the last computation said of what can be known only by computing."""
        counters, first = self.state.counters, self.reasons[:1]
        last = causes.of_last_value(self.plan, counters, self.keys)
        if last is not None:
            usual = bool(first) and first[0].cause in ("absent", "expired", "invalidated")
            self.reasons.insert(0 if usual else len(self.reasons), last)
        elif first and first[0].cause == "absent" and (others := causes.of_others(counters)):
            self.reasons.append(others)


def _names_elsewhere(found: Inspected) -> tuple[str, ...] | None:
    """What the pages are selected by, for which something else stands there."""
    if found.why or found.entry is None or not is_marker(found.entry):
        return None
    try:
        value = found.entry.value()
    except Exception:
        return None
    return value.names if isinstance(value, Elsewhere) else None
