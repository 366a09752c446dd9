"""What a page was made from, who else may have it, and how browsers and shared caches see it.

While a view is computed, objects that stand in for the request, its session and ``g`` note what is
read (``reads.py``, ``request.py``, ``surroundings.py``, ``templates.py``). Some of that selects one
of several pages (``inputs.py``), some of it makes the page its visitor's own (``rules.py``).

``http`` has the rules of HTTP, which are pure; ``conditional`` answers 304; ``answers`` knows what
the cache has to say of the answer of one request, and writes it at the very end; ``directives``
reads what a request demands; ``purging`` tells what was invalidated.
"""

from __future__ import annotations

__all__: list[str] = []
