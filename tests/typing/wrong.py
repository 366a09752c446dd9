"""What type checkers must refuse: each line here is an error that is silenced by name.

mypy warns of a comment that silences nothing, so a call that became acceptable fails the check.
"""

from __future__ import annotations

from flask_caching_async import Cache

cache = Cache()


@cache.memoize()
def memoized(a: int, b: str = "x") -> bytes:
    return b""


@cache.memoize()
async def amemoized(a: int) -> bytes:
    return b""


class Person:
    @cache.memoize()
    def greet(self, word: str) -> str:
        return word


memoized("a")  # type: ignore[arg-type]
memoized()  # type: ignore[call-arg]
memoized.refresh("a")  # type: ignore[arg-type]
Person().greet(1)  # type: ignore[arg-type]
Person().greet.refresh(1)  # type: ignore[arg-type]
not_awaited: bytes = amemoized(1)  # type: ignore[assignment]
cache.memoize(nonsense=1)  # type: ignore[call-arg]
cache.delete_memoized("memoized")  # type: ignore[arg-type]
cache.memoize(1, None, None, None, None, None, None, False, None, None, True)  # type: ignore[call-arg]
