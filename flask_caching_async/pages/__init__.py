"""Pages as browsers and shared caches see them.

``http`` has the rules, which are pure; ``conditional`` answers 304; ``answers`` knows what the
cache has to say of the answer of one request, and writes it at the very end; ``directives`` reads
what a request demands; ``purging`` tells what was invalidated.
"""

from __future__ import annotations

__all__: list[str] = []
