"""What an app says about its caches: settings, and the backend that they name."""

from .backend import adapted, build_backend, serializer_of
from .settings import DEFAULTS, Settings, check_layer, effective_config

__all__ = [
    "DEFAULTS",
    "Settings",
    "adapted",
    "build_backend",
    "check_layer",
    "effective_config",
    "serializer_of",
]
