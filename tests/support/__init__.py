"""What the tests share: callers, sites, servers and the programs that are started for them.

``waiting`` waits for events, ``faces`` and ``stages`` write a test once for both colours, ``sites``
and ``quart_sites`` are apps under test, ``backends`` lists what tests run on, ``servers``,
``server_groups`` and ``fault_proxy`` are real servers, and ``crew`` are processes that share one.
"""
