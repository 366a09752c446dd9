"""``CACHE_*`` settings: their defaults, their checks, and what to say when one is wrong."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from cachelib.serializers import BaseSerializer
from werkzeug.utils import import_string

from . import backends
from ._entries.times import seconds
from ._frameworks import App
from ._store.failures import Limits
from .backends.base import BaseCache
from .backends.foreign import ForeignCache
from .exceptions import ConfigurationError, outside
from .keys import signature_of
from .typing import Callback, Config, Value

__all__ = ["DEFAULTS", "Settings", "build_backend", "effective_config", "serializer_of"]

DEFAULTS: Config = {
    "CACHE_DEFAULT_TIMEOUT": 300,
    "CACHE_IGNORE_ERRORS": False,
    "CACHE_THRESHOLD": 500,
    "CACHE_KEY_PREFIX": "flask_cache_",
    "CACHE_MEMCACHED_SERVERS": None,
    "CACHE_DIR": None,
    "CACHE_FILE_HASH_METHOD": hashlib.sha256,
    "CACHE_HASH_METHOD": hashlib.sha256,
    "CACHE_OPTIONS": None,
    "CACHE_ARGS": [],
    "CACHE_TYPE": "NullCache",
    "CACHE_NO_NULL_WARNING": False,
    "CACHE_SOURCE_CHECK": False,
    "CACHE_ENABLE_SIGNALS": False,
    "CACHE_SERIALIZER": None,
    "CACHE_LOCK": True,
    "CACHE_LOCK_TIMEOUT": 10,
    "CACHE_JITTER": 0.0,
    "CACHE_STORE_PRIVATE": False,
    "CACHE_ON_ERROR": None,
    "CACHE_CONNECT_TIMEOUT": 1.0,
    "CACHE_OPERATION_TIMEOUT": 0.5,
    "CACHE_BREAKER_THRESHOLD": 5,
    "CACHE_BREAKER_RESET": 5,
    "CACHE_RENEWALS": True,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one cache on one app; seconds throughout."""

    default_timeout: float
    hash_method: Callback
    source_check: bool
    signals: bool
    lock: bool
    lock_timeout: float
    jitter: float
    store_private: bool
    on_error: str | None
    limits: Limits
    renewals: bool

    @classmethod
    def read(cls, config: Config) -> Settings:
        """Check a configuration.

        :raises ConfigurationError: with what to write instead.
        """
        if not callable(config["CACHE_HASH_METHOD"]):
            raise ConfigurationError(
                "CACHE_HASH_METHOD must be a hash constructor such as hashlib.sha256, "
                f"not {config['CACHE_HASH_METHOD']!r}"
            )
        if config["CACHE_ON_ERROR"] not in (None, "raise", "log"):
            raise ConfigurationError(
                "CACHE_ON_ERROR must be 'raise', 'log', or None for 'raise' in debug mode only, "
                f"not {config['CACHE_ON_ERROR']!r}"
            )
        if not isinstance(config["CACHE_DIR"], (str, os.PathLike, type(None))):
            raise ConfigurationError(f"CACHE_DIR must be a path, not {config['CACHE_DIR']!r}")
        jitter = _number(config, "CACHE_JITTER")
        if not 0 <= jitter <= 1:
            raise ConfigurationError(
                f"CACHE_JITTER is the share of a timeout, 0.0 to 1.0, not {jitter!r}"
            )
        return cls(
            default_timeout=_number(config, "CACHE_DEFAULT_TIMEOUT"),
            hash_method=config["CACHE_HASH_METHOD"],
            source_check=bool(config["CACHE_SOURCE_CHECK"]),
            signals=bool(config["CACHE_ENABLE_SIGNALS"]),
            lock=bool(config["CACHE_LOCK"]),
            lock_timeout=_number(config, "CACHE_LOCK_TIMEOUT"),
            jitter=jitter,
            store_private=bool(config["CACHE_STORE_PRIVATE"]),
            on_error=config["CACHE_ON_ERROR"],
            limits=_limits(config),
            renewals=bool(config["CACHE_RENEWALS"]),
        )


def _limits(config: Config) -> Limits:
    """When a failing backend is left alone; the time budgets are checked with them."""
    for name in ("CACHE_CONNECT_TIMEOUT", "CACHE_OPERATION_TIMEOUT", "CACHE_BREAKER_RESET"):
        if not _number(config, name):
            raise ConfigurationError(f"{name} must be more than 0 seconds, not {config[name]!r}")
    threshold = config["CACHE_BREAKER_THRESHOLD"]
    if isinstance(threshold, bool) or not isinstance(threshold, int) or threshold < 0:
        raise ConfigurationError(
            "CACHE_BREAKER_THRESHOLD is a number of failures in a row, or 0 for a breaker that "
            f"never opens, not {threshold!r}"
        )
    return Limits(threshold, _number(config, "CACHE_BREAKER_RESET"))


def _number(config: Config, name: str) -> float:
    """A setting in seconds (or a share), not negative."""
    value = config[name]
    try:
        number = None if isinstance(value, bool) else seconds(value, name)
    except TypeError:
        number = None
    if number is None or number < 0:
        raise ConfigurationError(f"{name} must be a number, 0 or more, not {value!r}")
    return number


def check_layer(config: Value) -> None:
    """Check that a configuration is one.

    :raises ConfigurationError: if it is not.
    """
    if config is not None and not isinstance(config, dict):
        raise ConfigurationError(f"config must be a dict of CACHE_* settings, not {config!r}")


def effective_config(*layers: Config | None) -> Config:
    """One configuration of several; later layers win, on top of the defaults."""
    config = dict(DEFAULTS)
    for layer in layers:
        config.update(layer or {})
    return config


# --- the backend ----------------------------------------------------------------------------------


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


#: What cachelib says where a driver is missing.
NO_MODULE = re.compile(r"no (\w+) module found")


def _arguments(config: Config) -> tuple[list[Value], Config]:
    """``CACHE_ARGS`` and ``CACHE_OPTIONS``, with what every backend is given."""
    given, options = config["CACHE_ARGS"], config["CACHE_OPTIONS"]
    if given is not None and not isinstance(given, (list, tuple)):
        raise ConfigurationError(f"CACHE_ARGS must be a list of arguments, not {given!r}")
    if options is not None and not isinstance(options, Mapping):
        raise ConfigurationError(f"CACHE_OPTIONS must be a dict of arguments, not {options!r}")
    complete = {
        "default_timeout": config["CACHE_DEFAULT_TIMEOUT"],
        "ignore_delete_many_errors": config["CACHE_IGNORE_ERRORS"],
        **(options or {}),
    }
    complete["default_timeout"] = _number(complete, "default_timeout")
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
        raise ConfigurationError(f"CACHE_TYPE must be a name or a dotted path, not {name!r}")
    # Configurations written for Flask-Caching may spell our class by its path over there.
    name = name.removeprefix("flask_caching.backends.")
    if name.startswith("flask_caching.contrib."):
        name = name.replace("flask_caching", __package__, 1)
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
