"""Memcached: its protocol, transports, and how values lie on the servers."""

from __future__ import annotations

__all__: list[str] = []
