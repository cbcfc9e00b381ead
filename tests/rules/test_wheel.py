"""What a wheel carries: the three packages and the kernels' source, no papers, no test doubles.

Building one takes a minute of compiling, so that this reads the lists that the build reads.
"""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

PACKAGES = {"qtheory": "qtheory", "qreference": "reference/qreference", "qcuda": "cuda/qcuda"}
SOURCE = (".h", ".cpp", ".cu")  # what NVRTC compiles, and what an image is a hash of


@pytest.fixture(scope="module")
def build(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())["tool"]["scikit-build"]


def carried(build: dict[str, Any], paths: list[str]) -> dict[str, str]:
    """Files of a wheel by their place in it, those that are compiled apart."""
    folders = dict(build["wheel"]["packages"])
    for override in build["overrides"]:
        if override["if"].get("state") == "wheel":
            folders |= {place: f for f, place in override["wheel"]["force-include"].items()}
    left_out = build["wheel"]["exclude"]
    found = {
        f"{place}/{path.removeprefix(f'{folder}/')}": path
        for place, folder in folders.items()
        for path in paths
        if path.startswith(f"{folder}/")
    }
    return {
        place: path
        for place, path in found.items()
        if not any(fnmatch(place, rule) or place.startswith(f"{rule}/") for rule in left_out)
    }


def strays(places: dict[str, str]) -> set[str]:
    """Files of a wheel that are neither of a package nor source of a kernel."""
    return {
        place
        for place in places
        if PurePosixPath(place).parts[0] not in PACKAGES
        or ("/csrc/" in place and not place.endswith(SOURCE))
        or PurePosixPath(place).name in ("emulate.h", "fake_driver.cpp")
    }


def test_a_wheel_carries_the_packages_and_the_kernels_source(
    build: dict[str, Any], paths: list[str]
):
    assert build["wheel"]["packages"] == PACKAGES
    places = carried(build, paths)
    assert {"qtheory/lattice.py", "qreference/walker.py", "qcuda/cli/__init__.py"} <= set(places)
    assert "qcuda/_native/csrc/gpu/kernels.cu" in places
    assert strays(places) == set()


def test_papers_are_installed_in_a_checkout_only(build: dict[str, Any]):
    """An installation in place appends them; no other override names them."""
    naming = [o["if"] for o in build["overrides"] if "papers" in str(o.get("wheel"))]
    assert naming == [{"state": "editable"}]


def test_a_stray_is_found(build: dict[str, Any], paths: list[str]):
    planted = [*paths, "cuda/csrc/gpu/emulate.h", "cuda/csrc/gpu/notes.md"]
    native = "qcuda/_native/csrc/gpu"
    assert strays(carried(build, planted)) == {f"{native}/emulate.h", f"{native}/notes.md"}
    loose = {**build, "wheel": {**build["wheel"], "exclude": []}}
    assert f"{native}/build.py" in strays(carried(loose, paths))
    assert strays({"qpapers/ledger.py": "papers/qpapers/ledger.py"}) == {"qpapers/ledger.py"}
