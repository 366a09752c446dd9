"""The checks that need an environment of their own: ``nox --list`` shows them."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "typing", "tests"]
nox.options.reuse_existing_virtualenvs = True

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
OLDEST = PYTHONS[0]
PACKAGE = "flask_caching_async"

#: As in tools/test.sh: much of the time, tests wait for servers and processes of their own.
PYTEST = ("pytest", "-n", "3")
#: What needs drivers or services that ``make test`` does not install.
EXTRAS = ["tests/backends", "tests/test_arguments.py", "-k", "storage or pylibmc or sasl or frames"]
#: What is not run while lines are counted: programs with claims about time, which counting makes
#: untrue, and a recursion to the limit, which the tracer of coverage shares.
UNCOUNTED = [
    "--ignore=tests/test_examples.py",
    "--deselect=tests/test_memoize.py::test_a_memoized_function_may_call_itself",
]
#: Fast tests of everything that a wheel must contain, wherever they stand.
SMOKE = [
    "public_names",
    "dashboard",
    "views",
    "memoize",
    "keys",
    "templates",
    "simplecache",
    "quart_views",
]


def runs(version: str) -> bool:
    """Whether this Python can be started: a version manager's shim may be there without it."""
    try:
        command = [f"python{version}", "-c", ""]
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


FOUND = [version for version in PYTHONS if runs(version)]


def install(session: nox.Session, *groups: str, package: str = ".[all]") -> None:
    """Install the package and some dependency groups of pyproject.toml."""
    session.install("--quiet", "--upgrade", "pip>=25.1")
    wanted = [argument for group in groups for argument in ("--group", group)]
    session.install("--quiet", "--editable", package, *wanted)


@nox.session(python=FOUND)
def tests(session: nox.Session) -> None:
    """Run the tests on every Python that is found."""
    install(session, "tests")
    session.run(*PYTEST, *session.posargs)


@nox.session(python=OLDEST)
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest dependencies that are allowed, on the oldest Python."""
    oldest = os.path.join(session.create_tmp(), "oldest.txt")
    session.install("--quiet", "uv")
    session.env["UV_SYSTEM_CERTS"] = "1"  # as pip does: where a proxy has a certificate of its own
    session.run(
        *("uv", "pip", "compile", "--quiet", "--all-extras", "--resolution", "lowest-direct"),
        *("--python", OLDEST, "--output-file", oldest, "pyproject.toml"),
    )
    session.run(
        *("uv", "pip", "install", "--quiet", "--constraint", oldest),
        *("--editable", ".[all]", "--group", "tests"),
    )
    session.run(*PYTEST, *session.posargs)


@nox.session(python=OLDEST)
def extras(session: nox.Session) -> None:
    """Test the backends whose drivers ``make test`` does not install, and arguments of pandas.

    On the oldest Python, for which there are wheels of all of them.
    """
    install(session, "extras")
    session.run("python", "-c", "import google.cloud.storage, pandas, pylibmc, pyuwsgi, uvicorn")
    session.run(*with_storage(*PYTEST, *(session.posargs or EXTRAS)))


def with_storage(*command: str) -> tuple[str, ...]:
    """The command line of a command that finds an emulator of Google Cloud Storage."""
    return ("python", "tests/support/storage_emulator.py", *command)


@nox.session(python=OLDEST)
def coverage(session: nox.Session) -> None:
    """Run all tests, and say which lines none of them reaches; fail below pyproject's floor."""
    install(session, "coverage")
    session.run("coverage", "erase")
    try:
        counted = ("coverage", "run", "-m", *PYTEST, *UNCOUNTED, *session.posargs)
        session.run(*with_storage(*counted))
    finally:
        session.run("coverage", "combine", "--quiet")
        session.run("coverage", "report")


@nox.session(reuse_venv=False)
def wheel(session: nox.Session) -> None:
    """Build the wheel as a user gets it, and run a part of the tests against it.

    They run in another folder, where the sources cannot be imported by accident.
    """
    folder = Path(session.create_tmp()).resolve()
    dist, away = folder / "dist", folder / "away"
    for path in (dist, away):
        shutil.rmtree(path, ignore_errors=True)
    session.install("--quiet", "--upgrade", "pip>=25.1")
    session.install("--quiet", "--group", "wheel")
    session.run("python", "-m", "build", "--outdir", str(dist), str(ROOT), silent=True)
    (built,) = dist.glob("*.whl")
    check_contents(session, built)
    session.install("--quiet", f"{built}[all]")
    shutil.copytree(ROOT / "tests", away / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", away)
    with session.chdir(away):
        where = f"import {PACKAGE} as p; assert 'site-packages' in p.__file__, p.__file__"
        session.run("python", "-c", where)
        smoke = [str(find_test(away, name)) for name in SMOKE]
        session.run(*PYTEST, *(session.posargs or smoke))


def find_test(folder: Path, name: str) -> Path:
    """The one test file of that name."""
    (path,) = (folder / "tests").rglob(f"test_{name}.py")
    return path


def check_contents(session: nox.Session, built: Path) -> None:
    """Fail if a file of the package is not in the wheel, or something else is."""
    found = {name for name in zipfile.ZipFile(built).namelist() if ".dist-info/" not in name}
    listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard", PACKAGE)
    known = session.run(*listed, external=True, silent=True, log=False)
    wanted = {name for name in str(known).splitlines() if (ROOT / name).exists()}
    if found != wanted:
        session.error(f"in the wheel or in {PACKAGE}, not in both: {sorted(found ^ wanted)}")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types of the package and of tests/typing, with mypy --strict and pyright."""
    install(session, "typing")
    session.run("mypy")
    session.run("pyright")


@nox.session
def lint(session: nox.Session) -> None:
    """Look for mistakes and formatting with ruff, and for misspelled words with codespell."""
    session.install("--quiet", "--upgrade", "pip>=25.1")
    session.install("--quiet", "--group", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; every warning is an error."""
    install(session, "docs")
    session.run("sphinx-build", "-W", "-n", "-q", "-b", "html", "docs", "docs/_build/html")


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks, or those that are named: ``nox -s bench -- benchmarks/hits.py``.

    ``nox -s bench -- --save`` keeps the results and makes the tables and charts of
    docs/benchmarks.rst from them.
    """
    install(session, "benchmarks")
    session.run("python", "benchmarks/run.py", *session.posargs)
    if "--save" in session.posargs:
        session.run("python", "benchmarks/report.py")


@nox.session
def downstream(session: nox.Session) -> None:
    """Run Flask-Caching's own tests against this package."""
    install(session, "downstream")
    session.run("python", "tools/downstream.py", *session.posargs)
