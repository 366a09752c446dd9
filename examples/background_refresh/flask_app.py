"""Pages that take half a second, of which no visitor should notice anything.

Serve it with ``gunicorn --workers 2 --threads 8 'flask_app:create_app()'``. The cache is set by the
environment: ``FLASK_CACHE_TYPE=RedisCache``, for example.
"""

import os
import time
from datetime import datetime

from flask import Blueprint, Flask, request

from flask_caching_async import Cache

SLOW = 0.5  # seconds that everything here takes to compute
pages = Blueprint("pages", __name__)
cache = Cache()


def compute(name: str) -> str:
    """Something slow, which says when it was computed, and by which process."""
    time.sleep(SLOW)
    return f"{name} of {datetime.now():%T.%f}, by process {os.getpid()}"


# Fresh for a second. Then visitors get the old page, and one refresh runs in a thread.
@pages.get("/news")
@cache.cached(timeout=1, stale_while_revalidate=600)
def news() -> str:
    return compute("news")


# Fresh for long; a job renews it, by a request with this header or by prices.refresh().
@pages.get("/prices")
@cache.cached(timeout=3600, forced_update=lambda: "X-Refresh" in request.headers)
def prices() -> str:
    return compute("prices")


# When it has expired, a visitor waits for the new page, but not longer than 0.1 seconds.
@pages.get("/weather")
@cache.cached(timeout=1, stale_if_error=600, soft_timeout=0.1)
def weather() -> str:
    return compute("weather")


@cache.memoize(timeout=60)
def rate(currency: str) -> str:
    return compute(currency)


# Computed again half a second after the last time, by one of all workers. There is no app yet:
# it begins in create_app(), so in each worker.
cache.refresh_every(0.5, rate, "EUR")


@pages.get("/rate")
def show_rate() -> str:
    return rate("EUR")


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["CACHE_TYPE"] = "SimpleCache"
    app.config.from_prefixed_env()  # FLASK_CACHE_TYPE and so on
    app.register_blueprint(pages)
    cache.init_app(app)
    return app
