"""MultiStep: formula, area of its windows, the bits it always had, and the plain reference."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from qcuda.nn import MultiStep, NoisyStair
from qreference import stairs as reference

WINDOWS = ["rectangular", "triangular"]
table = pytest.mark.parametrize("window", WINDOWS)
orders = pytest.mark.parametrize("order", range(5))


def slope(module: NoisyStair, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    module(x).backward(torch.ones_like(x))
    assert x.grad is not None
    return x.grad


def by_hand(x: float, order: int, r: float) -> float:
    """phi_r: sign(x) times the positive levels whose thresholds |x| has passed."""
    if order == 0:
        return 1.0 if x >= 0 else -1.0
    levels = 2 ** (order - 1)
    passed = sum(abs(x) > r + k * (1 - r) / levels for k in range(levels))
    return (passed if x > 0 else -passed) / levels


def points(dtype=torch.float32) -> torch.Tensor:
    """Multiples of 1/64, which hit every threshold and window's end of r = a = 1/2."""
    return torch.arange(-160, 161, dtype=dtype) / 64


@orders
def test_forward_is_the_formula(order):
    module = MultiStep(order, threshold=0.5)
    assert module(points()).tolist() == [by_hand(x, order, 0.5) for x in points().tolist()]


@orders
@table
def test_backward_is_the_formula(order, window):
    """All numbers are multiples of 2**-10 below 2**6: no rounding, so equality."""
    a, levels = 0.5, 2 ** max(order - 1, 0)
    thresholds = [0.5 + k * 0.5 / levels for k in range(levels)] if order else [0.0]
    height = 1 / levels if order else 2.0

    def by_window(x: float) -> float:
        d = [abs(abs(x) - t) for t in thresholds]
        if window == "rectangular":
            return sum(height / (2 * a) for each in d if each <= a)
        return sum(height / a * (1 - each / a) for each in d if each <= a)

    got = slope(MultiStep(order, threshold=0.5, half_width=a, window=window), points())
    assert got.tolist() == [by_window(x) for x in points().tolist()]


@orders
@table
def test_the_area_of_the_windows_is_the_height_of_the_steps(order, window):
    """The slope integrated over x > 0 is 1, over all x 2, exactly.

    Windows with a half-width below the first threshold do not reach 0 (order 0 has its one at 0).
    The slope is linear between multiples of h = 2**-8, apart from jumps of rectangles half-way:
    the midpoint rule in rational numbers is exact.
    """
    h, a, r = Fraction(1, 256), 0.25, 0.5
    middles = (torch.arange(-512, 512, dtype=torch.float64) + 0.5) / 256
    got = slope(MultiStep(order, threshold=r, half_width=a, window=window), middles)
    positive = [Fraction(s) for s in got[512:].tolist()]
    assert sum(positive) * h == 1
    assert sum(Fraction(s) for s in got.tolist()) * h == 2


class AsPublished(torch.autograd.Function):
    """The formulas of [deng2018], one operation after the other: the bits of trained networks."""

    @staticmethod
    def forward(ctx, x, thresholds, half_width, window):
        ctx.save_for_backward(x)
        ctx.shape = (thresholds, half_width, window)
        if not thresholds:
            return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)
        magnitude = x.abs()
        steps = torch.zeros_like(x)
        for threshold in thresholds:
            steps += magnitude > threshold
        return x.sign() * steps / len(thresholds)

    @staticmethod
    def backward(ctx, *gradients):
        (x,) = ctx.saved_tensors
        thresholds, a, window = ctx.shape
        magnitude = x.abs()
        height = 1.0 / max(len(thresholds), 1)
        if not thresholds:
            thresholds, height = (0.0,), 2.0
        slope = torch.zeros_like(x)
        for threshold in thresholds:
            distance = (magnitude - threshold).abs()
            if window == "rectangular":
                slope += (distance <= a).to(x.dtype) * (height / (2 * a))
            else:
                slope += (1 - distance / a).clamp_min(0) * (height / a)
        return gradients[0] * slope, None, None, None


def bits(x: torch.Tensor) -> list[int]:
    return x.detach().view(torch.int32 if x.dtype == torch.float32 else torch.int64).tolist()


NUMBERS = pytest.mark.parametrize("numbers", [(0.5, 0.5), (0.0, 0.3), (0.7, 1.1), (0.35, 0.05)])


@orders
@table
@NUMBERS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bits_are_those_of_the_published_formulas(order, window, numbers, dtype):
    """Zeros of either sign, infinities, denormals, both neighbours of every threshold and of every
    window's end, on both sides of 0, and normal numbers; upstream gradients of every size."""
    r, a = numbers
    module = MultiStep(order, threshold=r, half_width=a, window=window)
    t = torch.tensor(module.stair.thresholds, dtype=dtype)
    corners = torch.cat([t, t - a, t + a, torch.tensor([0.0, 1e-40, 1e30, math.inf], dtype=dtype)])
    near = [corners.nextafter(torch.full_like(corners, end)) for end in (-math.inf, math.inf)]
    rng = np.random.default_rng(order)
    drawn = torch.from_numpy(rng.normal(0, 1, 3000)).to(dtype)
    x = torch.cat([*(s * c for s in (1, -1) for c in (corners, *near)), drawn])
    upstream = torch.from_numpy(rng.normal(size=len(x)) * 10.0 ** rng.uniform(-9, 9, len(x)))
    published = module.stair.thresholds if order else ()
    found = []
    for function in (module, lambda x: AsPublished.apply(x, published, a, window)):
        leaf = x.clone().requires_grad_()
        out = function(leaf)
        out.backward(upstream.to(dtype))
        assert leaf.grad is not None
        found.append((bits(out), bits(leaf.grad)))
    assert found[0] == found[1]


@pytest.mark.parametrize("order", [0, 1, 3])
def test_a_window_moves_by_a_schedule_and_is_in_no_checkpoint(order):
    """In evaluation slopes are those of training; a NaN is handed on."""
    module = MultiStep(order, half_width=0.25)
    assert module.state_dict() == {} and list(module.parameters()) == []
    module.set_noise(0.75)
    for training in (True, False):
        wider = slope(module.train(training), points())
        assert torch.equal(wider, slope(MultiStep(order, half_width=0.75), points()))
    assert not torch.equal(wider, slope(MultiStep(order, half_width=0.25), points()))
    assert torch.equal(module.hard(points()), module(points()))
    lost = torch.tensor([math.nan, 0.8])
    assert module(lost).isnan().tolist() == [True, False] == module.hard(lost).isnan().tolist()


@orders
@table
@pytest.mark.parametrize("numbers", [(0.5, 0.5), (0.0, 0.3), (0.7, 1.1), (0.3, 0.05)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_the_references_activation(order, window, numbers, dtype):
    """Bit for bit away from rounding of thresholds; slopes to 3 K roundings of their largest.

    A slope is a sum of K terms, each a difference, a quotient and a product of its own.
    """
    r, a = numbers
    ours = MultiStep(order, threshold=r, half_width=a, window=window)
    theirs = reference.multi_step(order, r, a, window)
    x = np.random.default_rng(order).normal(0, 1, 20_000).astype(dtype)
    assert (ours(torch.from_numpy(x)).numpy() == reference.activate(theirs, x, "hard")).all()
    mine, other = slope(ours, torch.from_numpy(x)).numpy(), reference.derivative(theirs, x)
    # Ends of rectangles are jumps: leave out what is closer to one than the roundings.
    eps = float(np.finfo(dtype).eps)
    distance = np.abs(np.abs(np.abs(x)[:, None] - theirs.stair.thresholds) - a).min(axis=1)
    inside = distance > 4 * eps
    steps = len(theirs.stair.thresholds)
    assert inside.mean() > 0.999
    assert np.abs(mine - other)[inside].max() <= 3 * steps * eps * np.abs(other).max()


def test_specials():
    x = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), 1e-45, 0.5, -0.5])
    assert MultiStep(1)(x).tolist() == [0, 0, 1, -1, 0, 0, 0]
    assert MultiStep(0)(x).tolist() == [1, 1, 1, -1, 1, 1, -1]


def test_chain_rule():
    x = points().requires_grad_()
    MultiStep(2)(x).backward(torch.arange(321.0))
    assert torch.equal(x.grad, torch.arange(321.0) * slope(MultiStep(2), points()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": -1}, r"order of an activation is >= 0, got -1"),
        ({"threshold": 1.0, "order": 2}, r"first threshold is >= 0.*, got 1.0"),
        ({"threshold": float("nan")}, r"first threshold is >= 0.*, got nan"),
        ({"half_width": 0.0}, r"half-width is positive and finite, got 0.0"),
        ({"half_width": float("inf")}, r"half-width is positive and finite, got inf"),
        ({"window": "round"}, r"rectangular or triangular, got 'round'"),
    ],
)
def test_bad_numbers(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiStep(**arguments)
