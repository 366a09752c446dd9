"""The ``{% cache %}`` tag, in sync and in async templates.

::

    {% cache timeout, name, vary1, vary2 %} ... {% endcache %}

``timeout`` is in seconds; ``None`` is the default timeout, 0 never expires, ``"del"`` drops the
stored fragment. Without a name, the template's file name and the line of the tag are the name; of a
template that has no file, its source and the line. See :func:`.make_template_fragment_key` for the
key.

Where one of the values has no text but its memory address, which a later value may have, the body
is rendered anew each time, and it is warned of once.

The body is rendered exactly once for a miss, whatever the backend does, and by one request if
several ask at the same time.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

from jinja2 import Environment, nodes
from jinja2.ext import Extension
from jinja2.lexer import TokenStream
from jinja2.parser import Parser

from .binding import Binding
from .exceptions import AddressKeyWarning, InvalidKeyError
from .keys import digest, make_template_fragment_key
from .stats import Counters
from .typing import Value

__all__ = ["CacheExtension", "JINJA_CACHE_ATTR_NAME"]

#: The attribute of a Jinja environment that holds its cache.
JINJA_CACHE_ATTR_NAME = "_template_fragment_cache"
#: The attribute of a template's tokens that holds its source.
SOURCE = "_flask_caching_async_source"
#: The attribute of a parser that holds how many tags it found on each line.
TAGS = "_flask_caching_async_tags"


class FragmentCache(Protocol):
    """What is needed of a :class:`.Cache`."""

    def _binding(self) -> Binding: ...
    def delete(self, key: str) -> bool: ...
    async def adelete(self, key: str) -> bool: ...
    def _get_or_set(
        self, key: str, default: Value, timeout: Value, tags: Iterable[str], counters: Counters
    ) -> Value: ...
    async def _aget_or_set(
        self, key: str, default: Value, timeout: Value, tags: Iterable[str], counters: Counters
    ) -> Value: ...


class CacheExtension(Extension):
    """Adds the tag to an environment."""

    tags = {"cache"}

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._noted = threading.local()

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Note the source: a template without a file has nothing else to tell it apart."""
        self._noted.source = source
        return source

    def filter_stream(self, stream: TokenStream) -> TokenStream:
        """Hand the source to the parser: others may begin before this one has ended."""
        setattr(stream, SOURCE, self._noted.source)
        return stream

    def parse(self, parser: Parser) -> nodes.Node:
        """Turn the tag into a call of :meth:`_cache` with the body as its caller."""
        line = next(parser.stream).lineno
        timeout = parser.parse_expression()
        rest: list[nodes.Expr] = []
        while parser.stream.skip_if("comma"):
            rest.append(parser.parse_expression())
        place = self._place(parser, line)  # counts the tag, before those in its body
        name = rest.pop(0) if rest else nodes.Const(place)
        body = parser.parse_statements(("name:endcache",), drop_needle=True)
        where = nodes.Const(parser.filename and (parser.filename, line))
        # A name that is made anew for each visitor is no name of a use.
        use = nodes.Const(name.value if isinstance(name, nodes.Const) else place)
        call = self.call_method("_cache", [timeout, name, nodes.List(rest), where, use])
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _place(self, parser: Parser, line: int) -> str:
        """What an unnamed tag is called: its template and its line, and its number from 2 on."""
        tags: Counter[int] = vars(parser).setdefault(TAGS, Counter())
        tags[line] += 1
        template = parser.filename
        if template is None:
            source: str = getattr(parser.stream, SOURCE, None) or self._noted.source
            text = f"{parser.name}\0{source}".encode(errors="surrogatepass")
            template = f"{digest(hashlib.sha256, text)}:"
        return f"{template}{line}" + (f"#{tags[line]}" if tags[line] > 1 else "")

    def _cache(
        self,
        timeout: Value,
        name: Value,
        vary_on: list[Value],
        where: tuple[str, int] | None,
        use: Value,
        caller: Callable[[], Value],
    ) -> Value:
        """The fragment; in an async environment, an awaitable that Jinja awaits."""
        cache: FragmentCache = getattr(self.environment, JINJA_CACHE_ATTR_NAME)
        try:
            key = make_template_fragment_key(name, vary_on=vary_on)
        except InvalidKeyError as error:
            message = f"a fragment is not stored, {{% cache … {name!r} … %}}: {error}"
            place = f"fragment {name if isinstance(name, str) else type(name)}"
            cache._binding().warn_once(place, message, AddressKeyWarning, where)
            return caller()
        ledger = cache._binding().ledger
        if self.environment.is_async:
            return self._afragment(cache, timeout, key, ledger.of("fragment", str(use)), caller)
        if timeout == "del":
            cache.delete(key)
            return caller()
        return cache._get_or_set(key, caller, timeout, (), ledger.of("fragment", str(use)))

    async def _afragment(
        self,
        cache: FragmentCache,
        timeout: Value,
        key: str,
        counters: Counters,
        caller: Callable[[], Value],
    ) -> Value:
        if timeout == "del":
            await cache.adelete(key)
            return await caller()
        return await cache._aget_or_set(key, caller, timeout, (), counters)
