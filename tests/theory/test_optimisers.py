"""Adam in real arrays: against its definition in fractions of gradients, and torch's."""

import numpy as np
import pytest
import torch

from qtheory.optimisers import Adam, adam_increment

GRADIENTS = np.random.default_rng(1).normal(size=(40, 7)) * 10.0 ** np.arange(-7, 0)


@pytest.mark.parametrize("spec", [Adam(0.01), Adam(0.3, (0.5, 0.99), 1e-4)])
def test_weights_are_those_of_torch(spec):
    """40 iterations of 10 roundings of 2**-53; gradients down to 1e-7, where epsilon counts."""
    w = np.ones(7)
    other = torch.ones(7, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([other], spec.learning_rate, spec.betas, spec.epsilon)
    first, second = np.zeros(7), np.zeros(7)
    for t, g in enumerate(GRADIENTS, start=1):
        w = w + adam_increment(spec, first, second, g, t)
        other.grad = torch.from_numpy(g.copy())
        optimiser.step()
        assert np.abs(w - other.detach().numpy()).max() <= 400 * 2.0**-53 * (1 + t * 0.3)


def test_single_precision_stays():
    g = np.ones(3, dtype=np.float32)
    first, second = np.zeros_like(g), np.zeros_like(g)
    assert adam_increment(Adam(0.1), first, second, g, 1).dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_what_is_not_finite_changes_nothing(bad):
    """The second of two weights, in float64, whose squares overflow beyond 1e154."""
    first, second = np.array([0.5, 0.5]), np.array([2.0, 2.0])
    got = adam_increment(Adam(0.1), first, second, np.array([1.0, bad]), 2)
    assert np.isfinite(got[0])
    assert np.isnan(got[1])
    assert (first[1], second[1]) == (0.5, 2.0)
    assert first[0] != 0.5


def test_iterations_count_from_one():
    with pytest.raises(ValueError, match="counts iterations from 1, got 0"):
        adam_increment(Adam(0.1), np.zeros(1), np.zeros(1), np.ones(1), 0)
