"""Threads, event loops and processes: what is true of them whatever is cached.

``colour`` runs one source as sync and as async code, ``loops`` asks about the running loop and
waits on it, ``threads`` has the workers of the process, ``process_loop`` the loop that lives as
long as it, ``background`` the threads for refreshes, ``deadline`` a time limit, ``commands`` says
whether a command runs, and ``fork`` says what a forked child must forget.
"""

from __future__ import annotations

__all__: list[str] = []
