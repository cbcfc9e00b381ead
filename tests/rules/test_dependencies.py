"""Every package that is imported is declared, and every one declared is locked.

A package that comes along with another one is not declared by that: the other may drop it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rules.reading import ROOMS, Sources, imports

# Packages that are imported by another name than they are installed by.
INSTALLED_BY = {
    "flint": "python-flint", "IPython": "ipython", "PIL": "pillow", "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}  # fmt: skip
PACKAGES = ("qtheory/", "reference/", "cuda/")
CHECKOUT = ("papers/", "tests/", "notebooks/")  # what is read and run in a checkout only
DEV = "dev"
# A program that `qtheory bench chain` hands to an interpreter which has what it compares with.
ELSEWHERE = "cuda/qcuda/bench/chain/others.py"


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def lock(root: Path) -> dict[str, list[Requirement]]:
    """Constraints by canonical name; a package may have one for each range of Pythons."""
    lines = (root / "requirements.lock").read_text().splitlines()
    constraints: dict[str, list[Requirement]] = {}
    for line in lines:
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            constraints.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return constraints


def wanted(project: dict[str, Any]) -> list[Requirement]:
    """Every dependency, those of extras included."""
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for requirements in lists for line in requirements]


def named(requirements: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def local(files: Iterable[str]) -> set[str]:
    """What tests import of each other: files and folders of `tests`, which is on their path."""
    parts = (path.removeprefix("tests/").split("/")[0] for path in files if path[:6] == "tests/")
    return {part.removesuffix(".py") for part in parts}


def undeclared(files: dict[str, str], project: dict[str, Any]) -> list[str]:
    """Imports of packages that nobody declares.

    What the packages import when they are imported is a dependency; what one of their functions
    imports may be of an extra; what a checkout's files import may be of the extra of developers.
    """
    runtime = named(project["dependencies"])
    extras = {name: named(lines) for name, lines in project["optional-dependencies"].items()}
    any_extra = runtime.union(*extras.values())
    known = sys.stdlib_module_names | set(ROOMS) | {"__future__"}
    found: list[str] = []
    for path, source in files.items():
        if path == ELSEWHERE or not path.startswith(PACKAGES + CHECKOUT):
            continue
        ours = known | local(files) if path.startswith("tests/") else known
        checkout = runtime | extras[DEV] if path.startswith(CHECKOUT) else runtime
        for i in imports(source):
            if i.package in ours or not re.fullmatch(r"\w+", i.package):
                continue
            name = canonicalize_name(INSTALLED_BY.get(i.package, i.package))
            if name not in (any_extra if i.lazy else checkout):
                found.append(f"{path}:{i.line} imports {i.package}")
    return found


def test_every_import_is_declared(sources: Sources, project: dict[str, Any]):
    files = sources(".py")
    assert ELSEWHERE in files
    assert undeclared(files, project) == []


@pytest.mark.parametrize(
    ("path", "source", "count"),
    [
        ("qtheory/a.py", "import scipy.linalg\nfrom sklearn.svm import SVC", 0),
        ("qtheory/a.py", "def f():\n    import flint", 0),
        ("qtheory/a.py", "import flint", 1),
        ("cuda/qcuda/a.py", "def f():\n    import nosuch", 1),
        ("cuda/qcuda/a.py", "import pytest", 1),
        ("cuda/qcuda/a.py", "import helper", 1),
        ("tests/x/test_a.py", "import pytest, helper, x.b\nimport flint", 0),
        ("tests/x/test_a.py", "import optuna", 1),
        ("notebooks/source/01_a.py", "import helper", 1),
        ("papers/qpapers/a.py", "import qcuda, pytest", 0),
    ],
)
def test_an_undeclared_import_is_found(path: str, source: str, count: int):
    project = {
        "dependencies": ["scipy>=1", "scikit-learn"],
        "optional-dependencies": {"dev": ["pytest", "python-flint"], "search": ["optuna>=5"]},
    }
    assert len(undeclared({path: source, "tests/helper.py": ""}, project)) == count


# The lock


def test_every_dependency_is_locked_within_its_range(
    project: dict[str, Any], lock: dict[str, list[Requirement]]
):
    for requirement in wanted(project):
        for constraint in lock[canonicalize_name(requirement.name)]:
            (pin,) = constraint.specifier
            assert requirement.specifier.contains(pin.version), f"{requirement} and {constraint}"


def test_the_lock_is_exact_and_names_no_address(root: Path, lock: dict[str, list[Requirement]]):
    for constraints in lock.values():
        assert all([s.operator for s in c.specifier] == ["=="] for c in constraints), constraints
    lines = (root / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if re.search(r"//|\.org|\.com|@|--", line)]


def test_the_lock_serves_every_build_of_torch(lock: dict[str, list[Requirement]]):
    (torch,) = lock["torch"]
    assert str(torch) == "torch==2.13.0"  # and no +cpu
    assert not [name for name in lock if re.match(r"nvidia|cuda|triton|torchvision", name)]
