"""What the README, the documentation and the examples show: it runs, and says what they say."""

from __future__ import annotations

import ast
import asyncio
import difflib
import doctest
import importlib
import inspect
import os
import re
import runpy
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from flask_caching_async.backends import BaseCache
from flask_caching_async.config import DEFAULTS
from flask_caching_async.config.settings import OTHERS
from flask_caching_async.testing import BackendConformance

ROOT = Path(__file__).parent.parent
TUTORIAL = ROOT / "examples" / "tutorial"
PORT = ROOT / "examples" / "quart_port"
BACKGROUND = ROOT / "examples" / "background_refresh"
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.rst"))]
WITH_DOCTESTS = [page for page in PAGES if re.search(r"^ *>>> ", page.read_text("utf-8"), re.M)]


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

needs_quart = pytest.mark.skipif(not find_spec("quart"), reason="Quart is not installed")


def name_of(path: Path) -> str:
    return str(path.relative_to(path.parent.parent))


def run(path: Path, *args: str, patience: float = 50) -> subprocess.CompletedProcess[str]:
    """Run an example as a user does; a warning is an error."""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-W", "error", str(path), *args],
        capture_output=True, text=True, encoding="utf-8", timeout=patience, env=environment,
    )  # fmt: skip


def test_the_demo_shows_that_every_claim_holds():
    """``make demo`` ends with exit code 0, a summary, and nothing on stderr."""
    done = run(ROOT / "examples" / "demo.py")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert re.search(r"^all \d+ claims hold", done.stdout.splitlines()[-1])
    assert "FAIL" not in done.stdout


def test_a_command_renews_the_page_that_a_server_shows(tmp_path, monkeypatch):
    """The command computes, in a process of its own; the server does not compute again."""
    monkeypatch.setenv("FLASK_CACHE_DIR", str(tmp_path))
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    example = importlib.import_module("renew")
    client = example.create_app().test_client()
    old = client.get("/prices").text
    flask = (sys.executable, "-W", "error", "-m", "flask", "--app", str(ROOT / "examples/renew"))
    done = subprocess.run([*flask, "renew"], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    assert client.get("/prices").text == done.stdout.strip() != old
    assert example.cache.stats().computed == 1
    monkeypatch.delitem(sys.modules, "renew")


SINGLE = ["async_views", "custom_backend", "invalidation", "standalone", "versioned_backend"]


@pytest.mark.parametrize("name", SINGLE)
def test_every_example_runs_by_itself(name):
    """Each example prints something, and nothing on stderr."""
    done = run(ROOT / "examples" / f"{name}.py")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_importing_an_example_starts_nothing(path, monkeypatch, capfd):
    """``flask --app examples/…`` imports the file; that alone prints and runs nothing."""
    if path.name.startswith("quart_"):
        pytest.importorskip("quart")
    monkeypatch.syspath_prepend(str(path.parent))
    before = threading.enumerate()
    runpy.run_path(str(path))
    assert capfd.readouterr() == ("", "")
    assert set(threading.enumerate()) <= set(before)


def test_the_invalidation_example_shows_fresh_titles():
    """What is renamed is seen after the deletion, and not before."""
    lines = run(ROOT / "examples" / "invalidation.py").stdout.splitlines()
    titles = ["Emma", "Emma", "Mansfield Park", "Mansfield Park", "Sanditon", "Northanger Abbey"]
    assert [line.split(" | ")[1].split(",")[0] for line in lines] == titles


@pytest.mark.skipif(not hasattr(os, "fork"), reason="gunicorn needs a POSIX system")
@pytest.mark.parametrize(
    "app",
    [
        pytest.param(
            app,
            marks=pytest.mark.skipif(
                not (find_spec(app) and find_spec(server)), reason=f"needs {app} and {server}"
            ),
        )
        for app, server in [("flask", "gunicorn"), ("quart", "hypercorn")]
    ],
)
def test_nobody_waits_for_what_is_refreshed_in_the_background(app):
    """On real servers with two workers each; the run checks its claims."""
    done = run(BACKGROUND / "run.py", app, "--seconds", "2")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "all 9 claims hold"


@needs_quart
def test_the_quart_port_differs_by_imports_async_and_await():
    """And by nothing else."""

    def flasklike(name: str) -> str:
        text = (PORT / name).read_text("utf-8")
        for new, old in [
            *[("await cache.a", "cache."), ("await ", ""), ("async def", "def")],
            *[("from quart", "from flask"), ("Quart", "Flask")],
        ]:
            text = text.replace(new, old)
        return text

    assert flasklike("quart_app.py") == flasklike("flask_app.py")


def test_the_page_on_quart_shows_how_the_two_apps_differ():
    """Its diff is that of the two files, under their names alone."""
    text = (ROOT / "docs" / "quart.rst").read_text("utf-8")
    shown = re.search(r"^\.\. code-block:: diff\n\n((?:   .*\n|\n)+)", text, re.M)
    assert shown is not None
    names = ("flask_app.py", "quart_app.py")
    old, new = ((PORT / name).read_text("utf-8").splitlines() for name in names)
    lines = [line.rstrip() for line in difflib.unified_diff(old, new, *names, lineterm="", n=2)]
    assert inspect.cleandoc("\n" + shown[1]) == "\n".join(lines).rstrip()


async def awaited(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer


async def visit_the_bookshop(app: Any, form: str) -> list[tuple[int, str]]:
    """Status and text of some requests; ``form`` is what the client calls a form."""
    client, answers = app.test_client(), []
    editor = {"headers": {"X-Editor": "yes"}}
    for method, path, more in [
        *[("get", path, {}) for path in ("/", "/?order=title", "/books/1", "/books/1", "/books/9")],
        *[("post", "/search", {form: {"words": words}}) for words in ("EM", "em", "lys")],
        ("post", "/books/1", {"json": {"title": "Persuasion"}}),
        *[("get", path, {}) for path in ("/", "/?order=title", "/books/1", "/last")],
        ("get", "/books/1", editor),
    ]:
        response = await awaited(getattr(client, method)(path, **more))
        answers.append((response.status_code, await awaited(response.get_data(as_text=True))))
    return answers


@needs_quart
def test_the_quart_port_answers_as_the_flask_app_does():
    """And from the cache as often."""
    flask_app = runpy.run_path(str(PORT / "flask_app.py"))
    quart_app = runpy.run_path(str(PORT / "quart_app.py"))
    for files in (flask_app, quart_app):  # they were not imported from where their templates are
        files["app"].root_path = str(PORT)

    async def under_quart() -> list[tuple[int, str]]:
        async with quart_app["app"].test_app() as served:
            return await visit_the_bookshop(served, "form")

    expected = asyncio.run(visit_the_bookshop(flask_app["app"], "data"))
    assert asyncio.run(under_quart()) == expected
    assert [status for status, _ in expected] == [200] * 4 + [404] + [200] * 3 + [204] + [200] * 5
    assert quart_app["cache"].stats() == flask_app["cache"].stats()
    assert "Persuasion" in expected[9][1] and expected[12][1] == "Persuasion"


@pytest.mark.timeout(200)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="gunicorn needs a POSIX system")
def test_the_tutorial_shows_what_workers_share():
    """Six real servers: four workers see one value, but not with ``SimpleCache``."""
    done = run(TUTORIAL / "run.py", "--requests", "20", patience=190)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.endswith(" as claimed")]
    shared = {"SimpleCache": "1", "FileSystemCache": "4", "RedisCache": "4"}
    expected = [[name, kind, n] for name, n in shared.items() for kind in ("gthread", "gevent")]
    assert [row[:3] for row in rows[:6]] == expected
    assert done.stdout.endswith("\nall as claimed\n")


def test_the_file_of_the_tutorial_does_what_the_page_does():
    """It runs from a paste, has each function of the page, and prints what the page shows."""
    page = (ROOT / "docs" / "tutorial.rst").read_text("utf-8")
    file = (TUTORIAL / "first_app.py").read_text("utf-8")
    shown = "".join(example.source for example in doctest.DocTestParser().get_examples(page))
    functions = [
        {ast.unparse(node) for node in ast.parse(source).body if isinstance(node, FUNCTIONS)}
        for source in (shown, file)
    ]
    assert functions[0] < functions[1] and len(functions[0]) == 5
    done = run(TUTORIAL / "first_app.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:-1] == [
        *["call 1 call 1", "call 2 call 2", "results for fish results for chips"],
        *["5 eur 5 eur 5 usd", "1.1", "hello hello", "45", "call 5", "None"],
    ]


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


def test_every_block_of_the_page_on_backends_runs():
    """Settings and classes alike, one after the other."""
    text = (ROOT / "docs" / "backends.rst").read_text("utf-8")
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", text, re.M)
    assert len(blocks) >= 6
    names: dict[str, Any] = {}
    for block in blocks:
        exec(inspect.cleandoc("\n" + block), names)
    app, config, options = object(), {"MY_SERVER": "here"}, {"default_timeout": 5}
    mine = names["MyCache"].factory(app, config, [], options)
    assert (mine.server, mine.default_timeout) == ("here", 5)


class TestTheVersionedBackendOfTheExamples(BackendConformance):
    """What the page on backends shows keeps all promises."""

    @pytest.fixture
    def backend(self) -> BaseCache:
        """The class in the example."""
        backend: BaseCache = runpy.run_path(str(ROOT / "examples" / "versioned_backend.py"))[
            "Table"
        ]()
        return backend


def test_the_links_of_the_pages_lead_to_files():
    """A relative link, an included file or a ``:doc:`` names something that is there."""
    for page in PAGES:
        text = page.read_text("utf-8")
        found = re.findall(r"\]\(((?!https?:)[^)#]+)\)|literalinclude:: (\S+)", text)
        missing = [link for link in (a or b for a, b in found) if not (page.parent / link).exists()]
        for target in re.findall(r":doc:`(?:[^`<]*<)?([\w-]+)>?`", text):
            if not (page.parent / f"{target}.rst").exists():
                missing.append(target)
        assert missing == [], name_of(page)


def test_every_setting_is_documented_with_its_default():
    """The page of the configuration has each key as an object to link to, and its default."""
    text = (ROOT / "docs" / "configuration.rst").read_text("utf-8")
    found = re.findall(r"^\.\. confval:: (CACHE_\w+)\n   :default: (.+)\n\n   \S", text, re.M)
    documented = dict(found)
    assert len(found) == len(documented)
    for key, default in DEFAULTS.items():
        written = "hashlib.sha256" if callable(default) else repr(default).replace("'", '"')
        assert documented[key] == f"``{written}``", key
    assert set(documented) == {*DEFAULTS, *OTHERS}


def test_the_examples_stay_short():
    """The demo can be read in one go, and the small examples at a glance."""
    limits = {"demo.py": 250, "demo_app.py": 90, "run.py": 180, "versioned_backend.py": 150}
    for path in EXAMPLES:
        limit = 120 if path.parent == BACKGROUND else limits.get(path.name, 80)
        assert len(path.read_text("utf-8").splitlines()) <= limit, path.name
