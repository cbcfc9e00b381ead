"""What nvcc makes of the kernels: exact arithmetic only, and registers within their budget.

PTX is where exactness is decided: division and square root become sequences of machine
instructions, fused ones among them, whose result is correctly rounded; so PTX is what is linted.
The one exception is named: csrc/tame.h writes its quotient in assembly, and proves it.
"""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from generated import include, step_kernels

from qcuda.kernels import abi, source

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "cuda" / "csrc" / "gpu" / "kernels.cu"
HELPERS = {"qt_scalars", "qt_words", "qt_decode", "qt_outcomes", "qt_put"}
HELPERS |= {f"qt_{name}_{kind}" for name in ("stair", "stair_slope") for kind in abi.NUMBERS}
BATCHES = {"qt_batch_measured", "qt_batch_table", "qt_batch_returned"}
BATCHES |= {
    f"qt_batch_{name}_{kind}"
    for name in ("sums", "stair", "back_sums", "slope")
    for kind in abi.NUMBERS[:3]
}
HELPERS |= BATCHES
NAMES = step_kernels() | HELPERS

FORBIDDEN = re.compile(r"\b(fma|mad\.(rn|f32)|ex2|lg2|sin|cos|tanh|rsqrt)\b|\.approx|\.ftz|\.full")
FLOATING = re.compile(r"\b(add|sub|mul|div|rcp|sqrt)(\.\w+)*\.f(32|64)\b")

# Assembly that a source may hold.
ASSEMBLY = {"fma.rn.f32", "rcp.approx.ftz.f32"}
WRITTEN = re.compile(r"// begin inline asm\n(.*?)// end inline asm", re.DOTALL)

# Registers of a thread: 3 blocks of 256 threads share the 65536 of a multiprocessor, or 2.
BUDGET = {True: 128, False: 80}


def inexact(ptx: str) -> list[str]:
    """Lines whose result is not one correctly rounded operation."""
    wrong = []
    for line in WRITTEN.sub("", ptx).splitlines():
        if line.lstrip().startswith(("//", ".")):
            continue
        floating = FLOATING.search(line)
        division = floating and floating.group(1) in ("div", "rcp", "sqrt")
        if FORBIDDEN.search(line) or (division and ".rn" not in floating.group(0)):
            wrong.append(line.strip())
    return wrong


def ptx_of(compile_once, flags) -> str:
    path = compile_once(
        "nvcc", KERNELS, "kernels.ptx", ("-ptx", "-arch=compute_80", *include(), *flags)
    )
    return path.read_text()


def test_ptx_is_exact(compile_once):
    ptx = ptx_of(compile_once, source.EXACT)
    assert set(re.findall(r"\.entry (\w+)\(", ptx)) == NAMES
    assert inexact(ptx) == []
    assert {text.split()[0] for text in WRITTEN.findall(ptx)} == ASSEMBLY
    ptx = WRITTEN.sub("", ptx)
    used = {match.group(0) for match in FLOATING.finditer(ptx)}
    assert used <= {"add.f32", "sub.f32", "mul.f32", "div.rn.f32", "rcp.rn.f32", "sqrt.rn.f32"} | {
        "add.rn.f32", "sub.rn.f32", "mul.rn.f32",
        "sub.f64", "mul.f64", "div.rn.f64", "rcp.rn.f64", "sqrt.rn.f64", "add.f64",
        "add.rn.f64", "sub.rn.f64", "mul.rn.f64",
    }  # fmt: skip
    assert {"div.rn.f32", "sqrt.rn.f32"} <= used


def test_the_lint_bites(compile_once):
    fused = tuple("--fmad=true" if flag == "--fmad=false" else flag for flag in source.EXACT)
    assert any("fma.rn.f32" in line for line in inexact(ptx_of(compile_once, fused)))
    loose = {"--prec-div=true": "--prec-div=false", "--ftz=false": "--ftz=true"}
    lines = inexact(ptx_of(compile_once, tuple(loose.get(flag, flag) for flag in source.EXACT)))
    assert any("div.full" in line or "div.approx" in line for line in lines)
    assert any(re.search(r"\bmul(\.rn)?\.ftz\.f32", line) for line in lines)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The recipe's folder, and what ptxas said of each kernel and machine."""
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not on PATH")
    folder = tmp_path_factory.mktemp("image")
    command = [sys.executable, "-S", KERNELS.with_name("build.py"), folder, "--resources"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stderr


def test_no_spills_and_registers_within_budget(recipe):
    rows = re.findall(
        r"entry function '(\w+)' for 'sm_(\d+)'.*?(\d+) bytes stack frame, (\d+) bytes spill "
        r"stores, (\d+) bytes spill loads.*?Used (\d+) registers",
        recipe[1],
        re.DOTALL,
    )
    known = runpy.run_path(str(KERNELS.with_name("build.py")))["machines"](shutil.which("nvcc"))
    assert {row[:2] for row in rows} == {(name, str(sm)) for name in NAMES for sm in known}
    for name, machine, stack, stores, loads, registers in rows:
        assert (stack, stores, loads) == ("0", "0", "0"), (name, machine)
        wide = name.startswith("qt_batch_slope_")
        roomy = machine == "120" or "_adam_" in name or "_metropolis_" in name or wide
        assert int(registers) <= BUDGET[roomy], (name, machine, registers)


def test_the_recipe_makes_an_image_of_these_sources(recipe):
    image = recipe[0] / "qtheory.fatbin"
    note = json.loads((recipe[0] / "qtheory.json").read_text())
    assert image.read_bytes()[:4] == b"\x50\xed\x55\xba"
    assert note["source"] == source.digest(source.one_text(KERNELS))
    assert note["machines"] in ([80, 90], [80, 90, 100, 120])


def test_the_recipe_says_what_is_missing(monkeypatch, tmp_path, capsys):
    module = runpy.run_path(str(KERNELS.with_name("build.py")))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["build.py", str(tmp_path)])
    assert module["main"]() == 2
    assert "found none on PATH" in capsys.readouterr().err


def test_one_text_includes_each_header_once():
    text = source.one_text(KERNELS)
    assert '#include "' not in text and "#pragma once" not in text
    assert text.count("struct Launch {") == text.count("struct dst {") == 1
    assert source.digest(text) != source.digest(text + " ")
