"""How rules read a Python file: its imports, those of a call of import_module among them."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import PurePosixPath
from typing import NamedTuple

Sources = Callable[..., dict[str, str]]
ROOMS = {"qtheory": "", "qreference": "reference/", "qcuda": "cuda/", "qpapers": "papers/"}


class Import(NamedTuple):
    """One imported name: `from package.module import name`, or `import package.module`."""

    module: str
    name: str
    line: int
    lazy: bool  # inside a function
    typing: bool  # inside `if TYPE_CHECKING`, which never runs

    @property
    def package(self) -> str:
        return self.module.split(".")[0]


@cache
def imports(source: str, module: str = "") -> tuple[Import, ...]:
    """Imports of a file, in no particular order, with import_module where a name is written there.

    module: the dotted name that relative imports start from; without it they are left out.
    """
    return tuple(_imports(ast.parse(source), module))


def _imports(tree: ast.Module, module: str) -> Iterator[Import]:
    waiting: list[tuple[ast.AST, bool, bool]] = [(tree, False, False)]
    while waiting:
        node, lazy, typing = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (Import(a.name, "", node.lineno, lazy, typing) for a in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.level == 0 or module):
            origin = _origin(node, module)
            yield from (Import(origin, a.name, node.lineno, lazy, typing) for a in node.names)
        elif isinstance(node, ast.Call) and (written := _written(node)):
            yield Import(written, "", node.lineno, lazy, typing)
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting.extend((child, inside, True) for child in node.body)
            waiting.extend((child, inside, typing) for child in node.orelse)
        else:
            waiting.extend((child, inside, typing) for child in ast.iter_child_nodes(node))


def _written(call: ast.Call) -> str:
    """The name that a call of import_module writes out, up to a dot if a variable ends it."""
    if not ast.unparse(call.func).endswith("import_module"):
        return ""
    match = re.match(r"f?['\"]([\w.]+)", ast.unparse(call.args[0]))
    return match[1] if match else ""


def _origin(node: ast.ImportFrom, module: str) -> str:
    """The absolute name of the module that `from ... import` reads."""
    if not node.level:
        return node.module or ""
    parents = module.split(".")
    return ".".join([*parents[: len(parents) - node.level], *filter(None, [node.module])])


def modules(files: dict[str, str]) -> dict[str, str]:
    """Path of each module of the four packages, by its dotted name."""
    found: dict[str, str] = {}
    for path in files:
        for package, folder in ROOMS.items():
            if path.startswith(f"{folder}{package}/") and path.endswith(".py"):
                name = PurePosixPath(path.removeprefix(folder)).with_suffix("")
                found[".".join(p for p in name.parts if p != "__init__")] = path
    return found
