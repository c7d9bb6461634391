"""Import paths `module:NAME`: they name what is imported only when it is needed, and can be read without importing."""

from __future__ import annotations

import ast
import functools
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from churn_assets.store.formats import ArtifactFormat


def module_of(path: str) -> str:
    """The module of an import path."""
    return path.partition(":")[0]


def resolve(path: str) -> Any:
    """What an import path names; imports its module."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


@functools.cache
def resolve_format(path: str) -> ArtifactFormat[Any]:
    """The format that an import path names; imports the libraries that it needs.

    Raises:
        TypeError: It is no format.
    """
    found = resolve(path)
    if not isinstance(found, ArtifactFormat):
        raise TypeError(f"{path} is not an artifact format")
    return found


@functools.cache
def function_in(path: str) -> ast.FunctionDef:
    """The definition of the function that an import path names, read from its file: nothing heavy is imported.

    Raises:
        LookupError: There is no such module, or no such function in it.
    """
    module, _, name = path.partition(":")
    found = find_spec(module)
    if found is None or found.origin is None:
        raise LookupError(f"{path}: there is no module {module}")
    for statement in ast.parse(Path(found.origin).read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.FunctionDef) and statement.name == name:
            return statement
    raise LookupError(f"{path}: {module} has no function {name}")
