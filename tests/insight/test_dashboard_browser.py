"""The dashboard in a headless Chromium, with real clicks and keys.

All of it is skipped where there is no browser; ``make test`` installs one where it can.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from flask_caching_async import Cache
from flask_caching_async.insight.dashboard import dashboard
from support.chromium import PROGRAM, Chromium, Page

MISSING = "no Chromium is installed (Debian, Ubuntu: apt-get install chromium)"
pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)

WIDTHS = (400, 1400)
LONG = "a_name_that_is_much_longer_than_what_a_narrow_screen_has_room_for_in_one_line" * 2
EVIL = "<script>window.evil = true</script>"


class Shop:
    """An app that is served by a thread of this process.

    :ivar allowed: whether visitors are let in.
    """

    def __init__(self) -> None:
        app = Flask("shop")
        self.allowed, self.computed = True, 0
        self.cache = cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})

        @app.get("/works/<int:number>")
        @cache.cached()
        def works(number: int) -> str:
            self.computed += 1
            return f"work {number}"

        app.register_blueprint(dashboard(cache, authorize=lambda: self.allowed))
        self.view = next(iter(cache._views)).name
        self.functions = [self.memoized(name) for name in ("alpha", "beta", EVIL, LONG)]
        self.client = app.test_client()
        self.server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}/cache/"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def memoized(self, name: str) -> Callable[[int], int]:
        """A memoized function of this name."""

        def function(number: int) -> int:
            return number

        function.__module__, function.__qualname__, function.__name__ = "lab", name, name
        return self.cache.memoize()(function)

    def use(self) -> None:
        """Call each function, one more often than the one before."""
        for calls, function in enumerate(self.functions, 1):
            for _ in range(calls):
                function(1)
        self.client.get("/works/1")


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """One browser."""
    with Chromium() as browser:
        yield browser


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A shop that is open, and whose werkzeug says nothing."""
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    shop = Shop()
    shop.use()
    yield shop
    shop.server.shutdown()
    shop.server.server_close()


@pytest.fixture
def page(browser: Chromium, shop: Shop) -> Iterator[Page]:
    """The dashboard in a browser; at the end, the browser must have nothing to complain of."""
    page = browser.page()
    page.open(shop.url)
    yield page
    assert page.complaints() == []
    elsewhere = [u for u in page.requested() if not u.startswith((shop.url, "data:", "about:"))]
    assert elsewhere == []
    assert page.run("window.evil") is None
    page.close()


def names(page: Page) -> list[str]:
    """The names in the table, from top to bottom."""
    found: list[str] = page.run(
        "[...document.querySelectorAll('#table tbody tr')].map(r => r.dataset.name)"
    )
    return found


def sorted_by(page: Page) -> list[Any]:
    """By which column the table says that it is sorted, and how."""
    found: list[Any] = page.run(
        "[...document.querySelectorAll('th[aria-sort]')].map(h => [h.dataset.key, h.ariaSort])"
    )
    return found


def test_a_click_on_a_head_sorts_the_table(page: Page, shop: Shop) -> None:
    """Without loading the page; a second click turns it round."""
    by_name = sorted([shop.view, "lab.alpha", "lab.beta", f"lab.{EVIL}", f"lab.{LONG}"])
    page.run("window.isStillThere = true")
    page.click("th[data-key=name] button")
    assert names(page) == by_name and sorted_by(page) == [["name", "ascending"]]
    page.click("th[data-key=name] button")
    assert names(page) == by_name[::-1] and sorted_by(page) == [["name", "descending"]]
    page.click("th[data-key=calls] button")
    assert names(page)[0] == f"lab.{LONG}" and sorted_by(page) == [["calls", "descending"]]
    assert page.run("window.isStillThere")


def test_the_keyboard_reaches_all_and_shows_where_it_is(page: Page) -> None:
    """First a way past the head, then the table's heads, which sort, then the buttons."""
    page.press("Tab")
    assert page.run("document.activeElement.className") == "skip"
    assert page.run("document.activeElement.getBoundingClientRect().top") >= 0
    page.press("Enter")
    page.tab_to("th[data-key=hits] button", 8)
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("Enter")
    assert sorted_by(page) == [["hits", "descending"]]
    page.press(" ")
    assert sorted_by(page) == [["hits", "ascending"]]
    for selector in ("a.use", "#key", "#key + button", "#tag", "summary"):
        page.tab_to(selector)


def test_the_figures_change_without_loading_the_page(page: Page, shop: Shop) -> None:
    """Those of the table and above it, with new rows, and the charts get points."""
    page.run("window.isStillThere = true")
    cell = "document.querySelector('tr[data-name=\"lab.alpha\"] [data-key=calls]').textContent"
    assert page.run(cell) == "1"
    page.until("document.querySelector('#live.on')")
    row = "[...document.querySelectorAll('tr[data-name=\"lab.beta\"] td')].map(c => c.textContent)"
    page.run("ask()")
    before = page.run(row)
    for _ in range(1200):
        shop.functions[0](1)
    shop.memoized("gamma")(1)
    page.until(f"{cell} === '1,201'")
    assert "lab.gamma" in names(page)
    page.until("document.querySelector('#ratio-chart .point')")
    page.until("document.querySelector('[data-tile=calls]').textContent.startsWith('1,2')")
    page.open(shop.url)  # the server writes numbers as the script has
    assert page.run(row) == before
    assert page.run("document.querySelectorAll('#ratio-chart .point').length") > 0  # they are kept


def test_a_lost_connection_and_a_lost_session_are_told(page: Page, shop: Shop) -> None:
    """And that it is there again."""
    there = "ask() && document.querySelector('#lost').hidden"
    told = "ask() && document.querySelector('#lost').textContent.includes"
    page.forgive("403", "ERR_INTERNET_DISCONNECTED")
    page.until(there)
    shop.allowed = False
    page.until(f"{told}('not signed in any more')")
    shop.allowed = True
    page.until(there)
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.send("Network.emulateNetworkConditions", offline=True, **network)
    page.until(f"{told}('The app does not answer')")
    assert page.run("document.querySelector('#live').className") == "live off"
    page.send("Network.emulateNetworkConditions", offline=False, **network)
    page.until(there)


def test_the_buttons_delete_and_refresh(page: Page, shop: Shop) -> None:
    """By real clicks, from the name in the table to the key that is gone."""
    page.click_away(f"tr[data-name='{shop.view}'] a")
    assert page.run("document.querySelector('#use .name').textContent") == shop.view
    page.run("document.querySelector('#refresh-path').focus()")
    page.type("/works/1")
    page.click_away("#refresh-path + button")
    told = "document.querySelector('#told').textContent"
    assert page.run(told) == "Computed /works/1 anew, and stored it." and shop.computed == 2
    assert shop.cache.get("view//works/1") is not None
    page.click_away("table.keys button")
    assert page.run(told) == "Deleted 'view//works/1'."
    assert shop.cache.get("view//works/1") is None
    shop.client.get("/works/2")
    page.click_away("[aria-describedby=delete-all-label]")
    assert page.run(told) == f"Dropped all that {shop.view} had stored."
    assert shop.cache.get("view//works/2") is None


def test_clearing_asks_first(page: Page, shop: Shop) -> None:
    """It is folded away, and wants a tick; by the keyboard, too."""
    shop.cache.set("x", 1)
    page.click("summary")
    ready = "document.querySelector('details form').checkValidity()"
    assert not page.run(ready)
    page.click("[name=confirmed]")
    page.until(ready)
    page.run("window.isOld = true")
    page.tab_to("details button", 2)
    page.press("Enter")
    page.loaded()
    assert page.run("document.querySelector('#told').textContent").startswith("Cleared")
    assert shop.cache.get("x") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_hangs_over_the_edge_and_all_can_be_read(
    page: Page, shop: Shop, width: int, scheme: str
) -> None:
    """Long names or not, with all about one use open; texts have a contrast of 4.5 at least."""
    page.look(width, 900, scheme)
    for asked in (
        "",
        f"?kind=function&name=lab.{LONG}",
        f"?kind=view&name={shop.view}&path=/works/1",
    ):
        page.open(shop.url + asked)
        wide, room = page.run("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= room == width, asked
        assert page.run(CONTRASTS) == [], asked
    dark = page.run("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(17, 20, 26)") is (scheme == "dark")


#: Texts whose colour is too near to what lies below them.
CONTRASTS = """(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92
    : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const below = (node) => {
    for (; node; node = node.parentElement) {
      const found = parse(getComputedStyle(node).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), bad = [];
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const colour = node instanceof SVGElement ? style.fill : style.color;
    const [one, other] = [light(parse(colour)), light(below(node))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) bad.push([walker.currentNode.textContent, ratio]);
  }
  return bad;
})()"""


def test_all_works_without_a_script(browser: Chromium, shop: Shop) -> None:
    """The table is there and can be sorted, and the buttons are forms."""
    page = browser.page()
    page.disable_scripts()
    page.open(shop.url)
    text = page.run("document.body.innerText")
    assert "lab.beta" in text and "need JavaScript" in text
    assert page.run("document.querySelector('#charts').checkVisibility()") is False
    page.click_away("th[data-key=name] button")
    assert names(page)[0] == f"lab.{EVIL}" or names(page)[-1] == f"lab.{EVIL}"
    assert sorted_by(page) == [["name", "descending"]]
    page.click_away("th[data-key=name] button")
    assert sorted_by(page) == [["name", "ascending"]]
    shop.cache.set("x", 1)
    page.click("#key")
    page.type("x")
    page.click_away("#key + button")
    assert page.run("document.querySelector('#told').textContent") == "Deleted 'x'."
    assert shop.cache.get("x") is None
    page.click("summary")
    page.click("[name=confirmed]")
    page.click_away("details button")
    assert page.run("document.querySelector('#told').textContent").startswith("Cleared")
    assert page.complaints() == []
    page.close()
