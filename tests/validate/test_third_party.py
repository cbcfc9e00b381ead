"""Somebody else's functions: the right one holds, coarse ones fail, and for their reason."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qcuda.errors import InputError
from qcuda.validate import cells, examples, third_party
from qcuda.validate.kernels import Draw
from qcuda.validate.run import judge_op
from qcuda.validate.statistics import DEFAULT, OBVIOUS, QUICK, Plan, first_look
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
    op = third_party.trial(name, getattr(examples, name))
    kernel = third_party.op_kernel(op, "cpu", repeatable=True)
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
    op = third_party.trial(name, getattr(examples, name))
    kernel = third_party.op_kernel(op, "cpu", repeatable=False)
    at = cells.group(StochasticRounding(third_party.WIDE), [third_party.WIDE.centre], [2.0**-32])
    found = cells.count(kernel, at, np.array([draws]), seed=9, tensor=0)
    assert (cells.p_value([at], [found]) > 1e-9) == (name == "words_of_32_bits")


def test_an_op_with_its_own_generator_is_judged_without_its_grain(monkeypatch):
    generator = torch.Generator().manual_seed(1)

    def own(values: torch.Tensor) -> torch.Tensor:
        whole = values.abs().floor()
        more = torch.rand(values.shape, generator=generator) < values.abs() - whole
        return values.sign() * (whole + more)

    monkeypatch.setattr(examples, "own", own, raising=False)
    suite = judge_op("qcuda.validate.examples:own", "stochastic_rounding", "cpu", SMALL, 6)
    assert suite.holds
    assert "not judged" in suite.table()


def test_a_dst_op_is_judged(monkeypatch):
    def dst(values: torch.Tensor) -> torch.Tensor:
        whole = values.abs().floor()
        p = torch.tanh(3 * (values.abs() - whole).double())
        return values.sign() * (whole + (torch.rand(values.shape, dtype=torch.float64) < p))

    monkeypatch.setattr(examples, "dst", dst, raising=False)
    assert judge_op("qcuda.validate.examples:dst", "dst", "cpu", SMALL, 6).holds
    wrong = judge_op("qcuda.validate.examples:words_of_32_bits", "dst", "cpu", SMALL, 6)
    assert not wrong.holds


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # NumPy's functions of a tensor
def test_an_op_of_numpy_is_judged(monkeypatch):
    """By the arrays that it takes and by its generator, which is seeded as torch's is."""

    def right(values: np.ndarray) -> np.ndarray:
        whole = np.floor(np.abs(values))
        uniform = np.random.random_sample(values.shape)
        return np.sign(values) * (whole + (uniform < np.abs(values) - whole))

    monkeypatch.setattr(examples, "right", right, raising=False)
    op = third_party.load("qcuda.validate.examples:right")
    assert op.kind is np.ndarray
    suite = judge_op("qcuda.validate.examples:right", "stochastic_rounding", "cpu", QUICK, 5)
    assert suite.holds
    assert "finer than float32 shows" in suite.table()


def test_an_op_that_refuses_tensors_is_given_arrays():
    """As those of numba do, in an error of many lines."""

    class Compiled:
        def __call__(self, values):
            if not isinstance(values, np.ndarray):
                raise TypeError("Failed in nopython mode\n\ncannot determine Numba type")
            return np.floor(values + np.random.rand(*values.shape))

    assert third_party.trial("compiled", Compiled()).kind is np.ndarray


@pytest.mark.parametrize("name", ["nearest", "low", "backwards"])
def test_what_is_obviously_wrong_is_seen_at_a_glance(name: str, monkeypatch, capsys):
    """By the default plan, whose other claims take a minute; they are not drawn."""
    wrong = {
        "nearest": torch.round,
        "low": lambda x: torch.floor(x + 0.9 * torch.rand_like(x)),
        "backwards": lambda x: -torch.floor(x + torch.rand_like(x)),
    }
    monkeypatch.setattr(examples, "wrong", wrong[name], raising=False)
    suite = judge_op("qcuda.validate.examples:wrong", "stochastic_rounding", "cpu", DEFAULT, 5)
    assert not suite.holds
    (look,) = suite.claims
    assert look.draws < 2e7  # seconds
    assert len(suite.missing) == 7
    assert "that is enough" in capsys.readouterr().err


def test_a_first_look_alarms_no_more_often_than_it_pays_for():
    """With a share of 0.1 in each of 60 looks at a right op: at most 20 alarms, but for 1e-6."""
    op = third_party.trial("right", examples.words_of_32_bits)
    kernel = third_party.op_kernel(op, "cpu", repeatable=False)
    at = (cells.group(StochasticRounding(third_party.WIDE), [third_party.WIDE.centre], [0.25]),)
    looks = [first_look("x", kernel, at, seed, 0.1) for seed in range(60)]
    assert sum(not look.holds for look in looks) <= 20
    assert all(look.detectable == OBVIOUS for look in looks)


@pytest.mark.parametrize(
    ("op", "rule"),
    [
        ("nothing", "module:function"),
        ("op.py:f", "without .py"),
        ("qcuda.validate.examples:none", "is a function of its module"),
        ("qcuda.validate.examples:floor_of_sums", "did you mean floor_of_sum"),
        ("no_such_module:f", "can be imported, got ModuleNotFoundError: No module named"),
        ("qcuda.validate.examples:torch", "a function"),
        ("qcuda.validate.examples:_parts", "returns a torch tensor or a NumPy array, got tuple"),
    ],
)
def test_an_op_that_is_none(op, rule):
    with pytest.raises(InputError, match=rule):
        third_party.load(op)


def crashes(x):
    raise KeyError("boom")


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        (lambda x: x + 0.25, "f returns whole numbers, got 0.25"),
        (lambda x: x * torch.nan, "f returns whole numbers, got nan"),
        (lambda x: x[:-1].round(), r"f keeps the shape \(3,\), got \(2,\)"),
        (lambda x: None, "f returns a torch tensor or a NumPy array, got NoneType"),
        (lambda x: x.round() + 0j, "f returns real numbers, got torch.complex64"),
        (lambda x, y: x, r"an op is called with one argument, got f\(x, y\)"),
        (lambda: 0, r"an op is called with one argument, got f\(\)"),
        (crashes, r"got KeyError: 'boom' \(test_third_party.py, line \d+\)"),
    ],
)
def test_an_op_that_breaks_the_protocol(function, rule):
    with pytest.raises(InputError, match=rule) as error:
        third_party.trial("f", function)
    assert "\n" not in str(error.value)


def test_an_op_that_breaks_the_protocol_later_is_named():
    op = third_party.trial("late", lambda x: x.round() if x.numel() == 3 else x.sum())
    kernel = third_party.op_kernel(op, "cpu", repeatable=False)
    spec = StochasticRounding(third_party.WIDE)
    with pytest.raises(InputError, match=r"late keeps the shape \(8,\), got \(\)"):
        kernel(np.zeros(8, np.int64), np.zeros(8, np.float32), Draw(spec, 1, 0, 0))


@pytest.mark.parametrize("kind", [torch.float16, torch.int32, torch.bool])
def test_moves_may_be_of_any_type_of_real_numbers(kind: torch.dtype):
    op = third_party.trial("op", lambda x: (x > 0.5).to(kind))
    assert op.moves(torch.tensor([0.25, 0.75])).tolist() == [0, 1]


@pytest.mark.parametrize("function", [lambda x: x.round_(), lambda x: np.rint(x, out=x)])
def test_an_op_may_write_on_what_it_is_given(function):
    values = torch.tensor([0.25, 0.75])
    third_party.trial("op", function).moves(values)
    assert values.tolist() == [0.25, 0.75]
