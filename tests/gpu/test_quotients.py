"""The proof of csrc/tame.h: thresholds are those of the plain functions, though nothing is tested.

Inverses of every mantissa, every quotient near the middle of two floats, every argument of tanh
that could matter, and moves by the words around each threshold; with guesses up to 2 ulp off.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from generated import CSRC, include

FLAGS = ("-std=c++17", "-O2", "-march=native", "-ffp-contract=off", "-fno-strict-aliasing", "-w")
SOURCE = Path(__file__).with_name("quotients.cpp")


def test_the_proof_of_tame_quotients(compile_once):
    program = compile_once("g++", SOURCE, "quotients", (*FLAGS, *include()))
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(
        "0 of 41943040 inverses, 0 of 46517418 quotients, 0 of 3 exceptions"
    )
    assert ", 0 of 13140288 moves" in done.stdout


@pytest.mark.parametrize(
    ("says", "mutant_says"),
    [
        ("fused(guess, fused(-q, guess, 1.0f), guess)", "guess"),
        ("return fused(inverse, fused(-q, a, n), a);", "return a;"),
        ("spec.spacing * 0x1p22f", "spec.spacing * 0x1p32f"),
        ("int32_t(bits(x)) >> 31", "0"),
    ],
)
def test_a_hole_in_it_is_seen(says, mutant_says, tmp_path):
    shutil.copytree(CSRC, tmp_path / "csrc")
    changed = tmp_path / "csrc" / "tame.h"
    text = changed.read_text()
    assert text.count(says) == 1
    changed.write_text(text.replace(says, mutant_says))
    flags = (*FLAGS, *include(tmp_path / "csrc"))
    program = tmp_path / "quotients"
    if shutil.which("g++") is None:
        pytest.skip("g++ is not on PATH")
    subprocess.run(["g++", *flags, SOURCE, "-o", program], check=True)
    assert subprocess.run([program], capture_output=True, check=False).returncode == 1
