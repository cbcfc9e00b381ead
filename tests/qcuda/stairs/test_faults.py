"""Known faults of another implementation of noisy stairs, which are not ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qcuda.nn import NoisyStair, number_stairs
from qcuda.nn.stairs import FAMILIES, FORWARDS, noisy_stair
from qreference import stairs as reference
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair

TERNARY = Stair.nearest(Lattice.ternary())
UNEVEN = Stair((-2.0, -1.5, 0.0, 4.0), (-1.0, 0.3, 0.5))
families = pytest.mark.parametrize("family", FAMILIES)
forwards = pytest.mark.parametrize("forward", FORWARDS)
X = np.concatenate([np.arange(-256, 257) / 64, np.random.default_rng(1).normal(size=2000)])


def layer(forward="expectation", family="uniform", scale=0.5, mean=0.0, stair=TERNARY):
    made = NoisyStair(stair, family=family, scale=scale, mean=mean, forward=forward)
    number_stairs(made, 7)
    return made


def slopes(module, x):
    """Output and slopes in x."""
    x = x.clone().requires_grad_()
    out = module(x)
    out.backward(torch.ones_like(out))
    return out.detach(), x.grad


@families
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_no_word_finds_a_position_outside_the_levels(family, dtype):
    """There: a cumulative law in float32 that ends below 1 leaves no level for the largest words.
    Here: positions are counts of thresholds; the largest word takes the lowest possible level."""
    x = torch.from_numpy(X).to(dtype)
    words = torch.full(x.shape, 2**32 - 1)
    scale, mean = (torch.tensor(v, dtype=torch.float64) for v in (0.2551, 0.0))
    low = noisy_stair(x, scale, mean, UNEVEN, family, "random", words)
    assert set(low.tolist()) <= set(UNEVEN.levels)
    spec = reference.NoisyStair(UNEVEN, family, 0.2551)
    certain = reference.below(spec, x.double().numpy()) == 2**32
    clear = np.abs(reference.cumulative(spec, x.double().numpy()) - 1).min(axis=1) > 1e-5
    wanted = np.array(UNEVEN.levels)[certain.sum(axis=1)]
    assert (low.double().numpy() == wanted)[clear].all() and clear.mean() > 0.1
    far = torch.tensor([1e6, float("inf")], dtype=dtype)
    assert noisy_stair(far, scale, mean, UNEVEN, family, "random", words[:2]).tolist() == [
        4.0,
        4.0,
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_words_at_a_threshold_stay_below_it(dtype):
    """Quarters under uniform noise of half width 1: F is a multiple of 1/8, exact in every type,
    and words beside its threshold, or on it, find the reference's level."""
    x = torch.arange(-6, 7).to(dtype) / 4
    one, none = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    spec, at = reference.NoisyStair(TERNARY, "uniform", 1.0), x.double().numpy()
    levels = []
    for beside in (-1, 0, 1):
        for edges in reference.below(spec, at).astype(np.int64).T:
            words = np.clip(edges + beside, 0, 2**32 - 1)
            given = torch.from_numpy(words)
            drawn = noisy_stair(x, one, none, TERNARY, "uniform", "random", given)
            levels.append(drawn.double().numpy())
            wanted = reference.activate(spec, at, "random", words.astype(np.uint32))
            assert np.array_equal(levels[-1], wanted)
    assert (levels[0] > levels[2]).any() and np.array_equal(levels[2][2:-2], levels[4][2:-2])


@families
def test_the_word_zero_takes_a_level_that_is_possible(family):
    """There: with no mass on the first levels, u = 0 went past two levels at once, to +2. Here: 0
    passes every threshold that is possible at all, never more."""
    x = torch.tensor([1e6, 50.0, -50.0, -1e6], dtype=torch.float64)
    words = torch.zeros(4, dtype=torch.int64)
    scale, mean = (torch.tensor(v, dtype=torch.float64) for v in (0.25, 0.0))
    out = noisy_stair(x, scale, mean, TERNARY, family, "random", words)
    assert out.tolist() == [1.0, 1.0, -1.0, -1.0]


@pytest.mark.parametrize("family", ["uniform", "triangular"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_probabilities_have_one_rule(family, dtype):
    """There: the last of equals on one device, the first on the other. Here: the lowest on all; at
    a threshold both its levels have probability 1/2 exactly."""
    x = torch.tensor([-0.5, 0.5], dtype=dtype)
    module = layer("mode", family, 0.5)
    spec = reference.NoisyStair(TERNARY, family, 0.5)
    for out in (module(x), module(x.reshape(2, 1).expand(2, 3))[:, 1]):
        assert out.tolist() == [-1.0, 0.0] == reference.activate(spec, x.numpy(), "mode").tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_ends_of_uniform_windows_are_counted_once(dtype):
    """There: closed at both ends, so the slope at 0 is 2 for half width 1/2 and unit spacing."""
    x = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0], dtype=dtype)
    assert slopes(layer(), x)[1].tolist() == [1.0, 1.0, 1.0, 1.0, 0.0]


def test_validation_does_not_stop_the_noise():
    """There: a validation sets the scale to 0, and gradients stay 0 until the schedule's next call.
    Here: evaluation leaves scale and mean alone."""
    module, x = layer("expectation", "normal", 0.3, -0.1), torch.linspace(-1, 1, 9)
    before = slopes(module, x)
    module.eval()
    assert set(module(x).tolist()) <= {-1.0, 0.0, 1.0}
    module.train()
    after = slopes(module, x)
    assert all(map(torch.equal, before, after)) and before[1].min() > 0


@families
@forwards
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_types_strides_and_empty_inputs(family, forward, dtype):
    """There: float32 and float64 only, contiguous inputs and gradients only, nothing empty.
    Half precision is float32 rounded once: half a unit of its last place."""
    module = layer(forward, family, 0.4, 0.1)
    x = torch.from_numpy(X[:60]).to(dtype).reshape(2, 3, 5, 2)
    out, slope = slopes(module, x)
    assert out.dtype == dtype == slope.dtype and out.shape == x.shape
    again = x.to(memory_format=torch.channels_last).requires_grad_()
    other = module(again)
    other.backward(torch.ones((), dtype=dtype).expand(x.shape))
    assert torch.equal(other, out) and torch.equal(again.grad, slope)
    turned = x.transpose(0, 2).contiguous().transpose(0, 2)
    assert torch.equal(module(turned), out)
    assert module(x[:0]).shape == (0, 3, 5, 2) and slopes(module, x[:0])[1].numel() == 0
    if dtype in (torch.float16, torch.bfloat16):
        exact = slopes(module, x.float())
        for got, want in zip((out, slope), exact, strict=True):
            assert torch.equal(got, want.to(dtype))
