"""Redis and Valkey: scripts, transports, and how values lie on the server."""

from __future__ import annotations

__all__: list[str] = []
