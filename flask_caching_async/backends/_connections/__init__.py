"""Connections to servers: pools of them, for all threads and for each loop that lives long."""

from __future__ import annotations

__all__: list[str] = []
