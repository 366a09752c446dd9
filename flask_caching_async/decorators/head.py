"""HEAD, where a page is made for GET.

Flask and Quart call the view of a GET for a HEAD, too, and leave out the body afterwards. So both
share one entry, unless the view has an answer of its own for HEAD: a ``head`` method of its class,
or code that looks at the method of the request. Then HEAD goes past the cache.

A function that the view calls, or a template, may look at the method as well. So what is computed
for both is computed as a GET.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from types import CodeType

from .._flow.callbacks import called_within
from .._frameworks.base import Framework
from .._frameworks.routes import leads_to
from ..typing import Callback, Value

__all__ = ["answers_head", "computed_as_get", "looks_at_method"]

#: Where the dispatching of a class of views is the framework's own.
FRAMEWORKS = ("flask.views", "quart.views")


def answers_head(view: Value, function: Callback) -> bool:
    """Whether a view of a class has an answer of its own for HEAD.

    :param view: what the app has registered.
    :param function: the cached function; if that is ``get``, it is called for HEAD only where there
        is no ``head``.
    """
    kind = getattr(view, "view_class", None)
    if kind is None or leads_to(getattr(kind, "get", None), function):
        return False
    dispatch = getattr(kind, "dispatch_request", None)
    own = getattr(dispatch, "__module__", None) not in FRAMEWORKS and looks_at_method(dispatch)
    return own or hasattr(kind, "head") or looks_at_method(getattr(kind, "get", None))


def looks_at_method(function: Value) -> bool:
    """Whether the code of a function, or of one that it wraps, looks at the request's method."""
    while function is not None:
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType) and _names_method(code):
            return True
        inner = (getattr(function, name, None) for name in ("__wrapped__", "func", "__func__"))
        function = next((one for one in inner if callable(one)), None)
    return False


def _names_method(code: CodeType) -> bool:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return (
        "method" in code.co_names
        or "REQUEST_METHOD" in code.co_consts
        or any(_names_method(one) for one in inner)
    )


def computed_as_get(framework: Framework, function: Callback, is_async: bool) -> Callback:
    """The function, called as if the request of a HEAD were one of a GET."""
    return called_within(functools.partial(_as_get, framework), function, is_async)


@contextlib.contextmanager
def _as_get(framework: Framework) -> Iterator[None]:
    request = framework.request()  # in the background, it is another one
    if request is None or request.method != "HEAD":
        yield
        return
    request.method = "GET"
    try:
        yield
    finally:
        request.method = "HEAD"
