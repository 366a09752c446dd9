"""The backends of ``contrib``: what can be told without their servers.

The rest is in ``test_uwsgi.py`` and ``test_googlecloudstorage.py``, which need packages that few
have installed.
"""

from __future__ import annotations

import sys

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.contrib.googlecloudstoragecache import GoogleCloudStorageCache
from flask_caching_async.contrib.uwsgicache import UWSGICache
from flask_caching_async.exceptions import ConfigurationError

UWSGI_CACHE = "flask_caching_async.contrib.uwsgicache.UWSGICache"
GCS_CACHE = "flask_caching_async.contrib.googlecloudstoragecache.GoogleCloudStorageCache"


def test_uwsgi_cache_outside_of_uwsgi_says_where_it_works(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app does not start, and the message says what to do."""
    monkeypatch.setitem(sys.modules, "uwsgi", None)
    with pytest.raises(ConfigurationError, match="pip install uwsgi.*--cache2.*FileSystemCache"):
        Cache(app, config={"CACHE_TYPE": UWSGI_CACHE})


def test_storage_cache_without_its_package_says_what_to_install(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package has another name than what is imported."""
    monkeypatch.setitem(sys.modules, "google.cloud.storage", None)
    config = {"CACHE_TYPE": GCS_CACHE, "CACHE_GCS_BUCKET": "bucket"}
    with pytest.raises(ConfigurationError, match="pip install google-cloud-storage"):
        Cache(app, config=config)


def test_storage_cache_needs_the_name_of_a_bucket(app: Flask) -> None:
    """Without one, or with something else, the message names the setting."""
    for bucket in (None, "", 7):
        config = {"CACHE_TYPE": GCS_CACHE, "CACHE_GCS_BUCKET": bucket}
        with pytest.raises(ConfigurationError, match="CACHE_GCS_BUCKET"):
            Cache(app, config=config)


def test_contrib_backends_are_shared_between_processes() -> None:
    """So that nobody is warned of several workers."""
    assert UWSGICache.shared and GoogleCloudStorageCache.shared
