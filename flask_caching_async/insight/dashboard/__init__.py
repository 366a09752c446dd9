"""The dashboard: what a cache does, live in a browser, and buttons to delete and to refresh.

::

    from flask_caching_async.insight.dashboard import dashboard

    app.register_blueprint(dashboard(cache, authorize=is_admin), url_prefix="/cache")

One page for Flask and Quart. It is off unless it is registered, and lets nobody in whom
``authorize`` does not. What stands in it is made here, in steps that know no framework:

* ``site.py``: which page answers a request, and its headers;
* ``figures.py``: the numbers, for the page and for its script;
* ``known_keys.py``: what is known of the keys of a view or a function;
* ``actions.py``: what the buttons do, and what is said of it;
* ``tokens.py``: that it was the page itself that asked;
* ``units.py``: numbers for people;
* ``files/``: the page, its style and its script.
"""

from __future__ import annotations

import inspect
from typing import cast

from ..._frameworks.blueprints import Guarded
from ...exceptions import ConfigurationError
from ...typing import Callback, Value
from .site import Site

__all__ = ["dashboard"]

#: What to write where something is missing or wrong.
EXAMPLE = "dashboard(cache, authorize=lambda: current_user.is_authenticated and current_user.admin)"


def dashboard(
    cache: Value,
    authorize: Callback | None = None,
    *,
    name: str = "cache_dashboard",
    url_prefix: str = "/cache",
) -> Guarded:
    """A blueprint with a page that shows what a cache does, and lets it be operated.

    Register it on an app of Flask or of Quart. For a second cache, or a second time, give it
    another ``name`` and another ``url_prefix``.

    :param cache: the :class:`.Cache`.
    :param authorize: called without arguments in each request; may be async. The visitor is let in
        if it returns something true, and gets 403 else. A response that it returns (or what a view
        may return as one: a text, a dict, a tuple) is sent instead. If it raises, nothing is shown.
    :param name: that of the blueprint.
    :param url_prefix: where it is; ``register_blueprint(…, url_prefix=…)`` wins.
    :raises ConfigurationError: without an ``authorize`` that can be called without arguments.
    :raises TypeError: if the first argument is no cache.
    """
    if not hasattr(cache, "shared_stats"):
        raise TypeError(f"dashboard() is given a Cache, as in {EXAMPLE}, not {cache!r}")
    check_authorize(authorize)
    return Guarded(Site(cache), cast(Callback, authorize), name, url_prefix)


def check_authorize(authorize: Value) -> None:
    """Refuse what cannot say who is let in.

    :raises ConfigurationError: for it; says what to write.
    """
    if authorize is None:
        raise ConfigurationError(
            f"the dashboard shows and deletes what is cached: say who may, as in {EXAMPLE}"
        )
    if not callable(authorize):
        raise ConfigurationError(
            f"authorize is called in each request, and {authorize!r} cannot be: write {EXAMPLE}"
        )
    try:
        inspect.signature(authorize).bind()
    except ValueError:  # some builtins have no signature
        return
    except TypeError as error:
        raise ConfigurationError(
            f"authorize is called without arguments, and {authorize!r} wants some ({error}): "
            f"write {EXAMPLE}"
        ) from None
