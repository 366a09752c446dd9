"""The app of the tutorial, in one file.

``flask --app first_app run`` serves it; ``python first_app.py`` visits it, and prints what it sees.
"""

import asyncio

from flask import Flask, request

from flask_caching_async import Cache

app = Flask(__name__)
cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})

calls = []


@app.get("/hello")
@cache.cached(timeout=60)
def hello():
    calls.append("hello")
    return f"call {len(calls)}"


@app.get("/async")
@cache.cached(timeout=60)
async def hello_async():
    calls.append("hello_async")
    return f"call {len(calls)}"


@app.get("/search")
@cache.cached(query_string=True)
def search():
    return f"results for {request.args['q']}"


@cache.memoize(timeout=60)
def price(item, currency="eur"):
    calls.append(item)
    return f"{len(item)} {currency}"


@cache.memoize(timeout=60)
async def rate(currency):
    return {"usd": 1.1}[currency]


def main():
    client = app.test_client()
    print(client.get("/hello").text, client.get("/hello").text)
    print(client.get("/async").text, client.get("/async").text)
    print(client.get("/search?q=fish").text, client.get("/search?q=chips").text)

    print(price("apple"), price("apple", "eur"), price(item="apple", currency="usd"))
    print(asyncio.run(rate("usd")))

    cache.set("greeting", "hello", timeout=60)
    print(cache.get("greeting"), asyncio.run(cache.aget("greeting")))
    print(cache.get_or_set("total", lambda: sum(range(10))))

    cache.delete_cached(hello)
    print(client.get("/hello").text)
    cache.delete_memoized(price, "apple")
    cache.set("menu", "fish, chips", tags=["food"])
    cache.delete_tags("food")
    print(cache.get("menu"))

    print(cache.stats())


if __name__ == "__main__":
    main()
