import asyncio
import time

from flask import Flask

from flask_caching_async import Cache

app = Flask(__name__)
cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})


@app.get("/sync")
@cache.cached(timeout=60)
def sync_view():
    time.sleep(1)  # slow, once a minute
    return f"computed at {time.ctime()}"


@app.get("/async")
@cache.cached(timeout=60, stale_while_revalidate=600)
async def async_view():
    await asyncio.sleep(1)  # after the first time, nobody waits for this
    return f"computed at {time.ctime()}"
