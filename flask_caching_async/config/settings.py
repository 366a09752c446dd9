"""``CACHE_*`` settings: their defaults, their checks, and what to say when one is wrong."""

from __future__ import annotations

import difflib
import hashlib
import os
from dataclasses import dataclass

from .._entries.times import seconds
from .._store.failures import Limits
from ..backends._connections.secrets import shown
from ..exceptions import ConfigurationError, warn
from ..pages.http import HttpSettings
from ..typing import Callback, Config, Value
from .as_written import read_as_written

__all__ = ["DEFAULTS", "Settings", "check_layer", "effective_config", "number"]

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
    "CACHE_VARIANTS": 500,
    "CACHE_ON_ERROR": None,
    "CACHE_CONNECT_TIMEOUT": 1.0,
    "CACHE_OPERATION_TIMEOUT": 0.5,
    "CACHE_BREAKER_THRESHOLD": 5,
    "CACHE_BREAKER_RESET": 5,
    "CACHE_RENEWALS": True,
    "CACHE_HTTP": False,
    "CACHE_STATUS_HEADER": None,
    "CACHE_TAG_HEADER": None,
    "CACHE_STATS_INTERVAL": 5,
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
    variants: int
    on_error: str | None
    limits: Limits
    renewals: bool
    http: HttpSettings
    stats_interval: float

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
        threshold = config["CACHE_THRESHOLD"]
        if threshold is not None and (not _is_whole(threshold) or threshold < 0):
            raise ConfigurationError(
                f"CACHE_THRESHOLD must be a number of entries, or 0 for no bound, not {threshold!r}"
            )
        jitter = number(config, "CACHE_JITTER")
        if not 0 <= jitter <= 1:
            raise ConfigurationError(
                f"CACHE_JITTER is the share of a timeout, 0.0 to 1.0, not {jitter!r}"
            )
        return cls(
            default_timeout=number(config, "CACHE_DEFAULT_TIMEOUT"),
            hash_method=config["CACHE_HASH_METHOD"],
            source_check=bool(config["CACHE_SOURCE_CHECK"]),
            signals=bool(config["CACHE_ENABLE_SIGNALS"]),
            lock=bool(config["CACHE_LOCK"]),
            lock_timeout=number(config, "CACHE_LOCK_TIMEOUT"),
            jitter=jitter,
            store_private=bool(config["CACHE_STORE_PRIVATE"]),
            variants=_variants(config["CACHE_VARIANTS"]),
            on_error=config["CACHE_ON_ERROR"],
            limits=_limits(config),
            renewals=bool(config["CACHE_RENEWALS"]),
            http=HttpSettings.read(config),
            stats_interval=number(config, "CACHE_STATS_INTERVAL"),
        )


def _variants(value: Value) -> int:
    if not _is_whole(value) or value < 1:
        raise ConfigurationError(
            f"CACHE_VARIANTS is how many variants of one page are stored, 1 or more, not {value!r}"
        )
    return int(value)


def _limits(config: Config) -> Limits:
    """When a failing backend is left alone; the time budgets are checked with them."""
    for name in ("CACHE_CONNECT_TIMEOUT", "CACHE_OPERATION_TIMEOUT", "CACHE_BREAKER_RESET"):
        if not number(config, name):
            raise ConfigurationError(f"{name} must be more than 0 seconds, not {config[name]!r}")
    threshold = config["CACHE_BREAKER_THRESHOLD"]
    if not _is_whole(threshold) or threshold < 0:
        raise ConfigurationError(
            "CACHE_BREAKER_THRESHOLD is a number of failures in a row, or 0 for a breaker that "
            f"never opens, not {threshold!r}"
        )
    return Limits(threshold, number(config, "CACHE_BREAKER_RESET"))


def _is_whole(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def number(config: Config, name: str) -> float:
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
        raise ConfigurationError(f"config must be a dict of CACHE_* settings, not {shown(config)}")


def effective_config(*layers: Config | None) -> Config:
    """One configuration of several; later layers win, on top of the defaults.

    :raises ConfigurationError: if a text does not say what its setting needs.
    """
    config = dict(DEFAULTS)
    for layer in layers:
        config.update(layer or {})
    _warn_of_names(config)
    return read_as_written(config)


#: Settings of single backends, which have no defaults here.
OTHERS = (
    "CACHE_GCS_BUCKET",
    "CACHE_MEMCACHED_PASSWORD",
    "CACHE_MEMCACHED_USERNAME",
    "CACHE_REDIS_CLUSTER",
    "CACHE_REDIS_DB",
    "CACHE_REDIS_HOST",
    "CACHE_REDIS_PASSWORD",
    "CACHE_REDIS_PORT",
    "CACHE_REDIS_SENTINELS",
    "CACHE_REDIS_SENTINEL_MASTER",
    "CACHE_REDIS_SENTINEL_PASSWORD",
    "CACHE_REDIS_URL",
    "CACHE_UWSGI_NAME",
)


def _warn_of_names(config: Config) -> None:
    """Warn of settings that do nothing, and that are nearly the name of one.

    Others are not ours to judge: a backend of your own, or another extension, may read them.
    """
    known = {name.removeprefix("CACHE_"): name for name in (*DEFAULTS, *OTHERS)}
    for name in config:
        said = name.removeprefix("CACHE_") if isinstance(name, str) else ""
        if said and said != name and name not in known.values():
            near = difflib.get_close_matches(said, known, 1, 0.8)
            if near:
                warn(f"{name} is no setting of a cache; did you mean {known[near[0]]}?")
