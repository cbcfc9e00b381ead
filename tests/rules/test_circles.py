"""No circle of imports: a reader who starts anywhere comes to an end.

Imports inside functions count: a circle that Python survives because half of it waits is a circle
for a reader. Imports under `if TYPE_CHECKING` do not: they run in no program, and name the type of
an argument that is handed in, so that neither file can be read only after the other.
Nor do modules that a registry finds by a name it is handed: nobody wrote which.
A package's `__init__` counts as what it imports; that a module runs its package's `__init__` first
is not an arrow that anybody wrote.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from rules.reading import Sources, imports, modules


def graph(files: dict[str, str]) -> dict[str, set[str]]:
    """The modules of the four packages, and what each imports of them."""
    known = modules(files)
    arrows: dict[str, set[str]] = {}
    for name, path in known.items():
        inside = f"{name}.__init__" if path.endswith("__init__.py") else name
        found = [i for i in imports(files[path], inside) if not i.typing]
        named = {f"{i.module}.{i.name}" if i.name else i.module for i in found}
        named = {n if n in known or n.endswith(".") else n.rpartition(".")[0] for n in named}
        arrows[name] = (named & set(known)) - {name}
    return arrows


def circle(arrows: Mapping[str, set[str]]) -> list[str]:
    """One circle, its first name repeated at the end; empty if there is none."""
    done: set[str] = set()

    def follow(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for following in sorted(arrows.get(name, ())):
            if found := follow(following, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(arrows) if (found := follow(name, []))), [])


def test_imports_run_in_no_circle(sources: Sources):
    arrows = graph(sources(".py"))
    assert {"qtheory.lattice", "qcuda.cli", "qreference", "qpapers.reproduce"} <= set(arrows)
    assert circle(arrows) == []


A, B = "qtheory/a.py", "qtheory/b/c.py"


@pytest.mark.parametrize(
    "files",
    [
        {A: "from qtheory.b.c import x", B: "from qtheory.a import y"},
        {A: "import qtheory.b.c", B: "def f():\n    from qtheory import a"},
        {A: "from importlib import import_module\nm = import_module('qtheory.b.c')",
         B: "from ..a import y"},
        {A: "from qtheory.b import x", "qtheory/b/__init__.py": "from qtheory.b.c import x",
         B: "from qtheory import a"},
    ],
)  # fmt: skip
def test_a_circle_is_found(files: dict[str, str]):
    found = circle(graph(files))
    assert found[0] == found[-1] and {"qtheory.a", "qtheory.b.c"} <= set(found)


def test_what_is_no_circle_is_let_pass():
    for_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from qtheory import a"
    assert circle(graph({A: "import qtheory.b.c", B: for_types})) == []
    assert circle({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []
    by_name = "def f(name):\n    return import_module(f'qtheory.{name}')"
    assert circle(graph({A: by_name, B: "from qtheory import a"})) == []
    assert graph({A: "import qtheory.b.c", B: ""})["qtheory.a"] == {"qtheory.b.c"}
