"""Every kernel on a card against the CPU library, bit for bit, by the launcher that users have."""

from __future__ import annotations

import pytest
import torch

from qcuda.kernels import gpu, native, source
from qcuda.validate import compare, helpers
from qcuda.validate.acceptance import TorchMachine

CASES = list(compare.cases())


@pytest.fixture
def arguments():
    torch.zeros(1, device="cuda")  # makes the primary context
    return TorchMachine(torch), gpu.launcher(0), native.library()


@pytest.mark.parametrize("rule", source.stems())
def test_steps_agree(rule, arguments):
    chosen = [case for case in CASES if case.name.startswith(f"{rule} ")]
    found = compare.check_steps(chosen, *arguments)
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_captured_steps_agree(arguments):
    for case in CASES[::7]:
        assert compare.check_graph(case, *arguments) == [], case.name


@pytest.mark.parametrize(
    "check",
    [
        helpers.check_scalars,
        helpers.check_words,
        helpers.check_decode,
        helpers.check_outcomes,
        helpers.check_squares,
    ],
)
def test_other_kernels_agree(check, arguments):
    assert check(*arguments) == []
