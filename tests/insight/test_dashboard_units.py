"""How the dashboard writes numbers for people, and what it says for long."""

from __future__ import annotations

from flask_caching_async._frameworks.asking import Asked
from flask_caching_async.insight.dashboard import units
from flask_caching_async.insight.dashboard.tokens import SEED, TOLD, Told, read_told, told_cookie
from support.params import table


def plain(text: str) -> str:
    """With ordinary spaces."""
    return text.replace("\u00a0", " ")


@table(
    "seconds,text",
    [
        (None, "–"), (0, "–"), (85e-9, "85 ns"), (1.24e-6, "1.2 µs"), (3e-6, "3 µs"),
        (9.96e-6, "10 µs"), (999.4e-6, "999 µs"), (999.6e-6, "1 ms"), (0.0126, "13 ms"),
        (1.5, "1.5 s"), (3600, "3,600 s"),
    ],
)  # fmt: skip
def test_a_duration_is_in_the_unit_that_fits(seconds: float | None, text: str) -> None:
    """With two or three digits."""
    assert plain(units.duration(seconds)) == text


@table("ratio,text", [
    (None, "–"), (0, "0 %"), (0.0001, "0.1 %"), (0.5, "50.0 %"), (0.9999, "99.9 %"), (1, "100 %"),
])  # fmt: skip
def test_a_share_is_all_or_nothing_only_if_it_is(ratio: float | None, text: str) -> None:
    """One miss among a million hits is seen."""
    assert plain(units.percent(ratio)) == text


@table("seconds,text", [
    (None, "–"), (0.4, "0 s"), (59.6, "1 min"), (7500, "2 h 5 min"), (86400 * 3 + 5, "3 d"),
    (-3, "−3 s"),
])  # fmt: skip
def test_a_span_has_two_units_at_most(seconds: float | None, text: str) -> None:
    """The largest ones."""
    assert plain(units.span(seconds)) == text


def test_sizes_counts_and_moments_are_for_people() -> None:
    """Thousands are set apart."""
    assert [plain(units.size(n)) for n in (0, 640, 12_400, 3_100_000)] == [
        "–", "640 B", "12 kB", "3.1 MB"
    ]  # fmt: skip
    assert units.count(1234567) == "1,234,567"
    assert units.moment(0) == "1970-01-01 00:00:00 UTC"


def test_what_is_said_fits_into_a_cookie() -> None:
    """However long the text of an error is, in whatever script."""
    seed = "s" * 43
    asked = Asked("POST", "act", {}, {}, {SEED: seed}, {}, "localhost", True, b"secret")
    _, header = told_cookie(asked, Told(False, "\U0001f40d" * 9000))
    assert len(header) < 4096
    value = header.partition(";")[0].partition("=")[2]
    told = read_told(asked._replace(cookies={SEED: seed, TOLD: value}))
    assert told is not None and told.text.endswith("…") and not told.ok
    assert read_told(asked._replace(cookies={SEED: seed, TOLD: value + "0"})) is None
    assert read_told(asked._replace(cookies={SEED: "t" * 43, TOLD: value})) is None
