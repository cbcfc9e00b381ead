"""The benchmark of memory measures a step, in a process of its own."""

from __future__ import annotations

import sys

import pytest

from qcuda.bench import memory


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what is resident")
def test_a_step_takes_less_than_a_float_network_keeps():
    peak = memory.in_process("resnet20", "least", 16)
    stage = 7 * 16 * 16 * 32 * 32 * 4  # bytes in front of the convolutions of a stage, in float32
    norms = 2 * stage  # and of its norms; other stages have a half and a quarter of that
    assert 0 < peak.kept < peak.peak < norms * (1 + 1 / 2 + 1 / 4)
    assert peak.seconds > 0


def test_models_that_are_not_known_are_named():
    with pytest.raises(ValueError, match="got resnet9"):
        memory.memory("vgg7,resnet9")
