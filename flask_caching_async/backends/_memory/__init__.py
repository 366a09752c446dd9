"""The memory of one process: entries as objects, and which of them go when it is full."""

from __future__ import annotations

__all__: list[str] = []
