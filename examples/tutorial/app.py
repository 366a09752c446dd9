"""An app that stores what it is sent. Which of its workers can read it back?

Where the cache is, the environment says: ``run.py`` sets it. To try it by hand::

    $ FLASK_CACHE_TYPE=FileSystemCache FLASK_CACHE_DIR=/tmp/pages gunicorn --workers 4 app:app
    $ curl --json '{"key": "fruit", "value": "apple", "timeout": 60}' localhost:8000/cache
    $ curl localhost:8000/cache/fruit
"""

import os
from typing import Any

from flask import Flask, request

from flask_caching_async import Cache

app = Flask(__name__)
app.config["CACHE_TYPE"] = "SimpleCache"
app.config.from_prefixed_env()  # FLASK_CACHE_TYPE is CACHE_TYPE, and so on
cache = Cache(app)


@app.get("/")
def about() -> dict[str, Any]:
    return {"worker": os.getpid(), "backend": app.config["CACHE_TYPE"]}


@app.post("/cache")
def store() -> tuple[dict[str, Any], int]:
    sent = request.get_json()
    stored = cache.set(sent["key"], sent["value"], timeout=sent.get("timeout"))
    return {"worker": os.getpid(), "stored": stored}, 201 if stored else 503


@app.get("/cache/<key>")
def read(key: str) -> tuple[dict[str, Any], int]:
    value = cache.get(key)
    return {"worker": os.getpid(), "value": value}, 404 if value is None else 200
