"""A small bookshop. ``diff flask_app.py quart_app.py`` shows what changes."""

from flask import Flask, abort, make_response, render_template, request

from flask_caching_async import Cache, CachedResponse

app = Flask(__name__)
cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
titles = {1: "Ulysses", 2: "Emma"}
sold_out: set[int] = set()


@cache.memoize(timeout=60)
def find_title(book: int) -> str:
    return titles[book]  # a slow query


@app.get("/")
@cache.cached(timeout=60, query_string=True)
def index():
    found = [find_title(book) for book in titles]
    if request.args.get("order") == "title":
        found.sort()
    return render_template("books.html", titles=found)  # it has a {% cache %}


@app.get("/books/<int:book>")
@cache.cached(timeout=60, unless=lambda: "X-Editor" in request.headers)
def show(book: int):
    if book not in titles:
        abort(404)  # an answer, too: it is stored
    gone = book in sold_out
    response = make_response({"title": find_title(book), "sold out": gone})
    if gone:
        return CachedResponse(response, timeout=5)  # look again soon
    return response


def searched_words(*args: object, **kwargs: object) -> str:
    form = request.form
    return f"search {form['words'].lower()}"


@app.post("/search")
@cache.cached(timeout=60, make_cache_key=searched_words)
def search():
    form = request.form
    return [title for title in titles.values() if form["words"].lower() in title.lower()]


@app.post("/books/<int:book>")
def rename(book: int):
    data = request.get_json()
    titles[book] = data["title"]
    cache.delete_memoized(find_title, book)
    cache.delete_cached(index)
    cache.delete_cached(show, path=f"/books/{book}")
    cache.set("last change", data["title"])
    return "", 204


@app.get("/last")
def last_change():  # a def view stays as it is: Quart calls it in a thread
    return cache.get("last change") or "none"
