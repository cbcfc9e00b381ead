"""The rooms: who imports whom, one stem in every room, and an import that does nothing else.

Each rule is a function from text to the list of its violations; it must be empty for the
repository and is shown, on a planted violation, not to be empty always.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

Sources = Callable[..., dict[str, str]]


class Import(NamedTuple):
    """One imported name: `from package.module import name`, or `import package.module`."""

    module: str
    name: str
    line: int
    lazy: bool  # inside a function

    @property
    def package(self) -> str:
        return self.module.split(".")[0]


def imports(source: str) -> Iterator[Import]:
    """Absolute imports of a file, calls of import_module among them, in no particular order."""
    waiting: list[tuple[ast.AST, bool]] = [(ast.parse(source), False)]
    while waiting:
        node, lazy = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (Import(a.name, "", node.lineno, lazy) for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            module = node.module or ""
            yield from (Import(module, a.name, node.lineno, lazy) for a in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield Import(ast.unparse(node.args[0]).lstrip("f").strip("'\""), "", node.lineno, lazy)
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        waiting.extend((child, inside) for child in ast.iter_child_nodes(node))


# Who imports whom

ALLOWED = {  # beside the standard library
    "qtheory/": {"qtheory", "numpy", "scipy", "sympy", "jaxtyping"},
    "reference/qreference/": {"qreference", "qtheory", "numpy", "jaxtyping"},
}
LAZILY = {"qtheory/": {"matplotlib", "flint"}, "reference/qreference/": set[str]()}
SEES_ALL = ("cuda/qcuda/validate/", "cuda/qcuda/watch/")
# Claims about chains and their benchmark judge laws, no kernel.
JUDGES_LAWS = (*SEES_ALL, "cuda/qcuda/bench/chain")


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
    """Imports of `qreference` by `qcuda`; the one folder that may does so inside functions."""
    if not path.startswith("cuda/qcuda/"):
        return []
    return [
        f"{path}:{i.line} imports {i.module}"
        for i in imports(source)
        if i.package == "qreference" and not (path.startswith(SEES_ALL) and i.lazy)
    ]


def law_violations(path: str, source: str) -> list[str]:
    """Uses of a law by what is held to it: an import of one, or an attribute of that name."""
    if not path.startswith(("cuda/qcuda/", "reference/qreference/")) or path.startswith(
        JUDGES_LAWS
    ):
        return []
    law = re.compile(r"(\w+_)?law")
    named = [(i.line, i.name) for i in imports(source) if i.package == "qtheory"]
    named += [
        (n.lineno, n.attr) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Attribute)
    ]
    return [f"{path}:{line} uses {name}" for line, name in named if law.fullmatch(name)]


def torchvision_violations(path: str, source: str) -> list[str]:
    """Imports of torchvision, which can not be imported beside every build of torch."""
    return [f"{path}:{i.line}" for i in imports(source) if i.package == "torchvision"]


IMPORT_RULES = [room_violations, crossing_violations, law_violations, torchvision_violations]


@pytest.mark.parametrize("rule", IMPORT_RULES)
def test_imports_stay_in_their_room(rule: Callable[[str, str], list[str]], sources: Sources):
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
        (law_violations, "cuda/qcuda/a.py", "from qtheory.algorithms.dst import law as f"),
        (law_violations, "cuda/qcuda/a.py", "from qtheory.algorithms.walker import walker_law"),
        (crossing_violations, "cuda/qcuda/validate.py", "def f():\n    import qreference"),
        (law_violations, "reference/qreference/a.py", "import qtheory.x as x\nx.law(1)"),
        (torchvision_violations, "notebooks/a.py", "def f():\n    import torchvision.ops"),
    ],
)
def test_an_import_that_leaves_its_room_is_found(
    rule: Callable[[str, str], list[str]], path: str, source: str
):
    assert len(rule(path, source)) == 1


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (room_violations, "qtheory/a.py", "def f():\n    import matplotlib.pyplot"),
        (room_violations, "reference/qreference/a.py", "import math\nfrom . import dst"),
        (crossing_violations, SEES_ALL[0] + "a.py", "def f():\n    import qreference"),
        (law_violations, "cuda/qcuda/a.py", "from qtheory.algorithms import DST\nflaw = 1"),
    ],
)
def test_an_import_that_stays_is_let_pass(
    rule: Callable[[str, str], list[str]], path: str, source: str
):
    assert rule(path, source) == []


# Folders that are no packages: one called `cuda` would hide NVIDIA's own


def package_violations(paths: list[str]) -> list[str]:
    """`__init__.py` files where none may be."""
    never = re.compile(r"(cuda|reference|papers)/__init__\.py|(tests|notebooks)/(.*/)?__init__\.py")
    return [path for path in paths if never.fullmatch(path)]


def test_rooms_are_folders_and_not_packages(sources: Sources):
    assert package_violations(list(sources(".py"))) == []


@pytest.mark.parametrize("path", ["cuda/__init__.py", "tests/theory/__init__.py"])
def test_a_room_made_a_package_is_found(path: str):
    assert package_violations([path, "cuda/qcuda/__init__.py"]) == [path]


# One stem, the same in every room

REGISTRY, HEADERS = "qtheory/algorithms/__init__.py", "cuda/csrc/algorithms/"


def stems(registry: str) -> list[str]:
    """Keys of SPECS, read off the source."""
    for node in ast.walk(ast.parse(registry)):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "SPECS":
            assert isinstance(node.value, ast.Dict)
            return [ast.literal_eval(key) for key in node.value.keys if key is not None]
    raise AssertionError(f"{REGISTRY} has no annotated SPECS")


def stem_violations(files: dict[str, str]) -> list[str]:
    """What each stem of the registry lacks, and what the kernels' registry has beyond it."""
    wanted = stems(files[REGISTRY])
    header = files[f"{HEADERS}registry.h"]
    listed = re.search(r"#define QT_ALGORITHMS\(X\)(.*)", header)
    kernels = re.findall(r"X\((\w+)\)", listed[1]) if listed else []
    tests = "\n".join(
        path + text
        for path, text in files.items()
        if path.startswith("tests/") and not path.startswith("tests/rules/")
    )
    violations = [f"{stem} is no stem of {REGISTRY}" for stem in kernels if stem not in wanted]
    for stem in wanted:
        homes = [f"qtheory/algorithms/{stem}.py", f"reference/qreference/{stem}.py"]
        homes.append(f"{HEADERS}{stem}.h")
        violations += [f"{stem} lacks {home}" for home in homes if home not in files]
        if stem not in kernels or f'#include "{stem}.h"' not in header:
            violations.append(f"{stem} is not in {HEADERS}registry.h")
        if not re.search(rf"(\b|test_){stem}\b", tests):
            violations.append(f"{stem} is in no test")
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
        lambda files: [files.pop(p) for p in list(files) if p.startswith("tests/")],
    ],
)
def test_a_stem_that_lacks_a_room_is_found(
    damage: Callable[[dict[str, str]], object], sources: Sources
):
    files = sources(".py", ".h")
    damage(files)
    assert stem_violations(files) != []


# Importing does nothing but define

WATCH = """
import sys
seen = []
def watch(event, arguments):
    if event in ("subprocess.Popen", "os.system", "os.posix_spawn"):
        seen.append(f"{event} {arguments[0]}")
    if event == "ctypes.dlopen" and any(w in str(arguments[0]) for w in ("qtheory", "nvrtc")):
        seen.append(f"{event} {arguments[0]}")
sys.addaudithook(watch)
exec(sys.argv[1])
maps = open("/proc/self/maps").read() if sys.platform == "linux" else ""
seen += {line.split()[-1] for line in maps.splitlines() if "libqtheory" in line}
print("\\n".join(seen))
"""


def effects(statement: str) -> list[str]:
    """Programs started and kernel libraries loaded by a statement in a fresh interpreter."""
    path = [sys.executable, "-c", WATCH, f"sys.path += {sys.path!r}; {statement}"]
    result = subprocess.run(path, capture_output=True, text=True, check=True)
    return result.stdout.split("\n")[:-1] if result.stdout.strip() else []


def test_importing_qcuda_compiles_and_loads_nothing():
    assert effects("import qcuda") == []


@pytest.mark.skipif(sys.platform != "linux", reason="plants a shared library by its Linux name")
def test_a_library_loaded_or_a_program_started_is_found(tmp_path: Path):
    import _ctypes

    planted = tmp_path / "libqtheory_v1.so"
    planted.write_bytes(Path(_ctypes.__file__).read_bytes())
    found = effects(f"import ctypes; ctypes.PyDLL({str(planted)!r})")
    assert found == [f"ctypes.dlopen {planted}", str(planted)]
    assert effects("import subprocess; subprocess.run(['true'])") == ["subprocess.Popen true"]
