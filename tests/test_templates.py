"""The ``{% cache %}`` tag, in sync and in async environments."""

from __future__ import annotations

import asyncio
import itertools
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy
import pydantic
import pytest
from flask import Flask, render_template, render_template_string
from jinja2 import DictLoader, Environment, FileSystemLoader, FunctionLoader, nodes
from jinja2.ext import Extension
from markupsafe import Markup
from quart import Quart
from werkzeug.local import LocalProxy

from flask_caching_async import (
    AddressKeyWarning,
    Cache,
    InvalidKeyError,
    make_template_fragment_key,
)
from flask_caching_async.backends import BaseCache
from flask_caching_async.jinja2ext import JINJA_CACHE_ATTR_NAME, CacheExtension
from flask_caching_async.testing import FakeClock
from support.backends import config_for
from support.params import PACES, cases, each_form, each_pace
from support.waiting import at_once, until


class Room:
    """An app whose templates are sync or async, and how often a fragment was rendered."""

    def __init__(self, colour: str, config: dict[str, Any]) -> None:
        self.app = Flask(
            __name__, template_folder=os.path.join(os.path.dirname(__file__), "templates")
        )
        self.app.jinja_options = {"enable_async": colour == "async"}
        self.is_async = colour == "async"
        self.cache = Cache(self.app, config=config)
        self.counted = 0
        self.app.jinja_env.globals["count"] = self.count

    def count(self) -> int:
        """How often it was called."""
        self.counted += 1
        return self.counted

    def render(self, source: str, **context: Any) -> str:
        """Render a source, or a file if it ends with ``.html``."""
        with self.app.app_context():
            if source.endswith(".html"):
                return render_template(source, **context).strip()
            return render_template_string(source, **context)

    async def arender(self, source: str, **context: Any) -> str:
        """Render a source on a loop that runs."""
        with self.app.app_context():
            return await self.app.jinja_env.from_string(source).render_async(**context)


@pytest.fixture
def room(colour: str) -> Room:
    """Templates over a cache in memory."""
    return Room(colour, {"CACHE_TYPE": "SimpleCache"})


@pytest.fixture
def any_room(embedded: str, colour: str, tmp_path: Any) -> Room:
    """Templates over each kind of backend."""
    return Room(colour, config_for(embedded, tmp_path))


@pytest.fixture
def clock(room: Room) -> FakeClock:
    """The clock of ``room``'s cache."""
    clock = FakeClock()
    clock.install(room.cache)
    return clock


SOURCE = "{% cache 60, 'name' %}{{ count() }}{% endcache %}"


def test_a_fragment_is_rendered_once(any_room: Room) -> None:
    """M15: also where the environment is async."""
    assert [any_room.render(SOURCE) for _ in range(3)] == ["1", "1", "1"]
    assert any_room.cache.get(make_template_fragment_key("name")) == "1"


def test_a_fragment_of_a_file_is_named_by_file_and_line(room: Room) -> None:
    """Two files never share one; deleting by the name works."""
    assert [room.render("page.html") for _ in range(2)] == ["<b>1</b>", "<b>1</b>"]
    file = os.path.join(room.app.root_path, "templates", "page.html")
    assert room.cache.delete(make_template_fragment_key(f"{file}1"))
    assert room.render("page.html") == "<b>2</b>"


def test_a_second_fragment_on_a_line_of_a_file_has_a_number(tmp_path: Any, cache: Cache) -> None:
    """The first keeps its name."""
    file = tmp_path / "two.html"
    file.write_text("\n{% cache 60 %}a{% endcache %}{% cache 60 %}b{% endcache %}")
    environment = Environment(loader=FileSystemLoader(tmp_path), extensions=[CacheExtension])
    setattr(environment, JINJA_CACHE_ATTR_NAME, cache)
    assert environment.get_template("two.html").render() == "\nab"
    assert cache.get(make_template_fragment_key(f"{file}2")) == "a"
    assert cache.get(make_template_fragment_key(f"{file}2#2")) == "b"


UNNAMED = "{% cache 60 %}{{ count() }}{% endcache %}"


def test_a_fragment_of_a_string_is_named_by_source_and_line(room: Room) -> None:
    """Two strings never share one; one string finds its own again."""
    assert [room.render(f"a{UNNAMED}"), room.render(f"a{UNNAMED}")] == ["a1", "a1"]
    assert room.render(f"b{UNNAMED}") == "b2"
    assert room.render(f"b\n{UNNAMED}") == "b\n3"
    assert room.render(f"a{UNNAMED}") == "a1"


def test_fragments_on_one_line_are_two(room: Room) -> None:
    """Side by side, one in the other, and beside one that has a name."""
    nested = "{% cache 60 %}{{ count() }}{% cache 60 %}{{ count() }}{% endcache %}{% endcache %}"
    for _ in range(2):
        assert room.render(f"{UNNAMED} {UNNAMED}\n{UNNAMED}") == "1 2\n3"
        assert room.render(nested) == "45"
        assert room.render(f"{SOURCE}{UNNAMED}") == "67"


def test_templates_without_files_share_no_fragment(room: Room) -> None:
    """From a dictionary or a function; a new source is a new fragment."""
    sources = {"a": UNNAMED, "b": f"b {UNNAMED}", "c": UNNAMED, "all": "{% include 'a' %}"}
    for loader in (DictLoader(sources), FunctionLoader(sources.get)):
        room.app.jinja_env.loader = loader
        with room.app.app_context():
            for _ in range(2):
                texts = [render_template(name) for name in ("a", "b", "c", "all")]
                assert texts == ["1", "b 2", "3", "1"]
    sources["a"] = f"new {UNNAMED}"
    room.app.jinja_env.loader = DictLoader(sources)
    with room.app.app_context():
        assert render_template("a") == "new 4"


def test_a_template_that_is_read_while_another_one_is_keeps_it_apart(room: Room) -> None:
    """An extension may ask for a template in the middle of one."""

    class Reads(Extension):
        tags = {"reads"}

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            self.environment.from_string("another one")
            return nodes.Output([nodes.TemplateData("")], lineno=line)

    room.app.jinja_env.add_extension(Reads)
    assert room.render("a{% reads %}" + UNNAMED) == "a1"
    assert room.render("b{% reads %}" + UNNAMED) == "b2"


def test_macros_and_variables_work_in_a_fragment(room: Room) -> None:
    """The body sees the template around it, and keeps its own ``set``."""
    assert room.render("named.html", user="Al") == "<b>Al!</b>1"
    assert room.render("named.html", user="Al") == "<b>Al!</b>1"
    assert room.render("named.html", user="Bo") == "<b>Bo!</b>2"
    assert room.render("named.html", user="Al") == "<b>Al!</b>1"


@cases(
    "ask,vary",
    [("'a', 'b'", ["a", "b"]), ("1", [1]), ("none", [None]), ("2.5, true", [2.5, True])],
    ids=["text", "int", "none", "several"],
)
def test_a_fragment_varies_on_values_of_any_type(room: Room, ask: str, vary: Any) -> None:
    """M15: they count as their text; ``make_template_fragment_key`` finds the same."""
    source = "{% cache 60, 'name', " + ask + " %}{{ count() }}{% endcache %}"
    assert [room.render(source), room.render(source)] == ["1", "1"]
    assert room.render(SOURCE) == "2"
    assert room.cache.delete(make_template_fragment_key("name", vary_on=vary))
    assert room.render(source) == "3"


def test_different_vary_lists_are_different_fragments(room: Room) -> None:
    """M15: ``('a_b', 'c')`` and ``('a', 'b_c')`` share nothing."""
    source = "{% cache 60, 'name', x, y %}{{ count() }}{% endcache %}"
    pairs = [("a_b", "c"), ("a", "b_c"), ("a", "b"), ("a_b_c", ""), ("", "a_b_c")]
    assert len({room.render(source, x=x, y=y) for x, y in pairs}) == len(pairs)


def test_a_name_may_be_any_value(room: Room) -> None:
    """It counts as its text."""
    for name in (7, 2.5, None, ("a", 1)):
        for vary in ("", ", 'x'"):
            source = "{% cache 60, name" + vary + " %}{{ count() }}{% endcache %}"
            first = room.render(source, name=name)
            assert room.render(source, name=name) == first, name
            assert room.render(source, name=f"not {name}") != first, name


class User:
    """A visitor who has no text but an address, which is that of the last one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return "<tests.User object at 0x7f0000000000>"


@cases(
    "timeout,ask",
    itertools.product(
        [60, "'del'"], ["'x', user", "'x', [user]", "user", "'x', user ~ ''", "'x', proxy"]
    ),
    ways=PACES,
)
def test_a_fragment_is_never_that_of_a_user_whose_address_comes_again(
    any_room: Room, ask: str, timeout: Any
) -> None:
    """It is rendered for each of them, and one warning says why."""
    source = f"{{% cache {timeout}, {ask} %}}{{{{ user.name }}}}{{% endcache %}}"
    names = ["ann", "bob", "cem"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in names:
            user = User(name)
            proxy = LocalProxy(lambda: user)  # noqa: B023
            assert any_room.render(source, user=user, proxy=proxy) == name
    assert [w.category for w in caught] == [AddressKeyWarning]
    assert "fragment" in str(caught[0].message)


def test_a_part_without_a_text_makes_no_key() -> None:
    """So there is none to delete by."""
    for part in (User("ann"), [User("ann")], "<tests.User object at 0x7f0000000000>", object()):
        with pytest.raises(InvalidKeyError, match="id"):
            make_template_fragment_key("name", [part])


def test_what_the_text_of_a_part_leaves_out_counts() -> None:
    """An array shows its ends, and a secret nothing."""

    def middle(number: int) -> Any:
        made = numpy.zeros(5000)
        made[2500] = number
        return made

    makers: list[Any] = [middle, lambda n: pydantic.SecretStr(f"s{n}")]
    for make in makers:
        one, same, other = (make_template_fragment_key("name", [make(n)]) for n in (1, 1, 2))
        assert one == same != other


def test_a_fragment_is_gone_at_exactly_its_timeout(room: Room, clock: FakeClock) -> None:
    """Any expression that is a number of seconds."""
    for name, timeout in enumerate(["60", "'60'", "30 + 30", "minute"]):
        source = f"{{% cache {timeout}, {name} %}}{{{{ count() }}}}{{% endcache %}}"
        first = room.render(source, minute=60)
        clock.advance(59)
        assert room.render(source, minute=60) == first, timeout
        clock.advance(1)
        assert room.render(source, minute=60) == str(int(first) + 1), timeout


@pytest.mark.parametrize(("timeout", "life"), [("none", 300), ("0", 10**9)])
def test_none_is_the_default_timeout_and_0_never_expires(
    room: Room, clock: FakeClock, timeout: str, life: int
) -> None:
    """As everywhere."""
    source = "{% cache " + timeout + ", 'name' %}{{ count() }}{% endcache %}"
    room.render(source)
    clock.advance(299)
    assert room.render(source) == "1"
    clock.advance(10**9 - 299 if life > 300 else 1)
    assert room.render(source) == ("1" if life > 300 else "2")


def test_del_drops_the_fragment_and_renders_the_body(any_room: Room) -> None:
    """With the same name and values."""
    delete = "{% cache 'del', 'name' %}{{ count() }}{% endcache %}"
    assert [any_room.render(SOURCE), any_room.render(delete)] == ["1", "2"]
    assert [any_room.render(SOURCE), any_room.render(SOURCE)] == ["3", "3"]
    assert any_room.cache.get(make_template_fragment_key("name")) == "3"


@each_form
def test_markup_stays_markup(any_room: Room) -> None:
    """A hit is escaped no more and no less than a miss."""
    source = (
        "{% autoescape true %}{% set x %}{% cache 60, 'name' %}<b>{{ '<' }}</b>{% endcache %}"
        "{% endset %}{{ x }}{% endautoescape %}"
    )
    assert [any_room.render(source) for _ in range(3)] == ["<b>&lt;</b>"] * 3
    assert isinstance(any_room.cache.get(make_template_fragment_key("name")), Markup)


@each_form
def test_an_empty_fragment_is_a_fragment(any_room: Room) -> None:
    """It is not rendered again."""
    source = "{% cache 60, 'name' %}{% set x = count() %}{% endcache %}"
    assert [any_room.render(source) for _ in range(3)] == ["", "", ""]
    assert any_room.counted == 1


def test_an_error_in_the_body_reaches_the_page(room: Room) -> None:
    """The body was rendered once, and nothing is stored."""

    def fail() -> Any:
        room.count()
        raise LookupError("in the body")

    source = "{% cache 60, 'name' %}{{ fail() }}{% endcache %}"
    for number in (1, 2):
        with pytest.raises(LookupError, match="in the body"):
            room.render(source, fail=fail)
        assert room.counted == number


class Broken(BaseCache):
    """A backend of which some methods fail."""

    failing: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, Any] = {}

    def _may(self, name: str) -> None:
        if name in self.failing:
            raise OSError(name)

    def get(self, key: str) -> Any:
        self._may("get")
        return self.held.get(key)

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        self._may("set")
        self.held[key] = value
        return True

    def delete(self, key: str) -> bool:
        self._may("delete")
        return self.held.pop(key, None) is not None


@cases(
    "timeout,failing",
    itertools.product(["60", "'del'"], [("get",), ("set",), ("get", "set", "delete")]),
)
def test_the_body_is_rendered_once_whatever_the_backend_does(
    colour: str, failing: tuple[str, ...], timeout: str
) -> None:
    """L82: a dead backend costs no page its fragment."""
    backend = Broken()
    backend.failing = failing
    room = Room(colour, {"CACHE_TYPE": lambda *args: backend})
    source = "{% cache " + timeout + ", 'name' %}{{ count() }}{% endcache %}"
    assert [room.render(source), room.render(source)] == ["1", "2"]


@each_pace
def test_many_who_want_a_cold_fragment_render_it_once(any_room: Room) -> None:
    """A stampede of threads."""

    def slow() -> int:
        until(lambda: any_room.cache.stats().misses == 5)
        return any_room.count()

    source = "{% cache 60, 'name' %}{{ slow() }}{% endcache %}"
    assert at_once(5, lambda: any_room.render(source, slow=slow)) == ["1"] * 5


def test_many_tasks_who_want_a_cold_fragment_render_it_once(tmp_path: Any) -> None:
    """A stampede on one loop, with an async function in the body."""
    room = Room("async", config_for("FileSystemCache", tmp_path))

    async def slow() -> int:
        while room.cache.stats().misses < 5:
            await asyncio.sleep(0)
        return room.count()

    source = "{% cache 60, 'name' %}{{ slow() }}{% endcache %}"

    async def main() -> list[str]:
        return await asyncio.gather(*[room.arender(source, slow=slow) for _ in range(5)])

    assert asyncio.run(main()) == ["1"] * 5
    assert room.render(source, slow=slow) == "1"


@each_form
def test_fragments_nest(any_room: Room) -> None:
    """The inner one lives on when the outer one is dropped."""
    source = (
        "{% cache 60, 'outer' %}{{ count() }}"
        "{% cache 60, 'inner' %}{{ count() }}{% endcache %}{% endcache %}"
    )
    assert [any_room.render(source), any_room.render(source)] == ["12", "12"]
    any_room.cache.delete(make_template_fragment_key("outer"))
    assert any_room.render(source) == "32"


def test_a_fragment_in_a_loop_is_one_for_each_value(room: Room) -> None:
    """The loop's variable is there."""
    source = (
        "{% for n in numbers %}{% cache 60, 'name', n %}{{ n }}:{{ count() }} {% endcache %}"
        "{% endfor %}"
    )
    assert room.render(source, numbers=[1, 2, 1]) == "1:1 2:2 1:1 "
    assert room.render(source, numbers=[2, 3]) == "2:2 3:3 "


def test_a_view_with_fragments_works_in_its_colour(room: Room) -> None:
    """Through a real request; async code awaits ``render_async``."""

    def view() -> str:
        return render_template("page.html")

    async def aview() -> str:
        template = room.app.jinja_env.get_template("page.html")
        return await template.render_async()

    room.app.add_url_rule("/", "page", aview if room.is_async else view)
    client = room.app.test_client()
    assert [client.get("/").text.strip() for _ in range(3)] == ["<b>1</b>"] * 3


def test_each_app_has_fragments_of_its_own(colour: str) -> None:
    """One cache on two apps."""
    one, two = (
        Room(colour, {"CACHE_TYPE": "SimpleCache"}),
        Room(colour, {"CACHE_NO_NULL_WARNING": 1}),
    )
    one.cache.init_app(two.app, {"CACHE_TYPE": "SimpleCache"})
    assert [one.render(SOURCE), two.render(SOURCE), two.render(SOURCE)] == ["1", "1", "1"]
    with one.app.app_context():
        one.cache.delete(make_template_fragment_key("name"))
    assert [one.render(SOURCE), two.render(SOURCE)] == ["2", "1"]


def test_the_tag_is_left_out_on_request() -> None:
    """``with_jinja2_ext=False``."""
    app = Flask(__name__)
    Cache(app, with_jinja2_ext=False, config={"CACHE_TYPE": "SimpleCache"})
    assert not any("CacheExtension" in name for name in app.jinja_env.extensions)


@pytest.mark.parametrize("make", [Flask, Quart])
def test_options_of_templates_may_be_set_after_the_cache(make: Any) -> None:
    """They are read when the first template is; a cache that is set up later adds the tag, too."""
    app = make(__name__)
    first = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    app.jinja_options = {"trim_blocks": True, "line_statement_prefix": "#"}
    assert app.jinja_env.trim_blocks
    assert app.jinja_env.line_statement_prefix == "#"
    assert getattr(app.jinja_env, JINJA_CACHE_ATTR_NAME) is first
    last = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    assert getattr(app.jinja_env, JINJA_CACHE_ATTR_NAME) is last
    assert any("CacheExtension" in name for name in app.jinja_env.extensions)


def test_the_extension_works_in_an_environment_of_ones_own(cache: Cache) -> None:
    """Where its attribute names the cache."""
    environment = Environment(extensions=[CacheExtension])
    setattr(environment, JINJA_CACHE_ATTR_NAME, cache)
    seen: Iterator[int] = iter(range(9))
    template = environment.from_string("{% cache 60, 'x' %}{{ count() }}{% endcache %}")
    assert [template.render(count=lambda: next(seen)) for _ in range(2)] == ["0", "0"]


def test_a_fragment_in_a_cached_view_does_not_wait_for_itself(room: Room) -> None:
    """Also where both have the same key by accident."""
    view = room.cache.cached(key_prefix=make_template_fragment_key("name"))(
        lambda: render_template_string(SOURCE)
    )
    room.app.add_url_rule("/", "page", view)
    assert at_once(1, lambda: room.app.test_client().get("/").text) == ["1"]
