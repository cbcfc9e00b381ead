"""The limit of many hidden levels: the operator, its nodes, and the orders that were derived."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qtheory import Lattice, StochasticRounding
from qtheory.algorithms import law
from qtheory.algorithms.walker import hidden
from qtheory.chain import stationary_distribution, total_variation
from qtheory.increments import ContinuousIncrements
from qtheory.limits.straight_through import latent_chain
from qtheory.noise import Gaussian, StudentT
from qtheory.stairs.stair import Stair
from qtheory.visible import flip_rate, hidden_chain, shown, visible_law

LAWS = [ContinuousIncrements(m, Gaussian(0.15)) for m in (0.03, 0.01, -0.04)]
THIRDS = Stair((-1.0, 0.0, 1.0), (-1 / 3, 1 / 3))


def test_a_walker_interpolates_the_latents_operator():
    """P_ij = E hat_j(clip(x_i + d)); a level is some roundings off, in spacings of 1/4."""
    spec = StochasticRounding(Lattice.uniform(-1.0, 1.0, 9))
    levels = spec.lattice.levels
    increments = np.r_[np.random.default_rng(1).normal(0, 1, 200), 0.0, 0.25, -0.25, 3.0, -3.0]
    for index in range(9):
        clipped = np.clip(levels[index] + increments, -1.0, 1.0)
        hats = np.stack([np.interp(clipped, levels, row) for row in np.eye(9)], axis=-1)
        assert np.abs(law(spec, index, increments) - hats).max() <= 2.0**-48


def settled(stair: Stair, nodes: int = 16):
    latent = latent_chain(stair, LAWS, nodes=nodes)
    return visible_law(stationary_distribution(latent.chain), latent.blocks)


def test_nodes_do_not_matter():
    """Within an ellipse of radius 4 a density of the panel's width grows by exp(2) at most, so n
    nodes err by 64 / 15 exp(2) 4**(-2 n) (`qtheory.transition`): 1e-18 for 16."""
    assert np.abs(settled(THIRDS) - settled(THIRDS, 24)).max() < 1e-13
    assert np.abs(settled(THIRDS) - settled(THIRDS, 1)).max() > 1e-6


def test_simulated_latents_are_seen_as_often():
    """100,000 latents for 60 iterations. Hoeffding: a share is off by sqrt(ln(6e9) / 2e5) = 0.011
    at an alarm rate of 1e-9. The slowest mode has (1 - 0.06)**60 = 0.02 left of at most 0.1."""
    draws = np.random.default_rng(3)
    x = np.zeros(100_000)
    means = np.array([each.mean for each in LAWS])
    for _ in range(60):
        x = np.clip(x + means[THIRDS.index(x)] + draws.normal(0.0, 0.15, x.size), -1.0, 1.0)
    shares = np.bincount(THIRDS.index(x), minlength=3) / x.size
    assert np.abs(shares - settled(THIRDS)).max() < 0.011 + 0.002


def test_the_order_is_two_and_the_stair_costs_one():
    """Z**2 e(Z) tends to a constant with corrections of relative order 1 / Z, 0.03 at 6 bits."""
    own = [total_variation(hidden_law(b), settled(hidden(b)["readout"])) for b in (6, 8)]
    assert abs(math.log(own[0] / own[1]) / math.log(127 / 31) - 2) < 0.05
    assert total_variation(hidden_law(9), settled(THIRDS)) > 10 * own[1]


def hidden_law(bits: int):
    spec = StochasticRounding(**hidden(bits))
    return visible_law(stationary_distribution(hidden_chain(spec, LAWS)), shown(spec))


@pytest.mark.parametrize("bits", range(2, 12))
def test_thresholds_are_past_thirds_by_parity(bits: int):
    side = 2 ** (bits - 1) - 1
    past = hidden(bits)["readout"].thresholds[1] - 1 / 3
    assert abs(past * side - (1 / 6 if bits % 2 == 0 else 1 / 2)) < side * 2.0**-52


def test_ends_hold_what_is_clipped():
    """A force to the right far beyond the noise: all latents end at the bound."""
    latent = latent_chain(Stair.step(-1.0), [ContinuousIncrements(3.0, Gaussian(0.1))] * 2)
    law_of_it = stationary_distribution(latent.chain)
    assert law_of_it[-1] == pytest.approx(1.0, abs=1e-15)
    assert latent.latents[[0, -1]].tolist() == [-1.0, 1.0]
    assert flip_rate(latent.chain, latent.blocks) < 1e-15


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="a stair of 3 levels needs as many laws, got 2"):
        latent_chain(THIRDS, LAWS[:2])
    with pytest.raises(ValueError, match=r"thresholds are between -0\.3 and 0\.3"):
        latent_chain(THIRDS, LAWS, bound=0.3)
    with pytest.raises(ValueError, match="a noise has a std here, got inf"):
        latent_chain(THIRDS, [ContinuousIncrements(0.0, StudentT(1.5, 0.1))] * 3)
