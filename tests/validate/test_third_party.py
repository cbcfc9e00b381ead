"""Somebody else's functions: the right one holds, coarse ones fail, and for their reason."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qcuda.validate import cells, examples, third_party
from qcuda.validate.kernels import Draw
from qcuda.validate.run import judge_op
from qcuda.validate.statistics import Plan
from qtheory.algorithms import StochasticRounding

SMALL = Plan(1e-2, 0, False, 2**16, 2, 2**14)
GRAINS = {
    "words_of_32_bits": None,
    "uniform_of_24_bits": 24,
    "uniform_of_16_bits": 16,
    "floor_of_sum": 24,
}


@pytest.mark.parametrize("name", GRAINS)
def test_how_fine_the_hidden_numbers_are(name):
    function = getattr(examples, name)
    kernel = third_party.op_kernel(function, "cpu", repeatable=True)
    found = third_party.grain(kernel, StochasticRounding(third_party.WIDE), seed=3)
    assert found is not None
    assert found.bits == GRAINS[name]
    assert (found.log_e > 1000) == (GRAINS[name] is not None)


@pytest.mark.parametrize("name", GRAINS)
def test_verdicts(name):
    """The resolution is judged without rare moves; what fails besides is listed."""
    op = f"qcuda.validate.examples:{name}"
    suite = judge_op(op, "stochastic_rounding", "cpu", SMALL, 5)
    failed = [claim.name.removeprefix(f"{op}: ") for claim in suite.claims if not claim.holds]
    if name == "words_of_32_bits":
        assert failed == []
    else:
        assert "hidden numbers of 32 bits" in failed
        assert "transition probabilities" not in failed  # 1e-2 is not what they are off by


@pytest.mark.parametrize(
    ("name", "draws"), [("uniform_of_16_bits", 2**21), ("words_of_32_bits", 2**21)]
)
def test_rare_moves(name, draws):
    """A single word of 2**32: of 16 bits, it comes 2**16 times too often."""
    kernel = third_party.op_kernel(getattr(examples, name), "cpu", repeatable=False)
    at = cells.group(StochasticRounding(third_party.WIDE), [third_party.WIDE.centre], [2.0**-32])
    found = cells.count(kernel, at, np.array([draws]), seed=9, tensor=0)
    assert (cells.p_value([at], [found]) > 1e-9) == (name == "words_of_32_bits")


def test_an_op_with_its_own_generator_is_judged_without_its_grain(capsys, monkeypatch):
    generator = torch.Generator().manual_seed(1)

    def own(values: torch.Tensor) -> torch.Tensor:
        whole = values.abs().floor()
        more = torch.rand(values.shape, generator=generator) < values.abs() - whole
        return values.sign() * (whole + more)

    monkeypatch.setattr(examples, "own", own, raising=False)
    suite = judge_op("qcuda.validate.examples:own", "stochastic_rounding", "cpu", SMALL, 6)
    assert suite.holds
    assert "not judged" in capsys.readouterr().out


def test_a_dst_op_is_judged(monkeypatch):
    def dst(values: torch.Tensor) -> torch.Tensor:
        whole = values.abs().floor()
        p = torch.tanh(3 * (values.abs() - whole).double())
        return values.sign() * (whole + (torch.rand(values.shape, dtype=torch.float64) < p))

    monkeypatch.setattr(examples, "dst", dst, raising=False)
    assert judge_op("qcuda.validate.examples:dst", "dst", "cpu", SMALL, 6).holds
    wrong = judge_op("qcuda.validate.examples:words_of_32_bits", "dst", "cpu", SMALL, 6)
    assert not wrong.holds


@pytest.mark.parametrize(
    ("op", "rule"),
    [
        ("nothing", "module:function"),
        ("qcuda.validate.examples:none", "can be imported"),
        ("no_such_module:f", "can be imported"),
        ("qcuda.validate.examples:torch", "a function"),
    ],
)
def test_an_op_that_is_none(op, rule):
    with pytest.raises(ValueError, match=rule):
        third_party.load(op)


@pytest.mark.parametrize(
    ("function", "rule"),
    [(lambda x: x + 0.25, "whole numbers"), (lambda x: x[:-1].round(), "shape")],
)
def test_an_op_that_breaks_the_protocol(function, rule):
    kernel = third_party.op_kernel(function, "cpu", repeatable=False)
    spec = StochasticRounding(third_party.WIDE)
    with pytest.raises(ValueError, match=rule):
        kernel(np.zeros(8, np.int64), np.zeros(8, np.float32), Draw(spec, 1, 0, 0))
