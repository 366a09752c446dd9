"""The checks that need an environment of their own: ``nox --list`` shows them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "typing", "tests"]
nox.options.reuse_existing_virtualenvs = True

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
OLDEST = PYTHONS[0]


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
    session.run("pytest", *session.posargs)


@nox.session(python=OLDEST)
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest dependencies that are allowed, on the oldest Python."""
    oldest = os.path.join(session.create_tmp(), "oldest.txt")
    session.install("--quiet", "uv")
    session.run(
        *("uv", "pip", "compile", "--quiet", "--all-extras", "--resolution", "lowest-direct"),
        *("--python", OLDEST, "--output-file", oldest, "pyproject.toml"),
    )
    session.run(
        *("uv", "pip", "install", "--quiet", "--constraint", oldest),
        *("--editable", ".[all]", "--group", "tests"),
    )
    session.run("pytest", *session.posargs)


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types of the package and of tests/typing, with mypy --strict and pyright."""
    install(session, "typing")
    session.run("mypy")
    session.run("pyright")


@nox.session
def lint(session: nox.Session) -> None:
    """Look for mistakes and formatting with ruff."""
    session.install("--quiet", "--upgrade", "pip>=25.1")
    session.install("--quiet", "--group", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; every warning is an error."""
    install(session, "docs")
    session.run("sphinx-build", "-W", "-n", "-q", "-b", "html", "docs", "docs/_build/html")


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks, or those that are named: ``nox -s bench -- benchmarks/hits.py``."""
    install(session, "benchmarks")
    scripts = session.posargs or sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / "benchmarks").glob("[!_]*.py")
    )
    for script in scripts:
        session.run("python", script)


@nox.session
def downstream(session: nox.Session) -> None:
    """Run Flask-Caching's own tests against this package."""
    install(session, "downstream")
    session.run("python", "tools/downstream.py", *session.posargs)
