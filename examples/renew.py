"""A command that renews a page which a server shows: ``flask --app examples/renew renew``.

``flask --app examples/renew run`` serves it. A timer of the system may call the command.
"""

import time

from flask import Flask

from flask_caching_async import Cache

cache = Cache()


@cache.cached(timeout=3600)
def prices():
    time.sleep(1)  # slow, but never for a visitor if the timer calls more often than hourly
    return f"prices of {time.ctime()}"


def create_app():
    app = Flask(__name__)
    # The command is a process of its own: the cache must be one that it shares with the server.
    app.config["CACHE_TYPE"] = "FileSystemCache"
    app.config["CACHE_DIR"] = f"{app.instance_path}/cache"
    app.config.from_prefixed_env()
    cache.init_app(app)
    app.add_url_rule("/prices", view_func=prices)

    @app.cli.command("renew")
    def renew():
        """Compute the prices now, and put them into the cache."""
        print(prices.refresh(path="/prices"))

    return app
