"""The code blocks of the pages that no doctest runs: they are Python, and import what there is.

What the pages show in a shell, and what the examples do, is run by ``test_examples.py``.
"""

from __future__ import annotations

import ast
import importlib
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.rst"))]

#: A block of Markdown, and one of reStructuredText, after its options.
FENCED = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
INDENTED = re.compile(
    r"^( *)\.\. code-block:: python\n(?: +:.*\n)*\n(?P<block>(?:\1 +.*\n|\n)+)", re.M
)


def python_blocks(page: Path) -> Iterator[str]:
    """The source of each Python block of a page."""
    text = page.read_text("utf-8")
    yield from FENCED.findall(text)
    for match in INDENTED.finditer(text):
        yield textwrap.dedent(match["block"])


WITH_BLOCKS = [page for page in PAGES if any(python_blocks(page))]


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_block_of_code_is_python_and_imports_what_there_is(page: Path) -> None:
    """Each block can be parsed, and what it imports from the package can be imported."""
    for source in python_blocks(page):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flask_caching"):
                module = importlib.import_module(str(node.module))
                assert [a.name for a in node.names if not hasattr(module, a.name)] == [], source


def test_blocks_are_found_in_both_languages() -> None:
    """The README and the page about testing have some, with what stands in them and no more."""
    assert "async def async_view" in next(python_blocks(ROOT / "README.md"))
    first, *_ = python_blocks(ROOT / "docs" / "testing.rst")
    assert first.strip().splitlines()[-1] == 'app.config["CACHE_NO_NULL_WARNING"] = True'


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_a_link_of_a_page_in_markdown_leads_to_a_file(page: Path) -> None:
    """Links within the repository do; Sphinx checks those of the other pages."""
    links = re.findall(r"\]\(((?!https?:)[^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_a_link_of_a_page_in_markdown_leads_to_what_can_be_read_there(page: Path) -> None:
    """Pages in reStructuredText are for Sphinx: elsewhere, much of them is not shown."""
    assert re.findall(r"\]\(([^)]+\.rst[^)]*)\)", page.read_text("utf-8")) == []


def test_the_pages_that_the_readme_names_are_there() -> None:
    """Those in italics are titles of pages; the others are words."""
    titles = {page.read_text("utf-8").splitlines()[0] for page in PAGES if page.suffix == ".rst"}
    named = re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", (ROOT / "README.md").read_text("utf-8"))
    assert len(named) > 8
    assert {" ".join(name.split()) for name in named} <= titles


@pytest.mark.parametrize("name", ["README.md", "docs/index.rst"])
def test_the_first_pages_say_how_to_install_what_is_not_released(name: str) -> None:
    """From a clone, as long as the list of changes has no version that was released."""
    versions = re.findall(r"^## (.+)", (ROOT / "CHANGES.md").read_text("utf-8"), re.M)
    unreleased = all(version.endswith("(unreleased)") for version in versions)
    text = (ROOT / name).read_text("utf-8")
    assert ("not released yet" in text) == unreleased
    assert ("$ pip install flask-caching-async\n" in text) == (not unreleased)
