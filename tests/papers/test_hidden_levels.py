"""What claims about hidden levels rest on: exact spreads, and the neuron beside a simulation."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from qpapers.hidden_levels import knee, masters, parallel
from qpapers.hidden_levels.neuron import Neuron, _moved, from_temperature, trained
from qpapers.hidden_levels.temperature import NOISE, WIDTH, slope, well
from qtheory import Lattice, StochasticRounding
from qtheory.algorithms.walker import hidden
from qtheory.chain import (
    gibbs_law,
    is_reversible,
    single_site_metropolis,
    stationary_distribution,
    total_variation,
)
from qtheory.increments import ContinuousIncrements
from qtheory.limits.generator import limit_law
from qtheory.limits.temperature import temperature_floor
from qtheory.noise import Gaussian, Uniform
from qtheory.transition import weight_chain
from qtheory.visible import hidden_chain, shown


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


# The neuron of the knee


@pytest.mark.parametrize("bits", [3, 4])
def test_the_temperature_gives_the_error_of_a_neuron(bits: int):
    """What is left out of the formula is r**m, the law at the end of the lattice: r = E g^- / E g^+
    is 0.065 or less here, so r**2 = 0.4 % of an error at 3 bits."""
    neuron = Neuron(iterations=400)
    found = trained(neuron, bits, 0.08)
    assert abs(found / from_temperature(neuron, bits) - 1) < 0.01
    assert abs(trained(neuron, bits, 0.04) / found - 1) < 0.01


def test_an_iteration_of_a_neuron_is_that_of_its_chain():
    """One iteration from a law with weight everywhere, against the chain of each teacher's weight.
    Noise beyond 9 stds, 1e-19, is left out; an entry of the chain is good to 2**-48 (1 + 3)**2."""
    spec = StochasticRounding(**hidden(4))
    laws = np.random.default_rng(2).dirichlet(np.ones(15), 2)
    step, std = 0.3, 0.9
    found = _moved(laws, shown(spec), step, std, spec.lattice.spacing)
    for teacher, before, after in zip((0.0, 1.0), laws, found, strict=True):
        means = [-step * (level - teacher) for level in (-1.0, 0.0, 1.0)]
        chain = hidden_chain(spec, [ContinuousIncrements(m, Gaussian(step * std)) for m in means])
        assert np.abs(before @ chain.transition_matrix - after).max() < 1e-12


def test_a_simulated_neuron_has_the_error_of_the_mean_field():
    """40 neurons of 64 weights, 3 bits, 300 iterations. The field of finitely many inputs misses a
    share of about 2 / 64; errors of neurons differ by a std of sqrt(2 / 64) of e, over sqrt 40 of
    them, and six of that are 17 % of e."""
    neuron, bits, neurons = Neuron(iterations=300), 3, 40
    draws = np.random.default_rng(11)
    spec = StochasticRounding(**hidden(bits))
    stair, s = hidden(bits)["readout"], spec.lattice.spacing
    teachers = draws.integers(-1, 2, (neurons, neuron.inputs)).astype(float)
    x = s * draws.integers(-3, 4, teachers.shape)
    label_std = math.sqrt(neuron.inputs * neuron.label_noise * 2 / 3)
    for t in range(neuron.iterations):
        rate = 0.08 * 0.5 * (1 + math.cos(math.pi * t / neuron.iterations))
        inputs = draws.standard_normal((neurons, neuron.batch, neuron.inputs))
        wrong = np.einsum("nbi,ni->nb", inputs, stair(x) - teachers)
        wrong += label_std * draws.standard_normal(wrong.shape)
        g = np.einsum("nb,nbi->ni", wrong, inputs) / neuron.batch
        d = -rate * g / np.sqrt((g**2).mean(axis=1, keepdims=True))
        low = np.floor((x + d) / s)
        x = s * (low + (draws.random(x.shape) < (x + d) / s - low))
        x = np.clip(x, -1.0, 1.0)
        x = s * np.rint(x / s)
    error = float(((stair(x) - teachers) ** 2).mean())
    assert abs(error / trained(neuron, bits, 0.08) - 1) < 0.03 + 0.17


def test_the_prediction_is_compared_as_it_was_made():
    """The table of the note has the numbers of the formula, at five decimals."""
    note = (Path(__file__).resolve().parents[2] / "papers" / "hidden_levels.md").read_text()
    row = next(line for line in note.splitlines() if line.startswith("| e, nu = 1 |"))
    told = [float(cell) for cell in row.split("|")[2:-1]]
    found = [from_temperature(Neuron(), b) for b in range(2, 9)]
    assert np.abs(np.array(told) - found).max() < 5e-6
    chi, unit = knee.distance(1.0)
    gaps = unit * np.array([told[b - 2] for b in knee.BITS])
    assert abs((((gaps - knee.MEASURED) / knee.errors()) ** 2).sum() - chi) < 0.01
    for nu in (0.25, 1.0, 4.0):
        assert knee.distance(nu)[0] > 30  # chi**2 of 5 degrees of freedom: P < 1e-5


# Weights that move at once


def test_one_weight_has_the_law_of_gibbs_and_two_at_once_have_not():
    assert total_variation(parallel.settled(1, 1.0), parallel.target(1)) < 1e-14
    assert is_reversible(parallel.chain(1, 1.0))
    assert not is_reversible(parallel.chain(2, 1.0))
    assert total_variation(parallel.settled(2, 1.0), parallel.target(2)) > 0.04
    single = single_site_metropolis(parallel.energies(2).reshape(3, 3), parallel.TEMPERATURE)
    law = stationary_distribution(single)
    assert total_variation(law, parallel.target(2)) < 1e-14


def test_the_bias_is_first_order_in_the_share():
    """TV / q = c (1 + O(q)): between q = 1/64 and 1/128 it changes by less than 1/64 of itself."""
    found = [
        total_variation(parallel.settled(2, q), parallel.target(2)) / q for q in (1 / 64, 1 / 128)
    ]
    assert abs(found[0] / found[1] - 1) < 1 / 64
    assert abs(2 * found[1] - found[0] - parallel.first_order(2)) < 1e-5


# Public claims about weights without a float copy


def test_eco_is_a_latent_with_hysteresis():
    """Dyadic numbers, so equality; and a radius that does not grow, near 3/16."""
    assert masters.same_as_a_latent() == (0.0,)
    coarse, fine = masters.eco(0.25, 0.5), masters.eco(0.125, 0.5)
    assert abs(coarse - 3 / 16) < 0.03 and abs(fine - 3 / 16) < 0.015
    stops = masters.radii()
    assert [round(r / rate, 9) for r, rate in zip(stops, (0.1, 0.05, 0.025), strict=True)] == [
        4.75, 9.75, 19.75,
    ]  # fmt: skip


def test_lotion_keeps_global_minima_and_local_ones():
    w = masters.LEVELS
    assert np.array_equal(masters.smoothed(w), masters.loss(w))
    middle = np.array([[0.5, -0.5, 0.5]])
    corners = np.array([[i, j, k] for i in (0.0, 1.0) for j in (-1.0, 0.0) for k in (0.0, 1.0)])
    assert abs(masters.smoothed(middle)[0] - masters.loss(corners).mean()) < 1e-15
    stable, local, best, second = masters.minima()
    assert stable == local > 1 and best < second
