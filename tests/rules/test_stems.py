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

REGISTRY, LIST = "qtheory/algorithms/__init__.py", "SPECS"
HEADERS = "cuda/csrc/algorithms/"
CODE = (".py", ".h", ".cuh", ".cu", ".cpp", ".json")
# Where a stem may not be named at all; elsewhere `isinstance` and its like are looked for.
SILENT = (
    "qtheory/", "reference/", "cuda/", "tests/conformance/", "tests/strategies.py",
)  # fmt: skip
# What still names a stem, to be emptied; the test asks that it is exact, so that it only shrinks.
REMAINING = """
cuda/csrc/algorithms/registry.h: deterministic_rounding dst stochastic_rounding
cuda/qcuda/bench/chain_joint.py: stochastic_rounding
cuda/qcuda/bench/update.py: dst stochastic_rounding
cuda/qcuda/bench/watch.py: dst
cuda/qcuda/cli/__init__.py: dst stochastic_rounding
cuda/qcuda/kernels/abi.py: deterministic_rounding dst stochastic_rounding
cuda/qcuda/kernels/known_answers.json: deterministic_rounding dst stochastic_rounding
cuda/qcuda/models/digits.py: dst
cuda/qcuda/train/audits.py: dst
cuda/qcuda/train/config.py: dst
cuda/qcuda/train/figures.py: dst
cuda/qcuda/train/loop.py: dst
cuda/qcuda/train/results.py: dst
cuda/qcuda/validate/acceptance.py: deterministic_rounding dst stochastic_rounding
cuda/qcuda/validate/calibrate.py: dst stochastic_rounding
cuda/qcuda/validate/cells.py: dst
cuda/qcuda/validate/joint.py: dst
cuda/qcuda/validate/reference_law.py: dst
cuda/qcuda/validate/run.py: stochastic_rounding
cuda/qcuda/validate/same_words.py: dst
cuda/qcuda/validate/tomography.py: dst
cuda/qcuda/watch/odds.py: dst
papers/qpapers/deng2018/chain.py: dst
papers/qpapers/li2017/training.py: stochastic_rounding
qtheory/__init__.py: deterministic_rounding dst stochastic_rounding
qtheory/algorithms/__init__.py: deterministic_rounding dst stochastic_rounding
qtheory/latent.py: deterministic_rounding stochastic_rounding
qtheory/limits/design.py: deterministic_rounding dst
qtheory/limits/diffusion.py: deterministic_rounding dst stochastic_rounding
qtheory/limits/generator.py: stochastic_rounding
qtheory/transition.py: deterministic_rounding stochastic_rounding
reference/qreference/__init__.py: deterministic_rounding dst stochastic_rounding
reference/qreference/network.py: dst
tests/conformance/rooms.py: deterministic_rounding dst stochastic_rounding
tests/conformance/test_evidence.py: dst
tests/conformance/test_registry.py: deterministic_rounding dst stochastic_rounding
tests/strategies.py: deterministic_rounding dst stochastic_rounding
tests/theory/algorithms/test_registry.py: deterministic_rounding
tests/theory/test_latent.py: stochastic_rounding
tests/validate/test_exact.py: stochastic_rounding
"""


def stems(registry: str) -> list[str]:
    """Keys of the list of stems, read off the source."""
    for node in ast.walk(ast.parse(registry)):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == LIST:
            assert isinstance(node.value, ast.Dict)
            return [ast.literal_eval(key) for key in node.value.keys if key is not None]
    raise AssertionError(f"{REGISTRY} has no annotated {LIST}")


def names(stem: str, files: dict[str, str]) -> re.Pattern[str]:
    """A stem as part of a name (`_dst_up`, `DST_FILES`), or a class that its module defines."""
    module = files.get(f"qtheory/algorithms/{stem}.py", "")
    classes = [n.name for n in ast.parse(module).body if isinstance(n, ast.ClassDef)]
    snake = rf"(?<![A-Za-z0-9])(?:{stem}|{stem.upper()})(?![A-Za-z0-9])"
    camel = [rf"(?<![A-Za-z0-9]){name}(?![a-z0-9])" for name in classes]
    return re.compile("|".join([snake, *camel]))


def own(path: str, stem: str) -> bool:
    """Whether a file is the stem's: its name, or its folder's, is the stem."""
    place = PurePosixPath(path)
    return place.stem in (stem, f"test_{stem}") or place.parent.name == stem


# One stem, the same in every room


def stem_violations(files: dict[str, str]) -> list[str]:
    """What each stem of the registry lacks, and what the kernels' registry has beyond it."""
    wanted = stems(files[REGISTRY])
    header = files[f"{HEADERS}registry.h"]
    listed = re.search(r"#define QT_ALGORITHMS\(X\)(.*)", header)
    kernels = re.findall(r"X\((\w+)\)", listed[1]) if listed else []
    violations = [f"{stem} is no stem of {REGISTRY}" for stem in kernels if stem not in wanted]
    for stem in wanted:
        homes = [f"qtheory/algorithms/{stem}.py", f"reference/qreference/{stem}.py"]
        homes.append(f"{HEADERS}{stem}.h")
        violations += [f"{stem} lacks {home}" for home in homes if home not in files]
        if stem not in kernels or f'#include "{stem}.h"' not in header:
            violations.append(f"{stem} is not in {HEADERS}registry.h")
    return violations


def test_every_stem_is_in_every_room(sources: Sources):
    files = sources(".py", ".h")
    assert stems(files[REGISTRY])
    assert stem_violations(files) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda files: files.pop("qtheory/algorithms/dst.py"),
        lambda files: files.pop("reference/qreference/dst.py"),
        lambda files: files.pop("cuda/csrc/algorithms/dst.h"),
        lambda files: files.update({f"{HEADERS}registry.h": "#define QT_ALGORITHMS(X) X(sgd)"}),
        lambda files: files.update({REGISTRY: 'SPECS: dict = {"dst": 1, "bop": 2}'}),
    ],
)
def test_a_stem_that_lacks_a_room_is_found(
    damage: Callable[[dict[str, str]], object], sources: Sources
):
    files = sources(".py", ".h")
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
    kept = [
        n for n in tree.body if not isinstance(n, ast.AnnAssign) or ast.unparse(n.target) != LIST
    ]
    return ast.unparse(ast.Module(kept, []))


def mentions(path: str, text: str, stem: str, pattern: re.Pattern[str]) -> bool:
    """Whether a file that is not the stem's own depends on it."""
    if own(path, stem):
        return False
    if path.startswith(SILENT):
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
    named = {f"{path}: {' '.join(sorted(found[path]))}" for path in found}
    listed = {line for line in REMAINING.splitlines() if line}
    assert named - listed == set(), "these name a stem that is not theirs: ask a field"
    assert listed - named == set(), "these no longer do: take them from REMAINING"


PLANTED = {
    REGISTRY: 'SPECS: dict[str, type] = {"dst": 1, "bop": 2}',
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
