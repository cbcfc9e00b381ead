"""An algorithm has one stem, the same in every room, and nobody else names it.

Adding an algorithm touches its own files and one line. So no other file of the packages, or of the
suites that the registry drives, may name a stem or its class: they ask fields. An example is no
dependence: tests of other things, notebooks and papers may name the algorithm they use, but not
ask what a spec is an instance of.

Prose in docstrings and comments is free. Names, attributes and strings in code are not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import pytest
from rules.reading import Sources

REGISTRY, LIST = "qtheory/algorithms/base.py", "STEMS"
DEFINITIONS, HEADERS = "qtheory/algorithms/", "cuda/csrc/algorithms/"
ANSWERS = "cuda/qcuda/kernels/known_answers/"
CODE = (".py", ".h", ".cuh", ".cu", ".cpp", ".json")
# Where a stem may not be named at all; elsewhere `isinstance` and its like are looked for.
SILENT = (
    "qtheory/", "reference/", "cuda/", "tests/conformance/", "tests/strategies.py",
)  # fmt: skip
# A benchmark measures an algorithm beside another form of the same, so it names it as an example;
# a table of methods has rows that are one algorithm with numbers of their own.
EXAMPLES = (
    "cuda/qcuda/bench/", "cuda/benchmarks/", "cuda/csrc/gpu/instructions.py",
    "cuda/qcuda/train/methods.py", "cuda/qcuda/study/rules.py",
)  # fmt: skip
# Words of mathematics that are a stem too: folder, stem, and what the word means there.
OTHER_WORDS = {
    ("qtheory/chain/", "metropolis"): "the chain that has a given law",
    ("qtheory/gradients/stochastic/", "relaxed_quantization"): "a noise cut off, and its law",
    ("qtheory/algorithms/reader.py", "relaxed_quantization"): "the same, of any row with cut ends",
}


def stems(registry: str) -> list[str]:
    """The list of stems, read off the source."""
    for node in ast.parse(registry).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == LIST:
            return list(ast.literal_eval(node.value))
    raise AssertionError(f"{REGISTRY} has no list {LIST}")


def names(stem: str, files: dict[str, str]) -> re.Pattern[str]:
    """A stem as part of a name (`_dst_up`, `DST_FILES`), or a class that its module defines.

    The end of a longer stem is no mention of the shorter one.
    """
    module = files.get(f"qtheory/algorithms/{stem}.py", "")
    classes = [n.name for n in ast.parse(module).body if isinstance(n, ast.ClassDef)]
    longer = [s[: -len(stem)] for s in stems(files[REGISTRY]) if s.endswith(f"_{stem}")]
    apart = "".join(rf"(?<!{start})(?<!{start.upper()})" for start in longer)
    snake = rf"(?<![A-Za-z0-9]){apart}(?:{stem}|{stem.upper()})(?![A-Za-z0-9])"
    camel = [rf"(?<![A-Za-z0-9]){name}(?![a-z0-9])" for name in classes]
    return re.compile("|".join([snake, *camel]))


def own(path: str, stem: str) -> bool:
    """Whether a file is the stem's: its name, or its folder's, is the stem."""
    if any(path.startswith(folder) and word == stem for folder, word in OTHER_WORDS):
        return True
    place = PurePosixPath(path)
    return place.stem in (stem, f"test_{stem}") or place.parent.name == stem


# One stem, the same in every room


def homes(stem: str, files: dict[str, str]) -> list[str]:
    """The files that an algorithm has at least. What readers share is enough for a reader."""
    spec = f"{DEFINITIONS}{stem}.py"
    if re.search(r"""family=["']reader["']""", files.get(spec, "")):
        return [spec]
    others = [f"reference/qreference/{stem}.py", f"{HEADERS}{stem}.h", f"{ANSWERS}{stem}.json"]
    return [spec, *others]


def stem_violations(files: dict[str, str]) -> list[str]:
    """What each stem of the registry lacks, and kernels of none: the build finds them by name."""
    wanted = stems(files[REGISTRY])
    kernels = [PurePosixPath(path).stem for path in files if path.startswith((HEADERS, ANSWERS))]
    shared = {"walker", "words"}
    violations = [f"{k} is no stem of {REGISTRY}" for k in kernels if k not in {*wanted, *shared}]
    for stem in wanted:
        violations += [f"{stem} lacks {home}" for home in homes(stem, files) if home not in files]
    return violations


def test_every_stem_is_in_every_room(sources: Sources):
    files = sources(*CODE)
    assert len(stems(files[REGISTRY])) >= 5
    assert stem_violations(files) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda files: files.pop("qtheory/algorithms/dst.py"),
        lambda files: files.pop("qtheory/algorithms/binary_connect.py"),
        lambda files: files.pop("reference/qreference/dst.py"),
        lambda files: files.pop(f"{HEADERS}dst.h"),
        lambda files: files.pop(f"{ANSWERS}dst.json"),
        lambda files: files.update({f"{HEADERS}sgd.h": ""}),
        lambda files: files.update({REGISTRY: 'STEMS = ("dst", "nosuch")'}),
    ],
)
def test_a_stem_that_lacks_a_room_is_found(
    damage: Callable[[dict[str, str]], object], sources: Sources
):
    files = sources(*CODE)
    damage(files)
    assert stem_violations(files) != []


# Nobody else names it


def words(path: str, text: str) -> Iterator[str]:
    """Names, attributes and strings of a file's code; no comments, no docstrings."""
    if not path.endswith(".py"):
        yield re.sub(r"//.*|/\*.*?\*/", "", text, flags=re.DOTALL if "/*" in text else 0)
        return
    tree = ast.parse(text)
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if id(node) in prose:
            continue
        for field in ("id", "attr", "name", "asname", "module", "arg", "value", "names"):
            value = getattr(node, field, None)
            yield from [value] if isinstance(value, str) else []
            yield from (
                [n for n in value if isinstance(n, str)] if field == "names" and value else []
            )


def asked(text: str) -> Iterator[str]:
    """Second arguments of isinstance and issubclass, what types are compared with, and cases."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            yield ast.unparse(node.args[1])
        elif isinstance(node, ast.Compare) and re.search(r"\btype\(", ast.unparse(node.left)):
            yield from map(ast.unparse, node.comparators)
        elif isinstance(node, ast.MatchClass):
            yield ast.unparse(node.cls)


def without_the_list(registry: str) -> str:
    """The registry's source but for its one list, which is the line that an algorithm adds."""
    tree = ast.parse(registry)
    listed = (n for n in tree.body if isinstance(n, ast.Assign))
    lines = {id(n) for n in listed if ast.unparse(n.targets[0]) == LIST}
    kept = [n for n in tree.body if id(n) not in lines]
    return ast.unparse(ast.Module(kept, []))


def mentions(path: str, text: str, stem: str, pattern: re.Pattern[str]) -> bool:
    """Whether a file that is not the stem's own depends on it."""
    if own(path, stem):
        return False
    if path.startswith(SILENT) and not path.startswith(EXAMPLES):
        text = without_the_list(text) if path == REGISTRY else text
        return any(map(pattern.search, words(path, text)))
    return path.endswith(".py") and any(map(pattern.search, asked(text)))


def dependent(files: dict[str, str]) -> dict[str, set[str]]:
    """Files that name stems which are not their own, and those stems."""
    found: dict[str, set[str]] = {}
    for stem in stems(files[REGISTRY]):
        pattern = names(stem, files)
        for path, text in files.items():
            if pattern.search(text) and mentions(path, text, stem, pattern):
                found.setdefault(path, set()).add(stem)
    return found


def test_nobody_else_names_a_stem(sources: Sources):
    found = dependent(sources(*CODE))
    assert found == {}, "these name a stem that is not theirs: ask a field"


PLANTED = {
    REGISTRY: 'STEMS = ("dst", "bop")',
    "qtheory/algorithms/dst.py": "class DST:\n    pass",
}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("qtheory/a.py", "if isinstance(spec, DST):\n    pass"),
        ("qtheory/a.py", "def _dst_up(): ..."),
        ("cuda/qcuda/a.py", "from qtheory.algorithms.dst import DST as D"),
        ("cuda/qcuda/a.py", "method == 'dst'"),
        ("cuda/qcuda/a.py", "f'{x} of DST'"),
        ("cuda/qcuda/a.py", "dst = 1"),
        ("cuda/qcuda/a.py", "config.dst_learning_rate"),
        ("cuda/qcuda/a.py", "f(dst=1)"),
        ("cuda/qcuda/a.py", "class DSTConfig: ..."),
        ("cuda/qcuda/kernels/answers.json", '{"dst": []}'),
        ("cuda/csrc/walker.h", '#include "dst.h"  // why'),
        ("reference/qreference/a.py", "DST_STEPS = 1"),
        ("tests/conformance/a.py", "EDGES = {'dst': 1}"),
        ("tests/theory/a.py", "assert isinstance(spec, Lattice | DST)"),
        ("papers/qpapers/x/a.py", "if type(spec) is DST: ..."),
        ("notebooks/source/a.py", "match spec:\n    case DST():\n        pass"),
        (REGISTRY, PLANTED[REGISTRY] + "\nfrom qtheory.algorithms.dst import DST"),
    ],
)
def test_a_name_elsewhere_is_found(path: str, text: str):
    assert dependent({**PLANTED, path: text}) == {path: {"dst"}}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "qtheory/a.py",
            '"""DST is a walker."""\ndef f():\n    """As dst."""  # dst\n    """DST."""',
        ),
        ("cuda/csrc/walker.h", "int x;  // as dst.h says\n/* DST\n dst */"),
        ("cuda/qcuda/a.py", "x = 'dstA'\nldst = bops = 1"),
        ("cuda/csrc/algorithms/dst.h", "struct dst {};"),
        ("cuda/qcuda/kernels/known_answers/dst.json", '{"stem": "dst"}'),
        ("reference/qreference/dst.py", "from qtheory.algorithms.dst import DST"),
        ("tests/conformance/test_dst.py", "DST"),
        ("tests/theory/a.py", "spec = DST(lattice)"),
        ("papers/qpapers/x/a.py", "'dst'"),
    ],
)
def test_prose_examples_and_own_files_are_let_pass(path: str, text: str):
    assert dependent({**PLANTED, path: text}) == {}
