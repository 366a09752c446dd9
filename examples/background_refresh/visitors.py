"""The visitors that ``run.py`` sends to a site, and what is claimed of their waiting."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from urllib.request import Request, urlopen

SLOW = 0.5  # seconds that the apps take to compute anything
PATIENCE = 20  # seconds after which something that should have happened counts as failed
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
    with urlopen(Request(url, headers=headers), timeout=PATIENCE) as response:
        return response.read().decode(), time.monotonic() - began


def waited(page: str, asked: datetime) -> bool:
    """Whether a page was computed for who asked then. It says itself when it was computed."""
    computed = datetime.strptime(page.split()[2], "%H:%M:%S.%f,").time()
    later = (datetime.combine(asked, computed) - asked).total_seconds()
    return SLOW <= later < 12 * 3600  # more: it was computed before midnight


def visit(url: str, goes_on: Callable[[set[str]], bool]) -> tuple[set[str], bool, str]:
    """Several visitors ask again and again: the pages that they saw, and whether any had to wait.

    How long an answer takes says little where the machine is busy.
    """
    pages: set[str] = set()

    def visitor(_: int) -> list[tuple[bool, float]]:
        visits = []
        while not visits or goes_on(pages):
            asked = datetime.now()
            page, seconds = get(url)
            pages.add(page)
            visits.append((waited(page, asked), seconds))
            time.sleep(0.02)
        return visits

    visits = [one for some in pool.map(visitor, range(VISITORS)) for one in some]
    slowest = max(seconds for _, seconds in visits)
    text = f"{len(visits)} visits, {slowest:.3f} s at most"
    return pages, any(had_to for had_to, _ in visits), text


def visit_for(seconds: float, url: str) -> tuple[set[str], bool, str]:
    """For so long, and until there was something new."""
    began = time.monotonic()

    def goes_on(pages: set[str]) -> bool:
        return time.monotonic() < began + (PATIENCE if len(pages) < 2 else seconds)

    return visit(url, goes_on)


def check_stale_while_revalidate(url: str, seconds: float) -> None:
    print("stale_while_revalidate: pages expire each second, and nobody waits for the next one")
    page, first = get(url)
    print(f"       {page}: the very first visitor waited {first:.3f} s")
    pages, any_waited, text = visit_for(seconds, url)
    claim(f"{text}, {len(pages)} editions", not any_waited and len(pages) > 1)


def ask_for_update(url: str) -> str:
    """A job that renews a page by asking for it, with the header that forces it."""
    return get(url, **{"X-Refresh": "yes"})[0]


def check_job(url: str, what: str, job: Callable[[], str]) -> None:
    """A job renews a page that has not expired, while visitors come."""
    old, _ = get(url)
    print(f"{what}, while visitors get {old}")
    running = pool.submit(job)
    _, any_waited, text = visit(url, lambda pages: not running.done())
    claim(text, not any_waited)
    new, _ = get(url)
    claim(f"then all get {new}", new != old and new == running.result())


def check_soft_timeout(url: str) -> None:
    print("soft_timeout: whoever finds an expired page waits 0.1 s, and then gets the old one")
    old, _ = get(url)
    time.sleep(1.1)  # it is fresh for a second
    page, seconds = get(url)
    claim(f"after {seconds:.3f} s: {page}", page == old)
    pages, _, _ = visit_for(0, url)
    claim(f"later: {max(pages)}", len(pages) > 1)


def check_refresh_every(url: str, seconds: float) -> None:
    print("refresh_every: one worker computes a rate again and again, before visitors need it")
    pages, any_waited, text = visit_for(seconds, url)
    claim(f"{text}, {len(pages)} rates", not any_waited and len(pages) > 1)
    processes = {page.rpartition(" ")[2] for page in pages}
    claim(f"they come from one process: {', '.join(processes)}", len(processes) == 1)
