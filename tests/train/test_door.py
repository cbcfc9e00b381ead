"""Parts of a config are handed out at the door, and methods are rows, asked and never named."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from qcuda.bench.eager import MOVES, READINGS
from qcuda.train.methods import METHODS
from qtheory.algorithms import STEMS

QCUDA = Path(__file__).resolve().parents[2] / "cuda" / "qcuda"
DOOR = {("train/door.py", "begin"), ("train/door.py", "_network"), ("train/door.py", "_floats")}
DOOR |= {("train/job.py", "run")}
OWN = ("full", "ste", "walker8", "walker6", "walker4", "ternary_bop10")
OWN += ("stochastic_rounding", "ternary_bop")
ROOMS = ("train", "models", "data", "schedules", "bench", "cli")


def sources() -> Iterator[tuple[str, str]]:
    for path in sorted(QCUDA.rglob("*.py")):
        yield str(path.relative_to(QCUDA)), path.read_text()


def takers(text: str) -> list[str]:
    """Functions with an argument whose type names the whole config."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            a = node.args
            every = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
            types = [one.annotation for one in every if one is not None and one.annotation]
            names = {
                name
                for kind in types
                for part in ast.walk(kind)
                for name in (
                    getattr(part, "id", ""),
                    getattr(part, "attr", ""),
                    part.value if isinstance(part, ast.Constant) else "",
                )
            }
            if "Config" in names:
                found.append(getattr(node, "name", "lambda"))
    return found


def named(text: str) -> list[str]:
    """Names of methods and stems that the code writes, and keys that it builds from strings."""
    tree, found = ast.parse(text), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in {*METHODS, *STEMS}:
            found.append(node.value)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr":
            found += ["getattr"] * isinstance(node.args[1], ast.JoinedStr)
    return found


def test_no_function_behind_the_door_takes_the_whole_config():
    found = {(path, name) for path, text in sources() for name in takers(text)}
    assert found == DOOR


@pytest.mark.parametrize(
    "text",
    [
        "def f(config: Config): ...",
        "def f(*, configs: dict[bool, Config] | None = None): ...",
        "def f(config: 'Config'): ...",
        "class A:\n    def f(self, config: config.Config): ...",
    ],
)
def test_a_function_that_takes_the_whole_config_is_found(text: str):
    assert takers(text) == ["f"]
    assert takers("def f(config: LatticeConfig) -> Config: ...") == []


def test_methods_are_named_in_their_table_alone():
    found = {
        (path, name) for path, text in sources() if path.startswith(ROOMS) for name in named(text)
    }
    own = {("train/methods.py", name) for name in OWN}
    torchs = {("bench/eager.py", name) for name in {*MOVES, *READINGS}}  # a user's form of each
    assert found == own | torchs


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("if method == 'dst': ...", "dst"),
        ("x = {'stochastic_rounding': 1}", "stochastic_rounding"),
        ("getattr(config, f'{method}_learning_rate')", "getattr"),
    ],
)
def test_a_name_in_the_code_is_found(text: str, name: str):
    assert named(text) == [name]
