"""What claims about hidden levels rest on: exact spreads, and the neuron beside a simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qpapers.hidden_levels.temperature import NOISE, WIDTH, slope, well
from qtheory import Lattice, StochasticRounding
from qtheory.chain import gibbs_law, stationary_distribution, total_variation
from qtheory.increments import ContinuousIncrements
from qtheory.limits.generator import limit_law
from qtheory.limits.temperature import temperature_floor
from qtheory.noise import Uniform
from qtheory.transition import weight_chain


@pytest.mark.parametrize("h", [0.1, 0.4])
def test_the_spread_in_a_quadratic_is_exact(h: float):
    """E of the generator on w**2 is -2 h w**2 + s E|g|, and E|g| = 1/2 + h**2 w**2 / 2 while the
    force stays below the noise. At the ends, 20 stds away, the law is below exp(-100)."""
    s = 0.05
    temperature = temperature_floor(NOISE, s)
    edge = s * math.ceil(20 * math.sqrt(temperature / h) / s)
    lattice = Lattice.uniform(-edge, edge, 2 * round(edge / s) + 1)
    law = limit_law(lambda w: np.clip(h * w, -2.0, 2.0), NOISE, lattice)
    variance = float(law @ lattice.levels**2)
    assert abs(variance * h / temperature * (1 - temperature * h) - 1) < 1e-9
    assert abs(variance * h / temperature - 1) > 1e-3


def test_two_wells_have_the_law_of_gibbs():
    """The gradient is that of the wells, and the distance falls with the square of the spacing."""
    w = np.linspace(-1.0, 1.0, 11)
    np.testing.assert_allclose((well(w + 1e-6) - well(w - 1e-6)) / 2e-6, slope(w), atol=1e-7)
    apart: list[float] = []
    for size in (129, 257):
        lattice = Lattice.uniform(-1.0, 1.0, size)
        depth = 2 * temperature_floor(NOISE, lattice.spacing)
        law = limit_law(lambda x, depth=depth: depth * slope(x), NOISE, lattice)
        apart.append(total_variation(law, gibbs_law(2 * well(lattice.levels), 1.0)))
    assert abs(apart[0] / apart[1] - 4) < 0.05


@pytest.mark.parametrize("share", [0.1, 0.8])
def test_a_strong_force_has_its_own_temperature(share: float):
    """E d^+ / E d^- = ((1 + share) / (1 - share))**2 for each step up."""
    lattice = Lattice.uniform(-1.0, 1.0, 21)
    laws = [ContinuousIncrements(share * WIDTH, Uniform(WIDTH))] * 21
    law = stationary_distribution(weight_chain(StochasticRounding(lattice), laws))
    expected = 2 * math.log((1 + share) / (1 - share))
    np.testing.assert_allclose(np.diff(np.log(law)), expected, rtol=1e-10)
