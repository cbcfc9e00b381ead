"""Folders: one kind of thing in each, by a name that a stranger would try.

A folder holds at least three things, a prefix that three files share is a folder, and the tests of
the exact room lie as that room does.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

import pytest

LEAST = 3
SMALL = {  # folders that hold fewer things, and why
    "docs": "the figure of the README, until there are pages",
    "docs/figures": "the figure of the README, until there are pages",
    "reference": "its one package; the others stand beside more",
}
# What is still to be mended; each of the two sets may only shrink.
SMALL_YET: set[str] = set()
SHARED_YET = {"papers/qpapers/spallanzani2022/order*"}
MIRROR = "tests/theory/"  # is as small as the room that it mirrors
# Stems are names: that three begin alike says nothing. Notebooks begin with their number.
NAMES_OF_STEMS = ("qtheory/algorithms", "reference/qreference", "cuda/csrc/algorithms")
# What tests of tests/theory are about that belong to no module alone: path without `test_`.
ABOUT_MANY = {
    "algorithms/registry": "every algorithm that is registered",
    "chain/theorems": "theorems of books, which several modules of chains share",
}
UNMIRRORED_YET: set[str] = set()


def contents(paths: Iterable[str]) -> dict[str, set[str]]:
    """What each folder below the top holds: names of files and of folders."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in map(PurePosixPath, paths):
        for inside, folder in zip((path, *path.parents), path.parents, strict=False):
            found[str(folder)].add(inside.name)
    return {folder: names for folder, names in found.items() if folder != "."}


def small_folders(paths: Iterable[str]) -> set[str]:
    """Folders that hold fewer than three things."""
    return {
        folder
        for folder, names in contents(paths).items()
        if len(names) < LEAST and not folder.startswith(MIRROR)
    }


def prefix(name: str) -> str:
    """The first word of a file's name, without the number or the `test_` before it."""
    return re.split(r"[_.]", re.sub(r"^(test_|\d+_)", "", name))[0]


def shared_prefixes(paths: Iterable[str]) -> set[str]:
    """Prefixes of three files of one folder, which so are a folder in disguise."""
    found = Counter(
        f"{path.parent}/{prefix(path.name)}*"
        for path in map(PurePosixPath, paths)
        if path.suffix in (".py", ".h", ".cpp", ".cu") and str(path.parent) not in NAMES_OF_STEMS
    )
    return {start for start, count in found.items() if count >= LEAST}


def unmirrored(paths: Iterable[str]) -> set[str]:
    """Tests of tests/theory that lie beside no module of qtheory: `x.py` has `test_x.py`.

    A test may add words to the name of the module that it is about: `test_dst_chain.py`.
    """
    paths = set(paths)
    modules = {p[len("qtheory/") : -3] for p in paths if re.match(r"qtheory/.*\.py$", p)}
    packages = {module.removesuffix("/__init__") for module in modules}
    found = set[str]()
    for path in paths:
        if (match := re.match(rf"{MIRROR}(.*?)test_(\w+)\.py$", path)) is None:
            continue
        folder, name = match.groups()
        words = name.split("_")
        subjects = {folder + "_".join(words[:k]) for k in range(1, len(words) + 1)}
        if not subjects & (packages | set(ABOUT_MANY)) and folder.rstrip("/") not in ABOUT_MANY:
            found.add(path)
    return found


def test_a_folder_holds_three_things(paths: list[str]):
    small = small_folders(paths)
    assert small - SMALL_YET == set(SMALL)


def test_a_prefix_of_three_files_is_a_folder(paths: list[str]):
    assert shared_prefixes(paths) - SHARED_YET == set()


def test_tests_of_the_exact_room_lie_as_it_does(paths: list[str]):
    assert "qtheory/lattice.py" in paths and "tests/theory/test_lattice.py" in paths
    assert unmirrored(paths) - UNMIRRORED_YET == set()


def test_what_is_wrong_with_folders_is_found():
    three = ["a/b/x_one.py", "a/b/test_x_two.py", "a/b/x.h", "a/y_1.py"]
    assert small_folders([*three, "c/d.py"]) == {"a", "c"}
    assert shared_prefixes([*three, "a/y_2.py"]) == {"a/b/x*"}
    assert shared_prefixes(["n/01_x.py", "n/02_x.py", "n/03_x.py"]) == {"n/x*"}
    modules = ["qtheory/chain/__init__.py", "qtheory/chain/exact.py", "qtheory/lattice.py"]
    good = ["tests/theory/test_lattice.py", "tests/theory/chain/test_exact_twice.py"]
    assert unmirrored([*modules, *good, "tests/qcuda/test_x.py"]) == set()
    bad = ["tests/theory/test_exact.py", "tests/theory/chains/test_exact.py"]
    assert unmirrored([*modules, *good, *bad]) == set(bad)


@pytest.mark.parametrize(("name", "first"), [("test_a_b.py", "a"), ("07_a.py", "a"), ("a.h", "a")])
def test_the_first_word_of_a_name(name: str, first: str):
    assert prefix(name) == first
