"""That it was a page of ours that asked for a deletion, and not another site's.

A browser that comes for the first time gets a cookie with a random *seed*, for this path only. Each
form carries a token: a salt, and the HMAC of both under the app's ``secret_key``. Another site can
neither read the cookie nor make a token for one that it planted. An app without a ``secret_key``
has the double submission of the cookie left, and what browsers say themselves: ``Sec-Fetch-Site``
and ``Origin``. No state is kept, so any worker may answer; a salt for each page makes a token a
different text each time, so that nothing is learned from the length of compressed pages.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import secrets
from typing import NamedTuple
from urllib.parse import urlsplit

from werkzeug.http import dump_cookie

from ..._frameworks.asking import Asked

__all__ = ["Told", "came_from_elsewhere", "is_genuine", "read_told", "seed_cookie", "seed_of"]
__all__ += ["made_token", "told_cookie"]

#: The cookies of the seed, and of what is to be said on the next page.
SEED, TOLD = "flask_caching_dashboard", "flask_caching_dashboard_told"
#: Seconds for which something is said; a browser loads the next page at once.
TOLD_FOR = 60
#: The most characters that are said: browsers take cookies of 4,096.
TOLD_LENGTH = 600

_SEED = re.compile(r"[\w-]{43}", re.ASCII)


class Told(NamedTuple):
    """What is said of an action on the page that comes after it."""

    ok: bool
    text: str


def seed_of(asked: Asked) -> str | None:
    """The seed that the browser has, if it has one."""
    seed = asked.cookies.get(SEED, "")
    return seed if _SEED.fullmatch(seed) else None


def seed_cookie(asked: Asked, seed: str) -> tuple[str, str]:
    """The header that gives a browser its seed."""
    return _cookie(asked, SEED, seed, None)


def _cookie(asked: Asked, name: str, value: str, age: int | None) -> tuple[str, str]:
    # Without a path: it is for the folder of the page, as the browser sees it behind a proxy, too.
    text = dump_cookie(
        name, value, max_age=age, path=None, secure=asked.is_secure, httponly=True,
        samesite="Strict",
    )  # fmt: skip
    return "Set-Cookie", text


def _signed(asked: Asked, seed: str, what: str, text: str) -> str:
    message = "\0".join((what, seed, text)).encode()
    return hmac.digest(asked.secret, message, "sha256").hex()


def made_token(asked: Asked, seed: str) -> str:
    """A token for the forms of one page."""
    salt = secrets.token_urlsafe(12)
    return f"{salt}.{_signed(asked, seed, 'form', salt)}"


def is_genuine(asked: Asked) -> bool:
    """Whether a form carries a token that was made for this browser."""
    seed = seed_of(asked)
    salt, _, mac = asked.form.get("token", "").partition(".")
    if seed is None or not salt:
        return False
    return hmac.compare_digest(_signed(asked, seed, "form", salt).encode(), _bytes(mac))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def came_from_elsewhere(asked: Asked) -> str:
    """The site that a form was sent from, if the browser says that it was another one; else ""."""
    site, origin = asked.headers.get("sec-fetch-site"), asked.headers.get("origin")
    if site is not None:  # what the browser knows itself, whatever proxies make of names
        return "" if site in ("same-origin", "none") else (origin or site)
    if origin is None:
        return ""
    return "" if urlsplit(origin).netloc.lower() == asked.host.lower() else origin


# --- what is said on the next page ----------------------------------------------------------------


def told_cookie(asked: Asked, told: Told | None) -> tuple[str, str]:
    """The header by which the next page of this browser says something; ``None`` takes it back."""
    if told is None:
        return _cookie(asked, TOLD, "", 0)
    text = told.text if len(told.text) <= TOLD_LENGTH else told.text[: TOLD_LENGTH - 1] + "…"
    data = json.dumps([told.ok, text], ensure_ascii=False).encode(errors="replace")
    value = base64.urlsafe_b64encode(data).decode().rstrip("=")
    mac = _signed(asked, seed_of(asked) or "", "told", value)
    return _cookie(asked, TOLD, f"{value}.{mac}", TOLD_FOR)


def read_told(asked: Asked) -> Told | None:
    """What is to be said on this page: nothing that was not signed here."""
    value, _, mac = asked.cookies.get(TOLD, "").partition(".")
    signed = _signed(asked, seed_of(asked) or "", "told", value)
    if not value or not hmac.compare_digest(signed.encode(), _bytes(mac)):
        return None
    try:
        ok, text = json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    except ValueError:  # of an app without a secret_key, anybody may sign
        return None
    return Told(bool(ok), str(text))
