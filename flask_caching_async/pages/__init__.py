"""What a page was made from, and what follows from that: who else may be given it.

While a view is computed, objects that stand in for the request, its session and ``g`` note what is
read (``reads.py``, ``request.py``, ``surroundings.py``, ``templates.py``). Some of that selects one
of several pages (``inputs.py``), some of it makes the page its visitor's own (``rules.py``).
"""

__all__: list[str] = []
