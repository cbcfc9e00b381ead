"""The variance of rounding, and its share of the temperature."""

from __future__ import annotations

import numpy as np
import pytest

from qtheory import Lattice, StochasticRounding
from qtheory.algorithms import law
from qtheory.limits.temperature import rounding_temperature, rounding_variance, temperature_floor
from qtheory.noise import Gaussian, Uniform
from qtheory.noise.facts import std_of

NOISES = [Uniform(0.3), Uniform(1.7), Gaussian(0.05), Gaussian(0.4), Gaussian(2.0)]


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("spacing", [0.25, 1.0])
def test_the_temperature_is_that_of_descent_and_of_rounding(noise, spacing):
    """Squares of up to 8 spacings in units of one lose some 64 roundings; 1e-12 is 4,500."""
    for rate in (0.1, 1.0, 2.0):
        added = rounding_variance(noise.scaled(rate), spacing)
        expected = 0.5 * rate * std_of(noise) ** 2 + added / (2.0 * rate)
        found = rounding_temperature(noise, spacing, rate)
        assert abs(found - expected) < 1e-12 * max(1.0, expected)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("mean", [0.0, 0.1, -0.45])
def test_it_is_the_variance_of_the_law(noise, mean):
    """20,000 middles of equal parts of the density. The sum errs by h**2 / 24 of the change of the
    integrand's slope, below 40 per unit: with h = 26 std / 20,000, or 1e-4 for the uniform one,
    whose jumps at its ends are at edges of parts: 3e-6 at most."""
    spec = StochasticRounding(Lattice(41, 1.0, -20.0))
    reach = noise.half_width if isinstance(noise, Uniform) else 13 * noise.std
    e = (np.arange(20_000) + 0.5) * (2 * reach / 20_000) - reach
    pmf = law(spec, 20, mean + e)
    variance = pmf @ spec.lattice.levels**2 - (pmf @ spec.lattice.levels) ** 2
    weights = noise.density(e)
    assert abs(weights @ variance / weights.sum() - rounding_variance(noise, 1.0, mean)) < 3e-6


def test_many_spacings_give_a_sixth_and_few_the_floor():
    assert abs(rounding_variance(Gaussian(3.0), 1.0, 0.3) - 1 / 6) < 1e-15
    small = Gaussian(1e-3)
    expected = 2 * temperature_floor(small, 1.0) - 1e-6
    assert abs(rounding_variance(small, 1.0) - expected) < 1e-13
    with pytest.raises(ValueError, match="a spacing is positive and finite, got 0"):
        rounding_variance(small, 0.0)
