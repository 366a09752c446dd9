"""The visitors that ``run.py`` sends to a site, and what is claimed of their waiting."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen

SLOW = 0.5  # seconds that the apps take to compute anything
VISITORS = 6
held: list[str] = []
failed: list[str] = []
pool = ThreadPoolExecutor(VISITORS + 1)


def claim(text: str, holds: bool) -> None:
    """Print a claim, and remember it if it does not hold."""
    print(f"  {'ok  ' if holds else 'FAIL'} {text}", flush=True)
    (held if holds else failed).append(text)


def get(url: str, **headers: str) -> tuple[str, float]:
    """A page, and the seconds that it took."""
    began = time.monotonic()
    with urlopen(Request(url, headers=headers), timeout=20) as response:
        return response.read().decode(), time.monotonic() - began


def visit(url: str, goes_on: Callable[[], bool]) -> tuple[set[str], float, str]:
    """Several visitors ask again and again: the pages that they saw, and the longest wait."""

    def visitor(_: int) -> list[tuple[str, float]]:
        visits = [get(url)]
        while goes_on():
            time.sleep(0.02)
            visits.append(get(url))
        return visits

    visits = [one for some in pool.map(visitor, range(VISITORS)) for one in some]
    slowest = max(seconds for _, seconds in visits)
    return {page for page, _ in visits}, slowest, f"{len(visits)} visits, {slowest:.3f} s at most"


def visit_for(seconds: float, url: str) -> tuple[set[str], float, str]:
    end = time.monotonic() + seconds
    return visit(url, lambda: time.monotonic() < end)


def check_stale_while_revalidate(url: str, seconds: float) -> None:
    print("stale_while_revalidate: pages expire each second, and nobody waits for the next one")
    page, first = get(url)
    print(f"       {page}: the very first visitor waited {first:.3f} s")
    pages, slowest, text = visit_for(seconds, url)
    claim(f"{text}, {len(pages)} editions", slowest < SLOW and len(pages) > 1)


def ask_for_update(url: str) -> str:
    """A job that renews a page by asking for it, with the header that forces it."""
    return get(url, **{"X-Refresh": "yes"})[0]


def check_job(url: str, what: str, job: Callable[[], str]) -> None:
    """A job renews a page that has not expired, while visitors come."""
    old, _ = get(url)
    print(f"{what}, while visitors get {old}")
    running = pool.submit(job)
    _, slowest, text = visit(url, lambda: not running.done())
    claim(text, slowest < SLOW)
    new, _ = get(url)
    claim(f"then all get {new}", new != old and new == running.result())


def check_soft_timeout(url: str) -> None:
    print("soft_timeout: whoever finds an expired page waits 0.1 s, and then gets the old one")
    old, _ = get(url)
    time.sleep(1.1)  # it is fresh for a second
    page, waited = get(url)
    claim(f"after {waited:.3f} s: {page}", page == old and waited < SLOW)
    time.sleep(2 * SLOW)
    new, _ = get(url)
    claim(f"later: {new}", new != old)


def check_refresh_every(url: str, seconds: float) -> None:
    print("refresh_every: one worker computes a rate again and again, before visitors need it")
    pages, slowest, text = visit_for(seconds, url)
    claim(f"{text}, {len(pages)} rates", slowest < SLOW and len(pages) > 1)
    processes = {page.rpartition(" ")[2] for page in pages}
    claim(f"they come from one process: {', '.join(processes)}", len(processes) == 1)
