"""The rules alone: whose a page is by what it was made from, and by what its answer says."""

from __future__ import annotations

from typing import Any

from flask import Response
from werkzeug.exceptions import (
    Gone,
    MethodNotAllowed,
    NotFound,
    TooManyRequests,
    Unauthorized,
    UnavailableForLegalReasons,
)
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from flask_caching_async._flow.policy import Fate
from flask_caching_async._frameworks.responses import fate_of, is_public
from flask_caching_async.pages.inputs import Learned, values_of, variant_key
from flask_caching_async.pages.reads import Base, Reads
from flask_caching_async.pages.rules import PERSONAL, Keyed, judge, vary_of
from support.params import table


def request(path: str = "/works", **kwargs: Any) -> Request:
    """A request that nobody watches."""
    return Request(EnvironBuilder(path, **kwargs).get_environ())


def judged(
    *names: str,
    before: str = "",
    keyed: str = "",
    excused: str = "",
    changes: bool = False,
    persons: bool = True,
    public: bool = False,
) -> tuple[set[str], set[str]]:
    """What makes a page personal, and what selects it; names are given as words."""
    reads = Reads(Base(), frozenset(before.split()), set())
    reads.names, reads.changes = set(names), changes
    key = Keyed(request(), keyed.split())
    key.excused = set(excused.split())
    found = judge(reads, key, persons, public, "session")
    return {name for name, _, _ in found.personal}, set(found.selecting)


SELECTING = ("arg:page", "args", "header:x", "cookie:theme", "address", "host", "scheme")
PERSONS = ("session", "authorization", "cookies", "headers", "body", "environ")


@table("name", SELECTING)
def test_an_input_selects_unless_the_key_has_it(name: str) -> None:
    """Under any rule about persons."""
    assert judged(name) == judged(name, persons=False) == (set(), {name})
    assert judged(name, keyed=name) == (set(), set())


@table("name", PERSONS)
def test_what_is_one_visitors_makes_a_page_theirs_unless_it_is_excused(name: str) -> None:
    """By the key, by ``unless``, or by who knows better."""
    assert judged(name) == ({name}, set())
    assert judged(name, keyed=name) == judged(name, excused=name) == (set(), set())
    assert judged(name, persons=False) == (set(), set())


def test_everything_that_is_personal_has_a_word_and_a_remedy() -> None:
    """And is in the table above."""
    assert {*PERSONS, "changes", "argument"} == PERSONAL.keys()


@table(
    "name,keyed,expected",
    [
        ("session", "cookie:session", ""),
        ("session", "header:cookie", ""),
        ("session", "cookies", ""),
        ("session", "cookie:theme", "session"),
        ("cookie:session", "", "session"),
        ("cookie:session", "session", ""),
        ("cookie:theme", "session", "cookie:theme"),
        ("cookie:theme", "header:cookie", ""),
        ("cookies", "header:cookie", ""),
        ("cookies", "cookie:session", "cookies"),
        ("arg:page", "args", ""),
        ("args", "args", ""),
        ("args", "arg:page", "args"),
        ("arg:page", "arg:size", "arg:page"),
        ("header:authorization", "authorization", ""),
        ("authorization", "header:x", "authorization"),
        ("headers", "header:x", "headers"),
        ("body", "args", "body"),
        ("environ", "headers", "environ"),
    ],
)
def test_a_key_has_what_it_is_made_of(name: str, keyed: str, expected: str) -> None:
    """And what follows from that, but nothing more."""
    personal, selecting = judged(name, keyed=keyed)
    assert personal | selecting == set(expected.split())


@table(
    "before,keyed,personal,selecting",
    [
        ("", "", "", ""),
        ("session", "", "session by g.user", ""),
        ("cookie:session", "", "session by g.user", ""),
        ("cookie:theme", "", "cookie:theme by g.user", ""),
        ("authorization", "", "authorization by g.user", ""),
        ("header:x arg:page", "", "", "header:x arg:page"),
        ("session header:x", "session", "", "header:x"),
        ("session", "g.user", "session by g.user", ""),
        ("g.other request.more", "", "", ""),
    ],
)
def test_what_was_given_carries_what_had_been_read(
    before: str, keyed: str, personal: str, selecting: str
) -> None:
    """Whoever put it into ``g``, or on the request."""
    found = judged("g.user", before=before, keyed=keyed)
    assert found == ({personal} - {""}, set(selecting.split()))


def test_what_was_read_before_counts_only_through_what_was_given() -> None:
    """A page for members is theirs together."""
    assert judged("arg:page", before="session authorization") == (set(), {"arg:page"})


def test_a_change_of_the_response_is_personal() -> None:
    """What ``after_this_request`` was given."""
    assert judged(changes=True) == ({"changes"}, set())
    assert judged(changes=True, persons=False) == (set(), set())


def test_an_answer_that_says_public_excuses_authorization_alone() -> None:
    """RFC 9111, 3.5."""
    assert judged("authorization", public=True) == (set(), set())
    assert judged("session", public=True) == ({"session"}, set())
    assert judged("g.user", before="authorization", public=True) == (set(), set())


# --- what an answer says --------------------------------------------------------------------------


@table(
    "said,expected",
    [
        ([], set()),
        ([("Vary", "Accept")], {"header:accept"}),
        ([("vary", "A, X-B ,"), ("VARY", "x-c")], {"header:a", "header:x-b", "header:x-c"}),
        ([("Vary", "Host")], {"host"}),
        ([("Vary", "Accept"), ("Vary", "X-A, *")], {"*"}),
    ],
)  # fmt: skip
def test_vary_names_headers(said: list[tuple[str, str]], expected: set[str]) -> None:
    """In lists, in any case; ``*`` is more than all of them."""
    assert vary_of(said) == expected


STORED = (200, 203, 204, 301, 302, 307, 308, 404, 405, 410, 414, 451)
PASSED_ON = (206, 304, 400, 401, 402, 403, 406, 409, 411, 412, 413, 415, 416, 422, 425, 428, 429)


@table("status", [*STORED, *PASSED_ON, 500, 502, 503])
def test_a_status_says_whether_an_answer_is_for_others(status: int) -> None:
    """In each way to give one."""
    fate = Fate.STORE if status in STORED else Fate.UNCACHEABLE if status < 500 else Fate.FAIL
    for answer in (("", status), ("", str(status), {}), Response("", status)):
        assert fate_of(answer) is fate
        assert fate_of(answer, store_private=True) is fate


@table(
    "error,stored",
    [
        (NotFound, True), (Gone, True), (MethodNotAllowed, True),
        (UnavailableForLegalReasons, True), (Unauthorized, False), (TooManyRequests, False),
    ],
)  # fmt: skip
def test_an_error_is_an_answer(error: Any, stored: bool) -> None:
    """If it is everybody's."""
    assert (fate_of(error()) is Fate.STORE) is stored


@table(
    "name,content,stored",
    [
        ("Cache-Control", "max-age=60", True),
        ("Cache-Control", "public, max-age=60", True),
        ("Cache-Control", "must-revalidate", True),
        ("Cache-Control", "no-transform, s-maxage=0", True),
        ("Cache-Control", "max-age=0", False),
        ("cache-control", "MAX-AGE = 0", False),
        ("Cache-Control", "No-Cache", False),
        ("Cache-Control", 'no-cache="Set-Cookie"', False),
        ("Cache-Control", "max-age=60,no-store", False),
        ("Cache-Control", 'private="X-User"', False),
        ("Pragma", "no-cache", False),
        ("Pragma", "other", True),
        ("Set-Cookie", "a=b", False),
        ("set-cookie2", "a=b", True),
    ],
)
def test_a_header_says_whether_an_answer_is_for_others(
    name: str, content: str, stored: bool
) -> None:
    """Unless who knows better has turned that off."""
    for answer in (("", {name: content}), Response("", headers={name: content})):
        assert (fate_of(answer) is Fate.STORE) is stored
        assert fate_of(answer, store_private=True) is Fate.STORE


@table(
    "said,public",
    [("public", True), ("S-MAXAGE=5", True), ("max-age=5", False), ("publicly", False)],
)
def test_public_is_a_directive(said: str, public: bool) -> None:
    """Or ``s-maxage``."""
    assert is_public([("Cache-Control", "x"), ("cache-control", said)]) is public
    assert not is_public([("X-Cache-Control", said)])


# --- the values of inputs -------------------------------------------------------------------------


@table(
    "name,first,second",
    [
        ("arg:a", {"path": "/?a=1"}, {"path": "/?a=2"}),
        ("arg:a", {"path": "/?a"}, {"path": "/"}),
        ("arg:a", {"path": "/?a=1&a=2"}, {"path": "/?a=2&a=1"}),
        ("arg:a", {"path": "/?a=1&a=2"}, {"path": "/?a=1"}),
        ("arg:ä", {"path": "/?%C3%A4=1"}, {"path": "/"}),
        ("args", {"path": "/?a=1"}, {"path": "/?b=1"}),
        ("args", {"path": "/?a=1&a=2"}, {"path": "/?a=2&a=1"}),
        ("args", {"path": "/?a=1%26b=2"}, {"path": "/?a=1&b=2"}),
        ("header:x", {"headers": {"X": ""}}, {}),
        ("header:x", {"headers": {"X": "a"}}, {"headers": {"X": "b"}}),
        ("header:cookie", {"headers": {"Cookie": "a=b"}}, {}),
        ("cookie:a", {"headers": {"Cookie": "a=b"}}, {"headers": {"Cookie": "a=c"}}),
        ("cookie:a", {"headers": {"Cookie": "a=b; a=c"}}, {"headers": {"Cookie": "a=c; a=b"}}),
        ("host", {"base_url": "http://a"}, {"base_url": "http://b"}),
        ("host", {"base_url": "http://a:1"}, {"base_url": "http://a:2"}),
        ("scheme", {"base_url": "http://a"}, {"base_url": "https://a"}),
        ("address", {"environ_base": {"REMOTE_ADDR": "1"}}, {"environ_base": {"REMOTE_ADDR": "2"}}),
    ],
)
def test_two_values_have_two_keys(name: str, first: Any, second: Any) -> None:
    """And one has one, in each process."""
    keys = [variant_key("k", (name,), request(**given)) for given in (first, first, second)]
    assert keys[0] == keys[1] != keys[2]


def test_the_order_of_a_query_string_makes_no_difference() -> None:
    """But for several values of one name."""
    first, second = (request(f"/?{query}") for query in ("b=2&a=1&c", "c=&a=1&b=2"))
    assert values_of(first, ("args",)) == values_of(second, ("args",))


def test_keys_stay_the_same_from_version_to_version() -> None:
    """Two of them may share a store while one is replaced by the other."""
    asked = request("/?page=1", headers={"X-A": "b"})
    assert variant_key("view//", ("arg:page", "header:x-a"), asked) == (
        "view//|TyNF8_DCYBgS5DwXpfcexwAm1qk4XXOS"
    )


# --- what is learned ------------------------------------------------------------------------------


def test_a_key_grows_by_what_is_learned() -> None:
    """Level by level; each says what is in it."""
    learned, asked = Learned(5), request("/?a=1&b=2")
    assert learned.key_of("k", asked) == ("k", {})
    assert learned.learn("k", {"arg:a"}) == ("arg:a",)
    first, above = learned.key_of("k", asked)
    assert first == variant_key("k", ("arg:a",), asked) and above == {"k": ("arg:a",)}
    learned.learn(first, {"arg:b"})
    second, above = learned.key_of("k", asked)
    assert second == variant_key(first, ("arg:b",), asked)
    assert above == {"k": ("arg:a",), first: ("arg:b",)}
    assert learned.learn("k", {"arg:c"}) == ("arg:a", "arg:c")
    assert learned.key_of("k", asked)[0] not in (first, second)


def test_there_is_room_for_so_many_variants() -> None:
    """Then for what is asked for again, in the place of the oldest; what has ended makes room."""
    learned = Learned(2)
    assert [learned.admit("p", key, 0, 10) for key in "ab"] == ["", ""]
    assert learned.admit("p", "c", 1, 11) is None
    assert learned.admit("p", "a", 1, 11) == ""  # renewed, and so the youngest
    assert learned.admit("p", "c", 2, 12) == "b"
    assert learned.admit("p", "d", 11, 20) == ""  # what was there has ended
    assert learned.admit("q", "e", 0, 10) == ""
