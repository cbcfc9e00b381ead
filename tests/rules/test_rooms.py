"""Who imports whom, and which folders are no packages.

Each rule is a function from text to the list of its violations; it must be empty for the
repository and is shown, on a planted violation, not to be empty always.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator

import pytest
from rules.reading import Sources, imports

Rule = Callable[[str, str], list[str]]

ALLOWED = {  # beside the standard library
    "qtheory/": {"qtheory", "numpy", "scipy", "sympy", "jaxtyping"},
    "reference/qreference/": {"qreference", "qtheory", "numpy", "jaxtyping"},
}
LAZILY = {"qtheory/": {"matplotlib", "flint"}, "reference/qreference/": set[str]()}
# These compare rooms, and import the other ones inside the functions that do so.
SEES_ALL = ("cuda/qcuda/validate/", "cuda/qcuda/watch/")
# The benchmark of chains times laws and runs no kernel.
JUDGES_LAWS = (*SEES_ALL, "cuda/qcuda/bench/chain")
PRODUCT = ("qtheory/", "reference/qreference/", "cuda/qcuda/")
# `qtheory reproduce` runs the papers of a checkout.
REPRODUCES = "cuda/qcuda/cli/"

# What every room may take from qtheory: definitions. Laws, chains, limits, gradients and evidence
# are what the other rooms are held to.
DEFINITIONS = {
    "qtheory.algorithms", "qtheory.arrays", "qtheory.lattice", "qtheory.native", "qtheory.noise",
    "qtheory.optimisers", "qtheory.schedules", "qtheory.stairs.stair", "qtheory.streams",
}  # fmt: skip
# The laws that stand in modules of definitions; a test finds that there is no other.
LAWS = {"law", "one_level_law", "reading_law", "reading_law_of", "realised_law", "walker_law"}
HOMES_OF_LAWS = "qtheory/algorithms/"


def room_violations(path: str, source: str) -> list[str]:
    """Imports that leave the room of a file of `qtheory` or `qreference`."""
    room = next((room for room in ALLOWED if path.startswith(room)), None)
    if room is None:
        return []
    allowed = ALLOWED[room] | sys.stdlib_module_names
    return [
        f"{path}:{i.line} imports {i.module}"
        for i in imports(source)
        if i.package not in allowed and not (i.lazy and i.package in LAZILY[room])
    ]


def crossing_violations(path: str, source: str) -> list[str]:
    """Imports of `qreference` by `qcuda`; the two folders that may do so inside functions."""
    if not path.startswith("cuda/qcuda/"):
        return []
    return [
        f"{path}:{i.line} imports {i.module}"
        for i in imports(source)
        if i.package == "qreference" and not (path.startswith(SEES_ALL) and i.lazy)
    ]


def held_to_laws(path: str) -> bool:
    """Whether a file is of the rooms that laws judge."""
    return path.startswith(("cuda/qcuda/", "reference/qreference/")) and not path.startswith(
        JUDGES_LAWS
    )


def definition_violations(path: str, source: str) -> list[str]:
    """Imports from qtheory that are no definitions, by what is held to the exact room."""
    if not held_to_laws(path):
        return []
    named = [
        (i.line, f"qtheory.{i.name}" if i.module == "qtheory" and i.name.islower() else i.module)
        for i in imports(source)
        if i.package == "qtheory"
    ]
    homes = ("qtheory", *DEFINITIONS)
    return [
        f"{path}:{line} imports {module}"
        for line, module in named
        if module not in homes and not module.startswith("qtheory.algorithms.")
    ]


def law_violations(path: str, source: str) -> list[str]:
    """Uses of a law by what is held to it: an import of one, or an attribute of that name."""
    if not (held_to_laws(path) and any(law in source for law in LAWS)):
        return []
    named = [(i.line, i.name) for i in imports(source) if i.package == "qtheory"]
    named += [
        (n.lineno, n.attr) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Attribute)
    ]
    return [f"{path}:{line} uses {name}" for line, name in named if name in LAWS]


def evidence_violations(path: str, source: str) -> list[str]:
    """Names of `qpapers` in the three packages, but for the command that runs it."""
    if "qpapers" not in source or not path.startswith(PRODUCT):
        return []
    allowed = set(_inside_functions(source)) if path.startswith(REPRODUCES) else set()
    named = [(i.line, i.module) for i in imports(source)]
    named += [
        (n.lineno, n.value)
        for n in ast.walk(ast.parse(source))
        if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]
    return [
        f"{path}:{line} names {module}"
        for line, module in named
        if re.fullmatch(r"qpapers(\.\w+)*\.?", module) and line not in allowed
    ]


def _inside_functions(source: str) -> Iterator[int]:
    """Lines within functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            yield from range(node.lineno + 1, (node.end_lineno or node.lineno) + 1)


def torchvision_violations(path: str, source: str) -> list[str]:
    """Imports of torchvision, which can not be imported beside every build of torch."""
    return [f"{path}:{i.line}" for i in imports(source) if i.package == "torchvision"]


IMPORT_RULES: list[Rule] = [
    room_violations, crossing_violations, definition_violations, law_violations,
    evidence_violations, torchvision_violations,
]  # fmt: skip


@pytest.mark.parametrize("rule", IMPORT_RULES)
def test_imports_stay_in_their_room(rule: Rule, sources: Sources):
    files = sources(".py")
    assert {"qtheory/lattice.py", "reference/qreference/dst.py"} <= set(files)
    assert [v for path, source in files.items() for v in rule(path, source)] == []


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (room_violations, "qtheory/a.py", "import torch"),
        (room_violations, "qtheory/a.py", "import matplotlib.pyplot as plt"),
        (room_violations, "qtheory/a.py", "from qreference import dst"),
        (room_violations, "reference/qreference/a.py", "from scipy.stats import norm"),
        (room_violations, "reference/qreference/a.py", "def f():\n    import qcuda"),
        (crossing_violations, "cuda/qcuda/a.py", "def f():\n    import qreference.dst"),
        (crossing_violations, "cuda/qcuda/a.py", "import_module(f'qreference.{stem}')"),
        (crossing_violations, SEES_ALL[0] + "a.py", "if True:\n    import qreference"),
        (crossing_violations, "cuda/qcuda/validate.py", "def f():\n    import qreference"),
        (definition_violations, "cuda/qcuda/a.py", "from qtheory.chain import MarkovChain"),
        (definition_violations, "cuda/qcuda/a.py", "from qtheory import transition"),
        (definition_violations, "reference/qreference/a.py", "import qtheory.stairs.smoothing"),
        (law_violations, "cuda/qcuda/a.py", "from qtheory.algorithms.dst import law as f"),
        (law_violations, "cuda/qcuda/a.py", "from qtheory.algorithms.walker import walker_law"),
        (law_violations, "reference/qreference/a.py", "import qtheory.x as x\nx.law(1)"),
        (evidence_violations, "qtheory/a.py", "def f():\n    import qpapers"),
        (evidence_violations, "cuda/qcuda/bench/a.py", "from qpapers.chains import cases"),
        (evidence_violations, "cuda/qcuda/a.py", "def f():\n    g('qpapers.reproduce')"),
        (evidence_violations, REPRODUCES + "a.py", "from qpapers import reproduce"),
        (evidence_violations, REPRODUCES + "a.py", "HOME = 'qpapers'"),
        (torchvision_violations, "notebooks/a.py", "def f():\n    import torchvision.ops"),
    ],
)
def test_an_import_that_leaves_its_room_is_found(rule: Rule, path: str, source: str):
    assert len(rule(path, source)) == 1


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (room_violations, "qtheory/a.py", "def f():\n    import matplotlib.pyplot"),
        (room_violations, "reference/qreference/a.py", "import math\nfrom . import dst"),
        (crossing_violations, SEES_ALL[0] + "a.py", "def f():\n    import qreference"),
        (definition_violations, "cuda/qcuda/a.py", "from qtheory import Lattice, native"),
        (definition_violations, "reference/qreference/a.py", "from qtheory.algorithms.x import X"),
        (definition_violations, SEES_ALL[1] + "a.py", "from qtheory.evidence import Claim"),
        (law_violations, "cuda/qcuda/a.py", "from qtheory.algorithms import DST\nflaw = 1"),
        (law_violations, SEES_ALL[1] + "a.py", "def f():\n    return module.law"),
        (evidence_violations, REPRODUCES + "a.py", "def f():\n    g('qpapers.reproduce')"),
        (evidence_violations, "tests/a.py", "from qpapers import reproduce"),
        (evidence_violations, "cuda/qcuda/a.py", "x = 'qpapers is in a checkout only'"),
    ],
)
def test_an_import_that_stays_is_let_pass(rule: Rule, path: str, source: str):
    assert rule(path, source) == []


def says_laws(source: str) -> set[str]:
    """Public functions of a module that return probabilities of levels."""
    return {
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
        and node.returns is not None
        and re.search(r"\bPmf\b", ast.unparse(node.returns))
        and not node.name.startswith("_")
    }


def test_every_law_beside_definitions_is_listed(sources: Sources):
    found = {
        name
        for path, text in sources(".py").items()
        if path.startswith(HOMES_OF_LAWS)
        for name in says_laws(text)
    }
    assert found == LAWS
    assert says_laws("def pmf(x) -> Pmf: ...\ndef _f() -> Pmf: ...") == {"pmf"}


# Folders that are no packages: one called `cuda` would hide NVIDIA's own


def package_violations(paths: list[str]) -> list[str]:
    """`__init__.py` files where none may be."""
    never = re.compile(r"(cuda|reference|papers)/__init__\.py|(tests|notebooks)/(.*/)?__init__\.py")
    return [path for path in paths if never.fullmatch(path)]


def test_rooms_are_folders_and_not_packages(sources: Sources):
    assert package_violations(list(sources(".py"))) == []


@pytest.mark.parametrize("path", ["cuda/__init__.py", "tests/theory/__init__.py"])
def test_a_room_made_a_package_is_found(path: str):
    assert package_violations([path, "cuda/qcuda/__init__.py", "papers/qpapers/__init__.py"]) == [
        path
    ]
