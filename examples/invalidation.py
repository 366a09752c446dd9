"""Four ways to drop what is stored: a key, a page, a function's results, a tag.

Run it with ``python examples/invalidation.py``.
"""

from flask import Flask, request

from flask_caching_async import Cache

app = Flask(__name__)
cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
titles = {1: "Emma", 2: "Ulysses"}


def tags_of(book: int) -> list[str]:
    """Tags of a call may depend on its arguments."""
    return ["books", f"book:{book}"]


@cache.memoize(tags=tags_of)
def title(book: int) -> str:
    return titles[book]


@app.get("/books/<int:book>")
@cache.cached(query_string=True, tags=tags_of)
def show(book: int) -> str:
    return f"{title(book)}, page {request.args.get('page', '1')}"


@app.get("/books")
@cache.cached(tags="books")
async def index() -> str:
    return ", ".join(title(book) for book in sorted(titles))


@app.post("/books/<int:book>/<name>")
def rename(book: int, name: str) -> str:
    titles[book] = name
    cache.delete_tags(f"book:{book}")  # this book's pages and title, whatever their keys are
    cache.delete_cached(index)  # every page of this view
    return "renamed"


def main() -> None:
    client = app.test_client()

    def look(what: str) -> None:
        pages = [client.get(url).text for url in ("/books", "/books/1", "/books/1?page=2")]
        print(f"{what:28}", *pages, sep=" | ")

    look("at first")
    titles[1] = "Persuasion"
    look("changed behind its back")
    client.post("/books/1/Mansfield Park")
    look("renamed, with delete_tags")

    titles[1] = "Sanditon"
    cache.delete_memoized(title, 1)  # this call; delete_memoized(title) drops them all
    cache.delete_cached(show, path="/books/1")  # this page, with all its query strings
    look("delete_memoized, one page")
    cache.delete("view//books")  # a page's key is "view/" and its path
    look("delete, by key")

    titles[1] = "Northanger Abbey"
    cache.delete_tags("books")
    look("delete_tags('books')")


if __name__ == "__main__":
    main()
