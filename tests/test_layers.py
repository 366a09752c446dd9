"""The order of the package: who may import whom, and how large things may grow.

The sources are parsed, not imported: an import counts wherever it stands, in a function and under
``TYPE_CHECKING`` too.
"""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "flask_caching_async"

#: From the lowest layer to the highest. A unit is a module, or a package with all that is in it. It
#: imports from units in lower rows, and from its neighbours in a row as long as there is no cycle.
LAYERS = (
    ("events", "exceptions", "typing", "stats"),
    ("_runtime", "_entries"),
    ("_flow",),
    ("serializers", "backends"),
    ("_store",),
    (
        *("config", "identity", "keys", "call_text", "pages", "parts"),
        *("signals", "statistics", "_frameworks", "tokens", "utils"),
    ),
    ("binding",),
    ("decorators", "jinja2ext", "cache_names"),
    ("lifecycle", "deletions"),
    ("insight",),
    ("get_or_set",),
    ("operations",),
    ("cache",),
    ("__init__", "testing", "contrib"),
)

#: Libraries that only some units may import.
RESERVED = {"flask": ("_frameworks",), "quart": ("_frameworks",), "click": ("contrib", "insight")}

#: Lines of code: docstrings, comments and blank lines do not count.
FILE_LINES, FUNCTION_LINES, MEDIAN_LINES = 250, 40, 8

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | FunctionNode


# --- reading the package --------------------------------------------------------------------------


def module_name(path: Path) -> str:
    """``_flow.entry`` for ``_flow/entry.py``, and ``_flow.__init__`` for the package itself."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def read_package_with_text() -> dict[str, tuple[ast.Module, str]]:
    """The syntax tree and the text of every module of the package."""
    texts = {path: path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
    return {module_name(p): (ast.parse(text, str(p)), text) for p, text in texts.items()}


def read_package() -> dict[str, ast.Module]:
    """The syntax tree of every module of the package."""
    return {module: tree for module, (tree, _) in read_package_with_text().items()}


def imported_names(module: str, tree: ast.AST) -> Iterator[str]:
    """Absolute dotted names of what a module imports: ``flask.Flask``, ``quart``.

    A name may be that of a module or of something inside one.
    """
    home = [PACKAGE.name, *module.split(".")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            base += node.module.split(".") if node.module else []
            yield from (".".join([*base, alias.name]) for alias in node.names)


def own_module(name: str, modules: set[str]) -> str | None:
    """The module of this package that a dotted name comes from, if it does."""
    top, *parts = name.split(".")
    if top != PACKAGE.name:
        return None
    if ".".join(parts) in modules:
        return ".".join(parts)
    if ".".join([*parts, "__init__"]) in modules:
        return ".".join([*parts, "__init__"])
    # An attribute of a module; of an unknown one, to be named in the message.
    return own_module(".".join([top, *parts[:-1]]), modules) if parts else "__init__"


def imports_within(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Which modules of the package each of them imports."""
    modules = set(trees)
    found = {
        module: {own_module(name, modules) for name in imported_names(module, tree)}
        for module, tree in trees.items()
    }
    return {module: {name for name in names if name} - {module} for module, names in found.items()}


def unit_of(module: str) -> str | None:
    """The unit of the table that a module belongs to."""
    units = (unit for row in LAYERS for unit in row)
    return next((u for u in units if module == u or module.startswith(u + ".")), None)


def layer_of(module: str) -> int:
    """The row of the table that a module belongs to; above all where it has no place."""
    unit = unit_of(module)
    return next((n for n, row in enumerate(LAYERS) if unit in row), len(LAYERS))


def upward_imports(graph: dict[str, set[str]]) -> list[str]:
    """Every import of something that stands higher."""
    return [
        f"{module} imports {name}"
        for module, names in graph.items()
        for name in sorted(names)
        if layer_of(name) > layer_of(module)
    ]


def cycle_in(graph: dict[str, set[str]]) -> list[str]:
    """The modules that import each other in a circle (and those that only lead into it), if any."""
    left = dict(graph)
    while leaves := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in leaves:
            del left[name]
    return sorted(left)


def code_lines(tree: ast.AST, text: str) -> int:
    """The lines of code of a module or a function, without docstrings, comments and blank lines."""
    counted = set(range(getattr(tree, "lineno", 1), getattr(tree, "end_lineno", len(text)) + 1))
    for node in ast.walk(tree):
        if isinstance(node, Documented) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            counted -= set(range(first.lineno, (first.end_lineno or 0) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(n in counted and line.strip()[:1] not in ("", "#") for n, line in lines)


def function_lines() -> dict[str, int]:
    """The lines of code of every function of the package."""
    return {
        f"{module}.{node.name}:{node.lineno}": code_lines(node, text)
        for module, (tree, text) in read_package_with_text().items()
        for node in ast.walk(tree)
        if isinstance(node, FunctionNode)
    }


# --- the rules ------------------------------------------------------------------------------------


def test_every_module_has_a_place_in_the_table() -> None:
    """A new module is placed in LAYERS before anything imports it."""
    assert [module for module in read_package() if unit_of(module) is None] == []


def test_a_module_imports_only_from_its_own_layer_or_below() -> None:
    """No import points upward, whether it runs, waits in a function or serves types only."""
    assert upward_imports(imports_within(read_package())) == []


def test_no_two_modules_import_each_other() -> None:
    """There is no import cycle, inside a layer or a package either."""
    assert cycle_in(imports_within(read_package())) == []


def test_only_frameworks_know_flask_and_quart() -> None:
    """Flask and Quart are imported under _frameworks/ alone, and click by command lines alone."""
    intruders = [
        f"{module} imports {name}"
        for module, tree in read_package().items()
        for name in imported_names(module, tree)
        if unit_of(module) not in RESERVED.get(name.split(".")[0], (unit_of(module),))
    ]
    assert intruders == []


def test_no_file_is_longer_than_one_story() -> None:
    """A file has at most 250 lines of code."""
    package = read_package_with_text().items()
    sizes = {module: code_lines(tree, text) for module, (tree, text) in package}
    assert {module: size for module, size in sizes.items() if size > FILE_LINES} == {}


def test_no_function_is_longer_than_one_screen() -> None:
    """A function has at most 40 lines of code."""
    sizes = function_lines()
    assert {name: size for name, size in sizes.items() if size > FUNCTION_LINES} == {}


def test_most_functions_are_one_step() -> None:
    """Half of all functions have fewer than 8 lines of code."""
    assert statistics.median(function_lines().values()) < MEDIAN_LINES


# --- the rules see what they are meant to see -----------------------------------------------------


def graph_of(**sources: str) -> dict[str, set[str]]:
    """The imports of a made-up package; ``__`` in a name stands for a dot."""
    named = {name.replace("__", "."): ast.parse(source) for name, source in sources.items()}
    return imports_within({"__init__": ast.parse(""), "backends.__init__": ast.parse("")} | named)


def test_relative_absolute_and_hidden_imports_are_all_seen() -> None:
    """Each way to write an import leads to the module that it means."""
    graph = graph_of(
        keys="from .exceptions import CacheError",
        operations="if TYPE_CHECKING:\n    from . import keys",
        binding="def late():\n    import flask_caching_async.operations",
        exceptions="from flask_caching_async import Cache",
        backends__base="from ..exceptions import CacheError\nfrom cachelib import BaseCache",
        backends__redis="from . import base",
        cache="from .backends import RedisCache",
    )
    assert graph == {
        "__init__": set(),
        "backends.__init__": set(),
        "keys": {"exceptions"},
        "operations": {"keys"},
        "binding": {"operations"},
        "exceptions": {"__init__"},
        "backends.base": {"exceptions"},
        "backends.redis": {"backends.base"},
        "cache": {"backends.__init__"},
    }


def test_an_upward_import_is_reported() -> None:
    """Looking up is found in the table and between folders, looking down and aside is not."""
    graph = graph_of(
        keys="from . import binding, signals",
        binding="from . import keys",
        signals="",
        _flow__policy="from .._store.open import open_store",
        _store__open="from .._flow import policy",
    )
    assert upward_imports(graph) == [
        "keys imports binding",
        "_flow.policy imports _store.open",
    ]


def test_an_import_cycle_is_reported() -> None:
    """Two neighbours that import each other are found."""
    graph = graph_of(cache="from . import keys", keys="from . import cache", config="")
    assert cycle_in(graph) == ["cache", "keys"]
