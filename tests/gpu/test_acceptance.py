"""The acceptance script itself: that it would run, end to end, on a pretended GPU machine."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from qcuda.kernels import source
from qcuda.kernels.gpu import DeviceMissing
from qcuda.validate.device.card import Card

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def acceptance():
    return import_module("qcuda.validate.acceptance")


def test_the_whole_script(acceptance, machine, fake_driver, image, monkeypatch, tmp_path, capsys):
    """On the CPU, whose memory is that of the pretended device; it builds its CPU library.

    Every third step, as test_agreement.py compares all of them.
    """
    few = list(acceptance.compare.cases())[::3]
    monkeypatch.setattr(acceptance.compare, "cases", lambda: few)
    timing = import_module("qcuda.validate.device.timing")
    monkeypatch.setenv("QTHEORY_CUDA_DRIVER", str(fake_driver))
    monkeypatch.setattr(acceptance, "TorchMachine", lambda _: machine)
    monkeypatch.setattr(acceptance, "build_image", lambda _: image)
    monkeypatch.setattr(timing, "SIZES", ((3_000, 1), (2_000, 161)))
    monkeypatch.setattr(timing, "COPIED", 2**20)
    monkeypatch.setattr(timing, "TIMED", timing.TIMED[:1])
    monkeypatch.setattr(Card, "seconds", lambda _, work: (work(), {"seconds": 2e-3})[1])
    monkeypatch.setenv("QTHEORY_NVRTC", "/no/libnvrtc.so.13")
    file = tmp_path / "results.json"
    options = ["--json", str(file), "--device", "cpu", "--stage", "visible_weights"]
    assert acceptance.main(options) == 0
    printed = capsys.readouterr().out
    results = json.loads(file.read_text())
    names = [row["name"] for row in results["checks"]]
    assert f"nvcc image: {len(names)} comparisons, 0 differ" in printed
    assert "NVRTC image: none" in printed and "1 stages, 0 failed" in printed
    assert set(results) == {
        "schema", "device", "versions", "checks", "copy", "timings", "stages",
    }  # fmt: skip
    assert {case.name for case in few} < set(names)
    assert all(sum(stem in name for name in names) >= 9 for stem in source.stems())
    assert results["device"]["name"] == "emulated device"
    first = results["timings"][0]
    assert first["kernel"] == f"qt_step_{source.stems()[0]}_momentum_trits_bfloat16_bfloat16"
    assert first["bytes"] == 6.5 * first["weights"]
    assert first["bytes_per_second"] == pytest.approx(first["bytes"] / 2e-3)
    kinds = [row["gradients"] for row in results["timings"]]
    assert kinds == ["normal", "normal", "a tenth zero", "tiny"] * len(source.stems())
    assert [row["result"] for row in results["stages"]] == ["holds"]


def test_a_difference_fails_the_script(acceptance, machine, launcher, cpu_library, monkeypatch):
    """Every seventh step, of each rule some, each of which is compared by the same loop."""
    few = list(acceptance.compare.cases())[::7]
    assert all(any(stem in case.name for case in few) for stem in source.stems())
    monkeypatch.setattr(acceptance.compare, "cases", lambda: few)
    monkeypatch.setattr(type(machine), "download", lambda self, memory: memory.copy() ^ 1)
    rows = acceptance.check_all("any", machine, launcher, cpu_library)
    assert all(row["differences"] for row in rows)


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--require-gpu"], 3)])
def test_without_a_gpu_it_says_so(options, code, acceptance, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert acceptance.main(options) == code
    assert "did NOT run" in capsys.readouterr().out


def test_a_gpu_that_the_driver_does_not_have_is_an_error(acceptance, fake_driver, tmp_path):
    with pytest.raises(DeviceMissing):
        acceptance.Driver(str(fake_driver)).device(1)


def test_a_bare_checkout_is_enough():
    """Without the packages that layers and theory import: NumPy and torch serve."""
    absent = ("jaxtyping", "scipy", "sympy", "jsonargparse", "matplotlib")
    code = (
        f"import sys, runpy; sys.modules.update(dict.fromkeys({absent}))\n"
        "sys.argv[1:] = []; runpy.run_module('qcuda.validate.acceptance', run_name='__main__')"
    )
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'cuda'}", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "did NOT run" in done.stdout
