"""What OpenTelemetry sees of a cache: ``metrics.py`` and ``spans.py``, for ``opentelemetry.py``."""

from __future__ import annotations

from ...exceptions import ConfigurationError

try:
    import opentelemetry.metrics
    import opentelemetry.trace  # noqa: F401
except ImportError as error:
    raise ConfigurationError(
        "metrics and spans for OpenTelemetry need opentelemetry-api: pip install "
        '"flask-caching-async[opentelemetry]"'
    ) from error
