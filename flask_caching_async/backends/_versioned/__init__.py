"""A backend beyond get and set: versions that make invalidations win, and leases."""

from __future__ import annotations

__all__: list[str] = []
