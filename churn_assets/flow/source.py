"""What an asset is made by: the source of everything that making it really imports, as one digest.

An asset counts its own function, with what else of its file that uses, and the modules that these and its format
import, directly or through others; imports inside of functions too, those for type checkers not. What judges, shows or
declares and shapes no value does not count (`SHAPES_NOTHING`); a verdict counts all that its gate functions import.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from symtable import SymbolTable, symtable
from typing import TypeGuard

import grimp

from churn_assets.flow.asset import AssetSpec
from churn_assets.flow.check import modules_of
from churn_assets.flow.paths import module_of

_PACKAGE = Path(__file__).resolve().parents[1]

SHAPES_NOTHING = frozenset(
    {f"{_PACKAGE.name}.flow", f"{_PACKAGE.name}.gates.plots", f"{_PACKAGE.name}.gates.report"}
)
"""Rooms and modules that declare, show or report what was made elsewhere."""

JUDGES = frozenset({"checks", "gate_config", "gates"})
"""Names of modules that judge a model and do not shape it."""


def training_digest(asset: AssetSpec) -> str:
    """sha256 (hex) of what an asset is made by."""
    if asset.source is not None:
        return asset.source()
    own = _own_source(asset.body)
    return _digest(training_modules(asset), own.text)


def verdict_digest(asset: AssetSpec) -> str:
    """sha256 (hex) of what an asset's checks are made by."""
    return _digest(verdict_modules(asset))


def training_modules(asset: AssetSpec) -> frozenset[str]:
    """Modules that making an asset imports, its own file aside."""
    return _closure(frozenset({*_own_source(asset.body).modules, module_of(asset.format)}), shapes)


def verdict_modules(asset: AssetSpec) -> frozenset[str]:
    """Modules that an asset's checks import."""
    return _closure(
        frozenset(name for spec in asset.checks for name in modules_of(spec)), lambda _module: True
    )


def shapes(module: str) -> bool:
    """Whether a module can shape the value of an asset."""
    declares = any(module == each or module.startswith(f"{each}.") for each in SHAPES_NOTHING)
    return not declares and module.rpartition(".")[2] not in JUDGES


@functools.cache
def file_of(module: str) -> Path:
    """The file of a module of the library."""
    path = _PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@dataclass(frozen=True)
class OwnSource:
    """What of its own file a function consists of.

    Attributes:
        text: Its definition and those of everything else in the file that it uses.
        modules: The library's modules that these import.
    """

    text: str
    modules: frozenset[str]


@functools.cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(_PACKAGE.name, exclude_type_checking_imports=True, cache_dir=None)


@functools.cache
def _closure(start: frozenset[str], counts: Callable[[str], bool]) -> frozenset[str]:
    graph, found = _graph(), set[str]()
    pending = [module for module in start if counts(module) and module in graph.modules]
    while pending:
        module = pending.pop()
        if module not in found:
            found.add(module)
            pending += [each for each in graph.find_modules_directly_imported_by(module) if counts(each)]
    return frozenset(found)


def _digest(modules: Iterable[str], text: str = "") -> str:
    state = hashlib.sha256(text.encode())
    for module in sorted(modules):
        content = hashlib.sha256(file_of(module).read_bytes()).hexdigest()
        state.update(f"{module} {content}\n".encode())
    return state.hexdigest()


def _own_source(function: Callable[..., object]) -> OwnSource:
    path = Path(inspect.getfile(function))
    return _reachable(path.read_text(encoding="utf-8"), function.__name__)


@functools.lru_cache(maxsize=64)
def _reachable(text: str, name: str) -> OwnSource:
    """What a name of a module leads to within its text."""
    tree, lines = ast.parse(text), text.splitlines()
    bound: dict[str, list[ast.stmt]] = {}
    for top in tree.body:
        for statement in top.orelse if _for_type_checkers(top) else [top]:
            for each in _binds(statement):
                bound.setdefault(each, []).append(statement)
    scopes = {scope.get_name(): scope for scope in symtable(text, name, "exec").get_children()}
    pending, seen, imported = [name], set[str](), set[str]()
    used: dict[int, str] = {}
    while pending:
        each = pending.pop()
        for statement in [] if each in seen else bound.get(each, []):
            if isinstance(statement, ast.Import | ast.ImportFrom):
                imported.update(_modules(statement, each))
                continue
            start = min([statement.lineno, *(of.lineno for of in getattr(statement, "decorator_list", ()))])
            used[start] = "\n".join(lines[start - 1 : statement.end_lineno])
            pending += _used(statement, scopes.get(each))
            for node in ast.walk(statement):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    imported.update(_modules(node))
        seen.add(each)
    return OwnSource("\n".join(used[start] for start in sorted(used)), frozenset(imported))


def _binds(node: ast.AST) -> Iterator[str]:
    """Names that a statement at the top of a module gives a meaning to."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import() | ast.ImportFrom():
            yield from (each.asname or each.name.partition(".")[0] for each in node.names)
        case ast.Name(id=name, ctx=ast.Store()):
            yield name
        case _:
            for each in ast.iter_child_nodes(node):
                yield from _binds(each)


def _for_type_checkers(statement: ast.stmt) -> TypeGuard[ast.If]:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"


def _used(statement: ast.stmt, scope: SymbolTable | None) -> Iterator[str]:
    """Names outside of it that a statement uses; those of a function's own parameters and variables are its own."""
    outside: list[ast.AST] = [statement]
    if isinstance(statement, ast.FunctionDef):
        defaults = [*statement.args.defaults, *filter(None, statement.args.kw_defaults)]
        outside = [*statement.decorator_list, *defaults]
        scopes = [] if scope is None else [scope]
        while scopes:
            inner = scopes.pop()
            scopes += inner.get_children()
            yield from (symbol.get_name() for symbol in inner.get_symbols() if symbol.is_global())
    for each in outside:
        yield from (node.id for node in ast.walk(each) if isinstance(node, ast.Name))


def _modules(statement: ast.Import | ast.ImportFrom, name: str | None = None) -> Iterator[str]:
    """The library's modules that an import names, or the one by which it gives a name its meaning."""
    graph = _graph()
    for each in statement.names:
        if name is not None and (each.asname or each.name.partition(".")[0]) != name:
            continue
        if isinstance(statement, ast.Import):
            wanted = each.name
        else:
            inside = f"{statement.module}.{each.name}"
            wanted = inside if inside in graph.modules else str(statement.module)
        if wanted in graph.modules:
            yield wanted
