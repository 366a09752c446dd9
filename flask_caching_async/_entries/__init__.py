"""What is stored: entries, their times, private copies of their values, their form as bytes."""

from __future__ import annotations

__all__: list[str] = []
