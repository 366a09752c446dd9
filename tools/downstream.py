"""Run Flask-Caching's own tests against this package: ``python tools/downstream.py [pytest args]``.

The tests come from Flask-Caching's source distribution, which is downloaded for each run. They are
copied to a temporary folder, the import names are rewritten, and pytest runs there, with every
warning an error as in the original. What is left out stands in :data:`LEFT_OUT` and
:data:`NEEDS_BACKEND`, with its reason; the last lines of the output repeat it.

The Redis and Memcached tests start servers of their own, and skip themselves where there is none.

Options of the script; everything else is given to pytest:

``--self``       run the suite against Flask-Caching itself: a check of this script
``--no-typing``  do not check the suite's typing file with mypy and pyright
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import importlib
import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

PEER, PEER_VERSION = "flask_caching", "2.5.1"
OURS = "flask_caching_async"
ROOT = Path(__file__).resolve().parent.parent
REPORT = "report.json"

#: Tests that are not promised, by pattern of their name: why.
LEFT_OUT = {
    "*::TestRedisCacheClientsOverride::*": "replaces the private clients of a backend",
    "*::test_memoize_version_key_outlives_newest_entry": "reads the private version key",
    "*::test_memoize_version_key_expires_once_its_entries_have": "reads the private version key",
    "*::test_memoize_verhash_delete": "reads the private version key",
    "*::test_memoize_annotated_delete": "reads the private version key",
    "*::test_memoize_kwargs_to_args": "calls a private method",
    "*::test_values_are_stored_in_the_configured_format": "reads the private dict of SimpleCache",
    "test_subclassing.py::*_uses_public_*": "counts round trips; we make one instead of several",
    "*::TestSimpleCache::test_purge": "wants three entries under a threshold of two",
    "*::test_jinjaext_cache": "all unnamed fragments outside of files have one key there",
    "*query_string_repeated_param*": "?a=1&a=2 and ?a=2&a=1 are one page there, and two here",
}

#: Tests that need a backend; left out until the package exports one of that name.
NEEDS_BACKEND = {
    "*::TestFileSystemCache::*": "FileSystemCache",
    "*::test_file_hash_method_is_independent": "FileSystemCache",
    "*::TestRedisCache::*": "RedisCache",
    "*::test_serializer_is_rejected_before_the_backend_is_built": "RedisCache",
    "*::test_init_app_multi_apps": "RedisCache",
    "*::test_app_redis_cache_backend_url_*": "RedisCache",
    "*::test_cache_unlink": "RedisCache",
    "*::TestMemcachedCache::*": "MemcachedCache",
}


# --- the copy of the suite ------------------------------------------------------------------------


def download(folder: Path) -> Path:
    """Fetch and unpack the peer's source distribution; the path of its tests."""
    pip("download", "--no-deps", "--no-binary", ":all:", "-d", str(folder), requirement())
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (tests,) = folder.glob("flask_caching-*/tests")
    return tests


def requirement() -> str:
    return f"{PEER.replace('_', '-')}=={PEER_VERSION}"


def rewrite(tests: Path, package: str) -> None:
    """Make the tests import ``package``, take our clock and run as root."""
    for path in sorted(tests.rglob("*.py")):
        text = path.read_text()
        if path.name == "conftest.py":
            text = blank_out(text, {"_Clock", "clock"})  # Suite.clock takes its place
            if hasattr(os, "geteuid") and os.geteuid() == 0:
                text = text.replace('["memcached",', '["memcached", "-u", "root",')
            if package != PEER:
                text = text.replace('"pylibmc"', '"pymemcache"')  # the client that we use
        if package != PEER:
            text = allow_missing_backends(text)
            text = re.sub(rf"\b{PEER}\b", package, text)
        path.write_text(text)


def blank_out(text: str, names: set[str]) -> str:
    """Empty the lines of some definitions, and keep the number of all other lines."""
    lines = text.splitlines()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            for number in range(first - 1, node.end_lineno or first):
                lines[number] = ""
    return "\n".join(lines) + "\n"


def allow_missing_backends(text: str) -> str:
    """Put an empty class in the place of each imported backend that the package has not (yet)."""
    return re.sub(
        rf"^from {PEER}\.backends import (\w+)$",
        rf'import {PEER}.backends; \1 = getattr({PEER}.backends, "\1", type("\1", (), {{}}))',
        text,
        flags=re.MULTILINE,
    )


def write_settings(tests: Path, package: str) -> None:
    """Their pytest settings. Ours warns, once per place, about keys that can never hit again, which
    the suite makes on purpose, and of prefixes that end in a letter."""
    filters = ["error", "default::pytest.PytestUnraisableExceptionWarning"]
    if package != PEER:
        filters.append(f"ignore::{package}.exceptions.AddressKeyWarning")
        filters.append(f"ignore:CACHE_KEY_PREFIX '...' ends:{package}.exceptions.CacheWarning")
    scope = "asyncio_default_fixture_loop_scope = function"  # pytest-asyncio warns without it
    lines = ["[pytest]", scope, "filterwarnings =", *(f"    {line}" for line in filters)]
    (tests / "pytest.ini").write_text("\n".join(lines) + "\n")


# --- in the process that runs pytest --------------------------------------------------------------


class Clock:
    """Real time plus an offset: what ``time.time`` is while the suite runs."""

    def __init__(self) -> None:
        self._real, self.offset = time.time, 0.0

    def __call__(self) -> float:
        return self._real() + self.offset

    def advance(self, seconds: float) -> None:
        self.offset += seconds


def run_suite(tests: Path, package: str, args: list[str]) -> int:
    """Run pytest in this process, and leave a report beside the tests."""
    import pytest

    # Both packages say ``from time import time``, so this comes before they are imported.
    clock = Clock()
    time.time = clock
    rules = exclusions(package) if package != PEER else {}

    class Suite:
        """A pytest plugin: our clock, the exclusions, the report."""

        left_out: Counter[str] = Counter()
        outcomes: Counter[str] = Counter()
        skipped: Counter[str] = Counter()

        @pytest.fixture(name="clock")
        def moving_clock(self) -> Iterator[Clock]:
            yield clock
            clock.offset = 0.0

        @pytest.hookimpl(tryfirst=True)
        def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
            kept: list[Any] = []
            dropped: list[Any] = []
            for item in items:
                reason = reason_for(item.nodeid, rules)
                (dropped if reason else kept).append(item)
                self.left_out.update([reason] if reason else [])
            config.hook.pytest_deselected(items=dropped)
            items[:] = kept

        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.when == "call" or report.outcome != "passed":
                self.outcomes[report.outcome if report.when != "teardown" else "errors"] += 1
            if report.skipped:
                self.skipped[str(report.longrepr[-1])] += 1

    suite = Suite()
    code = int(pytest.main([str(tests), "-c", str(tests / "pytest.ini"), *args], plugins=[suite]))
    report = {"outcomes": suite.outcomes, "skipped": suite.skipped, "left_out": suite.left_out}
    (tests / REPORT).write_text(json.dumps(report))
    return code


def exclusions(package: str) -> dict[str, str]:
    """What is left out of this run, by pattern."""
    backends = importlib.import_module(f"{package}.backends")
    missing = {
        pattern: f"{name}: arrives with that backend"
        for pattern, name in itertools.chain(
            NEEDS_BACKEND.items(),
            ((f"*::test_init_nullcache?{name}?", name) for name in peer_backends()),
        )
        if not hasattr(backends, name)
    }
    return LEFT_OUT | missing


def peer_backends() -> tuple[str, ...]:
    """The backends that the suite builds by their class."""
    plain = ("FileSystemCache", "NullCache", "RedisCache", "RedisSentinelCache", "SimpleCache")
    return (*plain, "MemcachedCache", "SASLMemcachedCache", "SpreadSASLMemcachedCache")


def reason_for(name: str, rules: dict[str, str]) -> str | None:
    """The rule that leaves a test out, with its reason, or ``None`` for a test that runs."""
    hits = (f"{rule}: {why}" for rule, why in rules.items() if fnmatch.fnmatchcase(name, rule))
    return next(hits, None)


# --- the whole run --------------------------------------------------------------------------------


class Check(NamedTuple):
    """One program that was run, and how it ended."""

    name: str
    code: int


def check_typing(tests: Path, folder: Path) -> list[Check]:
    """Check the suite's typing file with both type checkers."""
    (file,) = (tests / "typing").glob("memoize_typing.py")
    # Away from the repository, so that the installed package is seen as a user sees it.
    pyright = ["-m", "pyright", "--pythonpath", sys.executable, str(file)]
    return [
        Check("mypy --strict", run("-m", "mypy", "--strict", str(file), cwd=folder)),
        Check("pyright", run(*pyright, cwd=folder)),
    ]


def run(*args: str, cwd: Path = ROOT) -> int:
    """Run this Python with ``args``; its exit code."""
    # With CI set, the suite expects servers that run already instead of starting its own.
    env = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run([sys.executable, *args], cwd=cwd, env=env).returncode


def pip(*args: str) -> None:
    """Run pip, which shows errors only, and stop where it fails."""
    if code := run("-m", "pip", "-qq", "--disable-pip-version-check", *args):
        sys.exit(f"pip {args[0]} failed with exit code {code}")


def print_summary(tests: Path, package: str, checks: list[Check]) -> None:
    """Say what ran, what did not, and why."""
    print(f"\n{PEER.replace('_', '-')} {PEER_VERSION}'s own suite on {package}")
    if (tests / REPORT).exists():
        report = json.loads((tests / REPORT).read_text())
        left_out = sum(report["left_out"].values())
        counts = [f"{count} {outcome}" for outcome, count in sorted(report["outcomes"].items())]
        print("  " + ", ".join([*counts, f"{left_out} left out"]))
        for kind in ("skipped", "left_out"):
            for reason, count in sorted(report[kind].items()):
                print(f"  {kind.replace('_', ' ')} {count:3}  {reason}")
    for check in checks:
        print(f"  {check.name}: {'passed' if check.code == 0 else f'exit code {check.code}'}")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--self", action="store_true", dest="itself", help=argparse.SUPPRESS)
    parser.add_argument("--no-typing", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--inside", metavar="TESTS", type=Path, help=argparse.SUPPRESS)
    options, pytest_args = parser.parse_known_args(argv)
    package = PEER if options.itself else OURS
    if options.inside:
        return run_suite(options.inside, package, pytest_args)

    pip("install", "--group", f"{ROOT / 'pyproject.toml'}:downstream")
    if importlib.util.find_spec(package) is None:
        parser.exit(1, f"{package} is not installed for {sys.executable}\n")
    with tempfile.TemporaryDirectory(prefix="downstream-") as name:
        folder = Path(name).resolve()
        tests = download(folder)
        rewrite(tests, package)
        write_settings(tests, package)
        checks = [] if options.no_typing else check_typing(tests, folder)
        mode = ["--self"] if options.itself else []
        inside = [__file__, "--inside", str(tests), *mode, *pytest_args]
        checks.append(Check("pytest", run(*inside, cwd=tests)))
        print_summary(tests, package, checks)
        return max(abs(check.code) for check in checks)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
