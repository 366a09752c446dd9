"""How Sphinx builds these pages: ``sphinx-build -W -n -b html docs docs/_build``."""

from importlib.metadata import version as installed_version

project = "flask-caching-async"
author = "The flask-caching-async authors"
copyright = f"2025, {author}"
version = release = installed_version("flask-caching-async")

extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
default_role = "code"
nitpicky = True
# Python's own documentation is elsewhere.
nitpick_ignore = [("py:func", "time.time"), ("py:class", "datetime.timedelta")]

autodoc_member_order = "bysource"
# The text of each parameter says what it takes; types in signatures hide it.
autodoc_typehints = "none"
autodoc_mock_imports = ["msgpack"]

html_theme = "furo"
html_title = "flask-caching-async"
html_static_path = ["_static"]
html_css_files = ["site.css"]
