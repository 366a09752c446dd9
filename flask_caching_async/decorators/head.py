"""HEAD, where a page is made for GET.

Flask and Quart call the view of a GET for a HEAD, too, and leave out the body afterwards. So both
share one entry, unless the view has an answer of its own for HEAD: a ``head`` method of its class,
or code that looks at the method of the request. Then HEAD goes past the cache.

A function that the view calls, or a template, may look at the method as well. So what is computed
for both is computed as a GET.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import CodeType
from typing import TypeVar

from .._frameworks.base import Framework
from .._frameworks.routes import leads_to
from ..typing import Callback, Value

__all__ = ["answers_head", "as_get", "looks_at_method"]

T = TypeVar("T")

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


@contextlib.contextmanager
def as_get(framework: Framework, within: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
    """A context in which the request of a HEAD is one of a GET.

    :param within: what the context is around.
    """
    request = framework.request()  # in the background, it is another one
    was_head = request is not None and request.method == "HEAD"
    if request is not None and was_head:
        request.method = "GET"
    try:
        with within() as found:
            yield found
    finally:
        if request is not None and was_head:
            request.method = "HEAD"
