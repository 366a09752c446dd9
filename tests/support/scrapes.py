"""What a scrape by Prometheus finds."""

from __future__ import annotations

from collections import Counter
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Samples", "metrics_of", "samples_of", "view_requests"]

#: A value of a metric, by its name and its labels without that of the cache.
Samples = dict[tuple[str, tuple[str, ...]], float]


def metrics_of(collector: Any) -> str:
    """The answer to a scrape, as a registry makes it of a collector."""
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


def samples_of(text: str) -> Samples:
    """All values in the answer to a scrape."""
    return {
        (sample.name, tuple(v for n, v in sorted(sample.labels.items()) if n != "cache")):
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }  # fmt: skip


def view_requests(text: str) -> list[float]:
    """How many requests each view has had, whatever they were answered with."""
    totals: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == "flask_caching_requests_total" and labels["kind"] == "view":
                totals[labels["function"]] += sample.value  # type: ignore[assignment]
    return list(totals.values())
