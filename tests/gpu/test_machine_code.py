"""What nvcc makes of the kernels: exact arithmetic only, and registers within their budget.

PTX is where exactness is decided: division and square root become sequences of machine
instructions, fused ones among them, whose result is correctly rounded; so PTX is what is linted.
The one exception is named: csrc/tame.h writes its quotient in assembly, and proves it.

A quick run compiles a sample of the step kernels: each rule, optimiser, storage and type of number
at least once, for each machine. The profile `deep` compiles them all.
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
from generated import CSRC, include, parts_of_steps
from samples import deep, sample

from qcuda.kernels import abi, source

KERNELS = CSRC / "gpu" / "kernels.cu"
ALL = "QT_ALGORITHMS(QT_STEPS)\n"
HELPERS = {f"qt_{name}" for name in ("scalars", "words", "decode", "outcomes", "put")}
HELPERS |= {"qt_squares", "qt_gains"}
HELPERS |= {f"qt_{name}_{kind}" for name in ("stair", "stair_slope") for kind in abi.NUMBERS}
BATCHES = {"qt_batch_measured", "qt_batch_table", "qt_batch_returned"}
BATCHES |= {
    f"qt_batch_{name}_{kind}"
    for name in ("sums", "stair", "back_sums", "slope")
    for kind in abi.NUMBERS[:3]
}
HELPERS |= BATCHES

FORBIDDEN = re.compile(r"\b(fma|mad\.(rn|f32)|ex2|lg2|sin|cos|tanh|rsqrt)\b|\.approx|\.ftz|\.full")
FLOATING = re.compile(r"\b(add|sub|mul|div|rcp|sqrt)(\.\w+)*\.f(32|64)\b")

# Assembly that a source may hold.
ASSEMBLY = {"fma.rn.f32", "rcp.approx.ftz.f32", "mov.b64"}  # the last by shuffles of doubles
WRITTEN = re.compile(r"// begin inline asm\n(.*?)// end inline asm", re.DOTALL)

RARE = (
    "qt_step_dst_momentum_trits_bfloat16_int8",
    "qt_step_stochastic_rounding_momentum_int8_float32_int8",
)

# Registers of a thread: 3 blocks of 256 threads share the 65536 of a multiprocessor, or 2.
BUDGET = {True: 128, False: 80}


# What ptxas says of a kernel.
RESOURCES = re.compile(
    r"entry function '(\w+)' for 'sm_(\d+)'.*?(\d+) bytes stack frame, (\d+) bytes spill "
    r"stores, (\d+) bytes spill loads.*?Used (\d+) registers",
    re.DOTALL,
)


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


def chosen() -> list[str]:
    """The step kernels that are compiled here."""
    parts = parts_of_steps()
    return [source.step(*each) for each in (parts if deep() else sample(parts, lambda p: p))]


def sources(folder: Path, kernels: list[str]) -> Path:
    """kernels.cu with these step kernels, in a copy of csrc beside the package's file that
    the recipe needs. Skips without nvcc."""
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not on PATH")
    shutil.copytree(CSRC, folder / "csrc")
    (folder / "qcuda" / "kernels").mkdir(parents=True)
    shutil.copy(source.__file__, folder / "qcuda" / "kernels" / "source.py")
    path = folder / "csrc" / "gpu" / "kernels.cu"
    assert path.read_text().count(ALL) == 1
    listed = (source.only(kernel)[0].removeprefix("QT_ONE_STEP=") for kernel in kernels)
    steps = "".join(f"QT_STEP({arguments})\n" for arguments in listed)
    path.write_text(path.read_text().replace(ALL, steps))
    return path


def ptx_of(file: Path, flags: tuple[str, ...]) -> str:
    output = file.with_suffix(".ptx")
    command = ["nvcc", "-ptx", "-arch=compute_80", *include(), *flags, file, "-o", output]
    subprocess.run(command, check=True)
    return output.read_text()


def test_ptx_is_exact(tmp_path):
    ptx = ptx_of(sources(tmp_path, chosen()), source.EXACT)
    assert set(re.findall(r"\.entry (\w+)\(", ptx)) == {*chosen(), *HELPERS}
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


def test_the_lint_bites(tmp_path):
    file = sources(tmp_path, ["qt_step_dst_adam_int8_float32_float32"])
    fused = tuple("--fmad=true" if flag == "--fmad=false" else flag for flag in source.EXACT)
    assert any("fma.rn.f32" in line for line in inexact(ptx_of(file, fused)))
    loose = {"--prec-div=true": "--prec-div=false", "--ftz=false": "--ftz=true"}
    lines = inexact(ptx_of(file, tuple(loose.get(flag, flag) for flag in source.EXACT)))
    assert any("div.full" in line or "div.approx" in line for line in lines)
    assert any(re.search(r"\bmul(\.rn)?\.ftz\.f32", line) for line in lines)


def test_the_recipe_makes_an_image_without_spills_and_within_the_budget(tmp_path):
    file = sources(tmp_path, chosen())
    command = [sys.executable, "-S", file.with_name("build.py"), tmp_path, "--resources"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    image, note = tmp_path / "qtheory.fatbin", json.loads((tmp_path / "qtheory.json").read_text())
    assert image.read_bytes()[:4] == b"\x50\xed\x55\xba"
    assert note["source"] == source.digest(source.one_text(file))
    assert note["machines"] in ([80, 90], [80, 90, 100, 120])
    rows = RESOURCES.findall(done.stderr)
    names = {*chosen(), *HELPERS}
    assert {row[:2] for row in rows} == {(x, str(sm)) for x in names for sm in note["machines"]}
    for row in rows:
        check_resources(*row)


def two_resident() -> tuple[str, ...]:
    """Step kernels of rules of which two blocks share a multiprocessor, as their headers say."""
    headers = (source.kernels().parents[1] / "algorithms").glob("*.h")
    return tuple(f"qt_step_{h.stem}_" for h in headers if "resident = 2;" in h.read_text())


def check_resources(name, machine, stack, stores, loads, registers):
    assert (stack, stores, loads) == ("0", "0", "0"), (name, machine)
    wide = name.startswith("qt_batch_slope_")
    roomy = machine == "120" or "_adam_" in name or name.startswith(two_resident()) or wide
    assert int(registers) <= BUDGET[roomy], (name, machine, registers)


@pytest.mark.parametrize("kernel", RARE)
def test_kernels_that_no_image_holds_are_as_exact_and_small(kernel, tmp_path):
    """Those with moments in int8, a sample: a run-time compiler makes them alone, as here."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not on PATH")
    (macro,) = source.only(kernel)
    file, made = tmp_path / "kernel.cu", tmp_path / "made"
    file.write_text(f"#define {macro.replace('=', ' ', 1)}\n{source.one_text(KERNELS)}")
    for machine in (80, 90, 120):
        code = [nvcc, "-cubin", f"-arch=sm_{machine}", "-Xptxas", "-v"]
        command = [*code, *source.EXACT, "-o", made, file]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        (row,) = RESOURCES.findall(done.stderr)
        assert row[:2] == (kernel, str(machine))
        check_resources(*row)
    command = [nvcc, "-ptx", "-arch=compute_80", *source.EXACT, "-o", made, file]
    subprocess.run(command, check=True)
    assert inexact(made.read_text()) == []


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
