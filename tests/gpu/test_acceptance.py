"""The acceptance script itself: that it would run, end to end, on a pretended GPU machine."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from qcuda.kernels import source
from qcuda.kernels.gpu import DeviceMissing

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def acceptance():
    return import_module("qcuda.validate.acceptance")


def on_host(function, *arguments, device=None, **options):
    return function(*arguments, **options)


class Event:
    def __init__(self, enable_timing):
        self.enable_timing = enable_timing

    def record(self):
        pass

    def synchronize(self):
        pass

    def elapsed_time(self, other):
        return 2.0  # milliseconds


def pretended_torch(machine):
    """torch with a CUDA device, whose memory is the host's."""
    made = ("zeros", "ones", "empty", "rand", "randn")
    functions = {name: partial(on_host, getattr(torch, name)) for name in made}
    functions["tensor"] = lambda values, device: torch.from_numpy(np.array(values, np.float32))
    kept = {name: getattr(torch, name) for name in ("uint8", "int64", "float32", "bfloat16")}
    cuda = SimpleNamespace(
        is_available=lambda: True,
        synchronize=lambda: None,
        Event=Event,
        current_stream=lambda: SimpleNamespace(cuda_stream=0),
        get_device_properties=lambda _: SimpleNamespace(total_memory=1, multi_processor_count=1),
    )
    return SimpleNamespace(cuda=cuda, __version__="pretended", **functions, **kept)


def test_the_whole_script(acceptance, machine, fake_driver, image, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "torch", pretended_torch(machine))
    monkeypatch.setenv("QTHEORY_CUDA_DRIVER", str(fake_driver))
    monkeypatch.setattr(acceptance, "TorchMachine", lambda _: machine)
    monkeypatch.setattr(acceptance, "build_image", lambda _: image)
    monkeypatch.setattr(acceptance, "SIZES", ((30_000, 1), (5_000, 161)))
    monkeypatch.setattr(acceptance, "COPIED", 2**20)
    monkeypatch.setattr(acceptance, "TIMED", acceptance.TIMED[:1])
    monkeypatch.setenv("QTHEORY_NVRTC", "/no/libnvrtc.so.13")
    assert acceptance.main(["--json", str(tmp_path / "results.json")]) == 0
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    names = [row["name"] for row in results["checks"]]
    assert f"nvcc image: {len(names)} comparisons, 0 differ" in printed
    assert "NVRTC image: none" in printed
    assert set(results) == {"schema", "device", "versions", "checks", "copy", "timings"}
    assert all(sum(stem in name for name in names) >= 20 for stem in source.stems())
    assert results["device"]["name"] == "emulated device"
    first = results["timings"][0]
    assert first["kernel"] == f"qt_step_{source.stems()[0]}_momentum_trits"
    assert first["bytes"] == 6.5 * first["weights"]
    assert first["bytes_per_second"] == pytest.approx(first["bytes"] / 2e-3)
    assert len(results["timings"]) == 2 * len(source.stems()) * len(acceptance.TIMED)


def test_a_difference_fails_the_script(acceptance, machine, launcher, cpu_library, monkeypatch):
    monkeypatch.setattr(type(machine), "download", lambda self, memory: memory.copy() ^ 1)
    rows = acceptance.check_all("any", machine, launcher, cpu_library)
    assert all(row["differences"] for row in rows)


def test_it_builds_its_cpu_library(acceptance, tmp_path):
    assert acceptance.build_cpu_library(tmp_path).qt_processor_level() >= 1


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
