"""What ``CACHE_TYPE`` names: which backend that is, and how it is built."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Mapping

from cachelib.serializers import BaseSerializer
from werkzeug.utils import import_string

from .. import backends
from .._frameworks import App
from ..backends._connections.secrets import shown
from ..backends.base import BaseCache
from ..backends.foreign import ForeignCache
from ..exceptions import ConfigurationError, outside
from ..keys import signature_of
from ..typing import Callback, Config, Value
from .as_written import KINDS
from .settings import number

__all__ = ["adapted", "build_backend", "serializer_of"]


def build_backend(app: App, config: Config) -> Value:
    """Build what ``CACHE_TYPE`` names; nothing connects yet.

    It is a class name of ours, a dotted path to a class or to a function
    ``(app, config, args, kwargs)``, or a cachelib class.

    :raises ConfigurationError: if it cannot be built.
    """
    name = config["CACHE_TYPE"]
    _warn_of_odd_types(config)
    factory = _find(name)
    args, options = _arguments(config)
    try:
        if isinstance(factory, type) and issubclass(factory, BaseCache):
            _check_methods(factory)
            return factory.factory(app, config, args, options)
        if isinstance(factory, type) and factory.__module__.partition(".")[0] == "cachelib":
            return factory(*args, **options)
        return factory(app, config, args, options)
    except TypeError as error:
        if _takes(factory, app, config, args, options):
            raise  # it came from inside the backend
        raise ConfigurationError(
            f"{name} does not take these CACHE_ARGS and CACHE_OPTIONS: {error}"
        ) from error
    except (ImportError, RuntimeError) as error:
        missing = getattr(error, "name", None) or NO_MODULE.match(str(error))
        if not missing:
            raise
        package = missing if isinstance(missing, str) else missing[1]
        raise ConfigurationError(
            f"{name} needs a package that is not installed: pip install {package.partition('.')[0]}"
        ) from error


def _check_methods(factory: type[BaseCache]) -> None:
    """Refuse a backend whose author has forgotten a method.

    :raises ConfigurationError: if there is one.
    """
    missing = [name for name in ("get", "set", "delete") if not _has(factory, name)]
    if missing:
        raise ConfigurationError(
            f"{factory.__qualname__} cannot be a backend without {', '.join(missing)}: write "
            "get, set and delete, or aget, aset and adelete"
        )


def _has(factory: type[BaseCache], name: str) -> bool:
    """Whether a class has its own idea of an operation, in either colour."""
    return any(
        getattr(factory, colour + name) is not getattr(BaseCache, colour + name)
        for colour in ("", "a")
    )


#: What cachelib says where a driver is missing.
NO_MODULE = re.compile(r"no (\w+) module found")


def _arguments(config: Config) -> tuple[list[Value], Config]:
    """``CACHE_ARGS`` and ``CACHE_OPTIONS``, with what every backend is given."""
    given, options = config["CACHE_ARGS"], config["CACHE_OPTIONS"]
    if given is not None and not isinstance(given, (list, tuple)):
        raise ConfigurationError(f"CACHE_ARGS must be a list of arguments, not {shown(given)}")
    if options is not None and not isinstance(options, Mapping):
        raise ConfigurationError(f"CACHE_OPTIONS must be a dict of arguments, not {shown(options)}")
    for name, value in (options or {}).items():
        kind = KINDS.get(f"CACHE_{name.upper()}") if isinstance(value, str) else None
        if kind is not None:
            options = {**(options or {}), name: kind(f"{name!r} in CACHE_OPTIONS", value)}
    complete = {
        "default_timeout": config["CACHE_DEFAULT_TIMEOUT"],
        "ignore_delete_many_errors": config["CACHE_IGNORE_ERRORS"],
        **(options or {}),
    }
    complete["default_timeout"] = number(complete, "default_timeout")
    config["CACHE_DEFAULT_TIMEOUT"] = complete["default_timeout"]
    return list(given or ()), complete


def _takes(factory: Callback, app: App, config: Config, args: list[Value], options: Config) -> bool:
    """Whether a backend takes its arguments.

    Asked when it has raised a ``TypeError``: until then, its own ``factory`` adds to them.
    """
    called: list[tuple[Callback, tuple[Value, ...], Config]] = []
    if isinstance(factory, type):
        called.append((factory, tuple(args), options))
        initial: Callback = vars(factory).get("__init__", object.__init__)
        if initial is not object.__init__:  # a ``__new__`` beside it may take anything
            called.append((initial, (None, *args), options))
        if issubclass(factory, BaseCache):
            called.append((factory.factory, (app, config, args, options), {}))
    else:
        called.append((factory, (app, config, args, options), {}))
    try:
        for function, given, named in called:
            signature_of(function).bind(*given, **named)
    except TypeError:
        return False
    except ValueError:  # some builtins have no signature
        return True
    return True


def _warn_of_odd_types(config: Config) -> None:
    if config["CACHE_TYPE"] == "NullCache" and not config["CACHE_NO_NULL_WARNING"]:
        warnings.warn(
            "CACHE_TYPE is NullCache (the default), so nothing is cached. Set CACHE_TYPE, for "
            "example to 'SimpleCache', or CACHE_NO_NULL_WARNING to True if this is intended.",
            stacklevel=outside(),
        )


def _find(name: Value) -> Value:
    """The class or function behind a ``CACHE_TYPE``."""
    if not isinstance(name, str):
        if callable(name):
            return name
        raise ConfigurationError(f"CACHE_TYPE must be a name or a dotted path, not {shown(name)}")
    if "://" in name or "@" in name:  # with a password, perhaps
        raise ConfigurationError(
            f"CACHE_TYPE is the name of a class, such as 'RedisCache', not {shown(name)}; "
            "a URL is given as CACHE_REDIS_URL"
        )
    # Configurations written for Flask-Caching may spell our class by its path over there.
    name = name.removeprefix("flask_caching.backends.")
    if name.startswith("flask_caching.contrib."):
        name = name.replace("flask_caching", "flask_caching_async", 1)
    if "." not in name:
        if name in backends.NAMES:
            return getattr(backends, name)
        near = difflib.get_close_matches(name.lower(), [n.lower() for n in backends.NAMES], 1, 0.4)
        hint = next((n for n in backends.NAMES if near and n.lower() == near[0]), None)
        raise ConfigurationError(
            f"there is no CACHE_TYPE {name!r}"
            + (f"; did you mean {hint!r}?" if hint else "")
            + f" Known are {', '.join(backends.NAMES)}, or write a dotted path to a class."
        )
    module, _, attribute = name.partition(".")
    if backends.NAMES.get(attribute) == module:
        return getattr(backends, attribute)
    try:
        return import_string(name)
    except ImportError as error:
        missing = getattr(getattr(error, "exception", error), "name", None)
        raise ConfigurationError(
            f"CACHE_TYPE {name!r} cannot be imported: {error}"
            + (f"\nIf a package is missing: pip install {missing}" if missing else "")
        ) from error


def serializer_of(config: Config) -> BaseSerializer | None:
    """The serializer that ``CACHE_SERIALIZER`` names.

    :raises ConfigurationError: if it is no ``cachelib.serializers.BaseSerializer``.
    """
    serializer = config["CACHE_SERIALIZER"]
    if serializer is None or isinstance(serializer, BaseSerializer):
        return serializer
    if isinstance(serializer, type) and issubclass(serializer, BaseSerializer):
        try:
            return serializer()
        except TypeError as error:
            raise ConfigurationError(
                f"Couldn't instantiate serializer: {serializer!r} needs arguments; "
                "give CACHE_SERIALIZER an instance"
            ) from error
    raise ConfigurationError(
        "CACHE_SERIALIZER must be a class or an instance of cachelib.serializers.BaseSerializer, "
        f"such as flask_caching_async.serializers.JSONSerializer, not {serializer!r}"
    )


def adapted(backend: Value) -> BaseCache:
    """A backend with all operations in both colours, whether it is ours or not."""
    return backend if isinstance(backend, BaseCache) else ForeignCache(backend)
