"""A shop with a command line, as a Flask app and as a Quart app, in this process or in another."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import flask_caching_async
from flask_caching_async.insight.cli import commands
from support.waiting import PATIENCE

#: Where the package is imported from, and where the project is declared.
ROOT = Path(flask_caching_async.__file__).parent.parent
PROJECT = Path(__file__).parent.parent.parent / "pyproject.toml"
FRAMEWORKS = ("flask", "quart")

#: The shop; ``{def}`` is the colour of its views, and its settings are in the environment.
SHOP = """
import json, os
from {framework} import {Framework}, request, session
from flask_caching_async import Cache

app = {Framework}("shop")
app.secret_key = "secret"
app.config.update(json.loads(os.environ["SHOP_CONFIG"]))
cache = Cache(app)
calls = []

@app.get("/books/<int:number>")
@cache.cached(tags=["books"], query_string=["page"])
{def} book(number):
    calls.append(number)
    return f"book {{number}} {{request.args.get('page', '1')}}"

@app.get("/greeting")
@cache.cached(vary_on="Accept-Language")
def greeting():
    return request.headers.get("Accept-Language", "en")

@app.get("/me")
@cache.cached()
{def} me():
    return session.get("name", "you")

@app.get("/broken")
@cache.cached()
{def} broken():
    raise LookupError("no such shelf")

@app.get("/plain")
{def} plain():
    return "not cached"

@cache.cached()
@app.get("/late")
{def} late():
    return "registered before it was cached"

@cache.memoize()
{def} total(price, tax=0.2, *, currency="EUR"):
    calls.append((price, tax, currency))
    return price

def undecorated():
    pass

class Prices:
    @cache.memoize()
    def of(self, thing):
        return calls.append(thing) or thing

    @classmethod
    @cache.memoize()
    def taxed(cls, thing):
        return calls.append(thing) or thing

prices = Prices()
"""

_numbers = itertools.count()


class Answer(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


def source_of(framework: str) -> str:
    """The source of the shop for one framework."""
    colour = "async def" if framework == "quart" else "def"
    return SHOP.format(framework=framework, Framework=framework.title(), **{"def": colour})


class Shop:
    """The shop in this process, as a module that commands can name."""

    def __init__(self, framework: str, source: str = "") -> None:
        self.name = f"shop_{framework}_{next(_numbers)}"
        self.module: Any = types.ModuleType(self.name)
        sys.modules[self.name] = self.module
        exec(compile(source or source_of(framework), self.name, "exec"), vars(self.module))
        self.app, self.cache = self.module.app, getattr(self.module, "cache", None)

    def __call__(self, *args: str, **kwargs: Any) -> Answer:
        """Run a command: ``shop("get", "key")``."""
        return run(self.app, *args, **kwargs)

    def named(self, name: str) -> str:
        """A function of the shop, as a command names it."""
        return f"{self.name}:{name}"


def run(app: Any, *args: str, **kwargs: Any) -> Answer:
    """Run a command of an app in this process."""
    result = app.test_cli_runner().invoke(commands, list(args), **kwargs)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


def shops(framework: str, monkeypatch: Any, config: dict[str, Any]) -> Iterator[Shop]:
    """A shop with these settings, whose module is forgotten afterwards."""
    monkeypatch.setenv("SHOP_CONFIG", json.dumps(config))
    shop = Shop(framework)
    yield shop
    del sys.modules[shop.name]


# --- in another process ---------------------------------------------------------------------------


def environment(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """Where the programs ``flask`` and ``quart`` find the shops, and our commands.

    The entry points are those that ``pyproject.toml`` declares now, whatever it declared when the
    package was installed here.
    """
    project = tomllib.loads(PROJECT.read_text())["project"]
    info = folder / "shop_entry_points-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-entry-points\nVersion: 1\n")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    for framework in FRAMEWORKS:
        (folder / f"{framework}_shop.py").write_text(source_of(framework))
    return {
        **{n: v for n, v in os.environ.items() if n not in ("NO_COLOR", "FLASK_APP", "QUART_APP")},
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "PYTHONWARNINGS": "ignore",
        "SHOP_CONFIG": json.dumps(config),
    }


def command(framework: str, *args: str) -> list[str]:
    """The command line of the program ``flask`` or ``quart``."""
    return [sys.executable, "-m", framework, "--app", f"{framework}_shop", "cache", *args]


def run_program(
    framework: str, *args: str, env: dict[str, str], folder: Path, **options: Any
) -> Answer:
    """Run a command as a user does."""
    done = subprocess.run(
        command(framework, *args), env=env, cwd=folder, stdin=subprocess.DEVNULL, text=True,
        capture_output=True, timeout=PATIENCE, **options,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)
