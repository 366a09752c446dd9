"""What the README, the documentation and the examples show: it runs, and says what they say."""

from __future__ import annotations

import doctest
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from flask_caching_async.config import DEFAULTS

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.rst"))]
WITH_DOCTESTS = [page for page in PAGES if re.search(r"^ *>>> ", page.read_text("utf-8"), re.M)]


def name_of(path: Path) -> str:
    return path.name


def run(path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run an example as a user does; a warning is an error."""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-W", "error", str(path), *args],
        capture_output=True, text=True, encoding="utf-8", timeout=50, env=environment,
    )  # fmt: skip


def test_the_demo_shows_that_every_claim_holds():
    """``make demo`` ends with exit code 0, a summary, and nothing on stderr."""
    done = run(ROOT / "examples" / "demo.py")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert re.search(r"^all \d+ claims hold", done.stdout.splitlines()[-1])
    assert "FAIL" not in done.stdout


@pytest.mark.parametrize("name", ["async_views", "custom_backend", "invalidation"])
def test_every_example_runs_by_itself(name):
    """Each example prints something, and nothing on stderr."""
    done = run(ROOT / "examples" / f"{name}.py")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_importing_an_example_starts_nothing(path, monkeypatch, capfd):
    """``flask --app examples/…`` imports the file; that alone prints and runs nothing."""
    monkeypatch.syspath_prepend(str(path.parent))
    runpy.run_path(str(path))
    assert capfd.readouterr() == ("", "")


def test_the_invalidation_example_shows_fresh_titles():
    """What is renamed is seen after the deletion, and not before."""
    lines = run(ROOT / "examples" / "invalidation.py").stdout.splitlines()
    titles = ["Emma", "Emma", "Mansfield Park", "Mansfield Park", "Sanditon", "Northanger Abbey"]
    assert [line.split(" | ")[1].split(",")[0] for line in lines] == titles


def test_the_quickstart_serves_both_colours_from_the_cache(monkeypatch):
    """The sync and the async view are computed once each."""
    quickstart = runpy.run_path(str(ROOT / "examples" / "quickstart.py"))
    client = quickstart["app"].test_client()
    for path in ("/sync", "/async"):
        assert client.get(path).text == client.get(path).text
    assert quickstart["cache"].stats().computed == 2


def test_the_example_of_the_readme_is_the_quickstart():
    """The first Python block of the README is the file, to the letter."""
    block = re.search(r"^```python\n(.*?)^```", PAGES[0].read_text("utf-8"), re.M | re.S)
    assert block is not None
    assert block[1] == (ROOT / "examples" / "quickstart.py").read_text("utf-8")


@pytest.mark.parametrize("page", WITH_DOCTESTS, ids=name_of)
def test_what_a_page_shows_in_a_shell_is_what_happens(page):
    """Each ``>>>`` block gives what is written below it."""
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    result = doctest.testfile(str(page), module_relative=False, optionflags=flags, encoding="utf-8")
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_of_a_page_lead_to_files(page):
    """A relative link, an included file or a ``:doc:`` names something that is there."""
    text = page.read_text("utf-8")
    found = re.findall(r"\]\(((?!https?:)[^)#]+)\)|literalinclude:: (\S+)", text)
    missing = [link for link in (a or b for a, b in found) if not (page.parent / link).exists()]
    for target in re.findall(r":doc:`(?:[^`<]*<)?([\w-]+)>?`", text):
        if not (page.parent / f"{target}.rst").exists():
            missing.append(target)
    assert missing == []


def test_every_setting_is_documented_with_its_default():
    """The page of the configuration has each key, and its default."""
    text = (ROOT / "docs" / "configuration.rst").read_text("utf-8")
    for key, default in DEFAULTS.items():
        written = "hashlib.sha256" if callable(default) else repr(default).replace("'", '"')
        section = re.search(rf"^``{key}``\n((?:    .*\n|\n)+)", text, re.M)
        assert section is not None, key
        assert section[1].startswith(f"    Default ``{written}``"), key
    documented = set(re.findall(r"^``(CACHE_\w+)``$", text, re.M))
    assert documented == set(DEFAULTS)


def test_the_examples_stay_short():
    """The demo can be read in one go, and the small examples at a glance."""
    limits = {"demo.py": 250, "demo_app.py": 90}
    for path in EXAMPLES:
        assert len(path.read_text("utf-8").splitlines()) <= limits.get(path.name, 80), path.name
