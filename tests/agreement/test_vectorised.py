"""The loops over weights are vector code: a branch that the compiler makes costs a factor of ten.

Bits do not show it, and timings are too noisy for a test, so the compiler is asked.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from generated import include

from qcuda.kernels.abi import OPTIMISERS
from qtheory.algorithms import contract, walkers

SOURCES = Path(__file__).resolve().parents[2] / "cuda" / "csrc" / "cpu"
FLAGS = [
    "-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
    "-march=x86-64-v4", "-mprefer-vector-width=512", "-w", "-S", "-o", "/dev/null",
]  # fmt: skip
COMPILER = shutil.which("g++")


def vectorised(header: str, tmp_path: Path) -> dict[str, int]:
    """How often each named loop of step.h was vectorised, over all its instances."""
    folder = tmp_path / "csrc"
    shutil.copytree(SOURCES.parent, folder)
    (folder / "cpu" / "step.h").write_text(header)
    command = [str(COMPILER), *FLAGS, *include(folder), "-fopt-info-vec-optimized"]
    command.append("cpu/library.cpp")
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    lines = header.splitlines()
    place = {
        name: next(
            number
            for number, line in enumerate(lines, start=1)
            if number > next(i for i, text in enumerate(lines) if f"void {name}(" in text)
            and "for (int64_t i" in line
        )
        for name in ("move_as", "make_increments")
    }
    found = re.findall(r"step\.h:(\d+):\d+: optimized: loop vectorized using 64", done.stderr)
    return {name: found.count(str(line)) for name, line in place.items()}


@pytest.mark.skipif(COMPILER is None, reason="no g++ to ask")
def test_every_loop_over_weights_is_vector_code(tmp_path):
    counts = vectorised((SOURCES / "step.h").read_text(), tmp_path)
    # A rule that may go to any level is vector code where its usual lattices are unrolled: with
    # two levels, and with three unless it is adjusted. Increments come in four combinations of
    # types; those of an optimiser without moments coincide.
    many = [stem for stem in walkers() if contract(stem).destinations == "any"]
    # Any other moves by any spec, and by two kinds that are quick; without words, also at once, by
    # two optimisers without moments and two types of gradients.
    headers = (SOURCES.parent / "algorithms").glob("*.h")
    certain = sum("certain<" in header.read_text() for header in headers)
    assert counts["move_as"] >= 3 * (len(walkers()) - len(many)) + 8 * certain > 8
    assert counts["make_increments"] >= 2 * len(OPTIMISERS)


@pytest.mark.skipif(COMPILER is None, reason="no g++ to ask")
def test_a_branch_is_noticed(tmp_path):
    header = (SOURCES / "step.h").read_text()
    line = "    moved += next != code;\n"
    assert header.count(line) == 1
    branch = header.replace(line, line + "    if (next < -1) return;\n")
    branch = branch.replace("move_as<Rule>(known", "move_as<Rule>(spec")  # nothing is unrolled
    assert branch.count("move_as<Rule>(spec") == 1
    assert vectorised(branch, tmp_path)["move_as"] == 0
