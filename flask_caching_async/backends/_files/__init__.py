"""A directory as a cache: its files, their locks and leases, and the sweep."""

from __future__ import annotations

__all__: list[str] = []
