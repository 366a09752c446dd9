"""Backends for services that few apps use. ``CACHE_TYPE`` names them by their path.

* ``"flask_caching_async.contrib.uwsgicache.UWSGICache"``
* ``"flask_caching_async.contrib.googlecloudstoragecache.GoogleCloudStorageCache"``

What they need is imported when one is built, not with these modules.
"""

from __future__ import annotations

__all__: list[str] = []
