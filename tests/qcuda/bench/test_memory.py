"""The benchmark of memory measures a step, in a process of its own."""

from __future__ import annotations

import json
import sys

import pytest

from qcuda.bench import memory
from qcuda.cli import main


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what is resident")
def test_a_step_takes_less_than_a_float_network_keeps():
    peak = memory.in_process("resnet20", "least", 16)
    stage = 7 * 16 * 16 * 32 * 32 * 4  # bytes in front of the convolutions of a stage, in float32
    norms = 2 * stage  # and of its norms; other stages have a half and a quarter of that
    assert 0 < peak.kept < peak.peak < norms * (1 + 1 / 2 + 1 / 4)
    assert peak.seconds > 0


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what is resident")
def test_a_chain_takes_two_bits_a_weight_and_one_gradient(tmp_path, capsys):
    """Beside these what is read of a weight and what torch keeps; never all layers' gradients."""
    file, weights = tmp_path / "chain.json", 6 * 2**24
    words = ["--weights", str(weights - 5), "--batch", "2", "--json", str(file)]
    assert main(["bench", "memory", *words]) == 0
    found = json.loads(file.read_text())
    assert "6 linear layers, 100,663,296 ternary weights" in capsys.readouterr().out
    assert found["weights"] == weights
    assert weights / 4 + 4 * 2**24 < found["peak"] < weights / 4 + 4 * 4 * 2**24 < 4 * weights


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what is resident")
def test_every_row_of_a_model_is_measured(tmp_path, capsys, monkeypatch):
    peaks = {row: memory.Peak(2**20 * k, 0, k / 2, 1.0) for k, row in enumerate(memory.ROWS, 1)}
    monkeypatch.setattr(memory, "in_process", lambda name, row, batch: peaks[row])
    monkeypatch.setattr(memory, "has_bfloat16", lambda: True)
    file = tmp_path / "rows.json"
    assert main(["bench", "memory", "--models", "resnet20", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "least: 4.00 of float's, 2.00 of amp's peak, 4.00 of float's time" in printed
    assert list(json.loads(file.read_text())["rows"]["resnet20"]) == list(memory.ROWS)


def test_models_that_are_not_known_are_named():
    with pytest.raises(ValueError, match="got resnet9"):
        memory.memory("vgg7,resnet9")
