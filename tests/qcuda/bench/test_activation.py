"""Bytes that activations move, as `qtheory bench activation` counts them."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from qcuda.bench import activation
from qcuda.nn import MultiStep

X = torch.randn(8, activation.CHANNELS, 4, 4).bfloat16()


def both(counted: dict[str, float]) -> float:
    return counted["forward"] + counted["backward"]


@pytest.mark.parametrize("count", [activation.bytes_moved, activation.bytes_compiled])
def test_a_stair_moves_two_numbers_and_a_bit_each_way(count):
    """In bfloat16 2 + 2 + 1/8 bytes, and the half width of 8 bytes once for all; ReLU 4 and 6."""
    half_width = 8 / X.numel()
    for order, kept in ((1, 1 / 8), (2, 2 / 8), (3, 4 / 8)):
        found = count(MultiStep(order), X)
        assert found == {"forward": 4 + kept + half_width, "backward": 4 + kept + half_width}
    assert both(found) <= 9.1
    assert count(nn.ReLU(), X) == {"forward": 4.0, "backward": 6.0}


def test_a_fused_batch_norm_moves_less_than_one_before_a_relu():
    """Forwards x for each of two operators, and z; backwards x, the gradient and the result."""
    rows = activation.count()
    assert both(rows["BatchStair"]["eager"]) == pytest.approx(12, abs=0.2)  # numbers of channels
    assert both(rows["BatchStair"]["eager"]) < both(rows["BatchNorm, ReLU"]["eager"]) - 3


def test_the_table_is_printed_and_written(tmp_path, monkeypatch, capsys):
    case = ("small", (4, activation.CHANNELS, 3, 3), torch.channels_last, torch.bfloat16)
    monkeypatch.setattr(activation, "CASES", (case,))
    activation.activation(repeats=1, json=str(tmp_path / "a.json"))
    written = json.loads((tmp_path / "a.json").read_text())
    assert set(written["ratios"]["small"]) == {label for label, *_ in activation.RATIOS}
    assert written["before"]["MultiStep"] == 54 and "elementwise" in written["note"]
    printed = capsys.readouterr().out
    assert "BatchStair / BatchNorm, ReLU" in printed and "8.25" in printed
