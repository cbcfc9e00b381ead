"""Bop: the published loop, tails of noise, and the tie at the threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr

from qreference import optimisers, walker
from qtheory.algorithms import from_dict, law, to_dict
from qtheory.algorithms.bop import Bop
from qtheory.algorithms.deterministic_rounding import DeterministicRounding
from qtheory.increments import ContinuousIncrements
from qtheory.latent import (
    AverageFlip,
    MomentumWalker,
    average_flip_chain,
    momentum_chain,
    weight_flip_rate,
)
from qtheory.lattice import Lattice
from qtheory.noise import Gaussian
from qtheory.optimisers import Momentum
from qtheory.transition import weight_chain

BINARY = Lattice.binary()


def test_a_walker_with_momentum_is_the_published_loop():
    """m <- (1 - gamma) m + gamma g; w <- -w iff |m| > tau and sign(m) = sign(w). No tie is near:
    float32 errs by 1e-6 in m, and the nearest |m| is further from tau."""
    gamma, tau, rng = 0.2, 0.35, np.random.default_rng(0)
    w, m, nearest = np.sign(rng.normal(size=64)), np.zeros(64), math.inf
    spec, base = Bop(BINARY, tau), Momentum(gamma * BINARY.spacing, 1.0 - gamma)
    index, moments = BINARY.nearest(w), optimisers.init(base, (64,))
    flips = 0
    for t in range(1, 201):
        g = rng.normal(size=64).astype(np.float32)
        m = (1 - gamma) * m + gamma * g.astype(np.float64)
        flip = (np.abs(m) > tau) & (np.sign(m) == np.sign(w))
        w, nearest = np.where(flip, -w, w), min(nearest, np.abs(np.abs(m) - tau).min())
        index, moments, moved, _ = optimisers.train_step(
            spec, base, index, moments, g, seed=0, iteration=t, tensor=0
        )
        assert (BINARY.levels[index] == w).all()
        assert moved == flip.sum()
        flips += moved
    assert nearest > 1e-5
    assert flips > 300


def test_both_exact_chains_flip_equally_often():
    """The sum b and the average a = gamma b live on lattices that differ by that factor."""
    gamma, spacing, threshold = 0.5, 0.125, 0.8125
    fine = Lattice(65, spacing, -32 * spacing)
    sums = Lattice(65, spacing / gamma, -32 * spacing / gamma)
    noise = [ContinuousIncrements(0.1, Gaussian(1.0))] * 2
    rule = Bop(BINARY, threshold / BINARY.spacing)
    walked = momentum_chain(
        MomentumWalker(rule, DeterministicRounding(sums), 1 - gamma, gamma), noise
    )
    flipped = average_flip_chain(AverageFlip(DeterministicRounding(fine), gamma, threshold), noise)
    rates = [weight_flip_rate(chain, 2) for chain in (walked, flipped)]
    assert rates[0] == pytest.approx(rates[1], rel=1e-12)
    assert rates[0] > 0.01


@pytest.mark.parametrize("threshold", [0.5, 1.0, 3.0])
def test_noise_flips_by_its_tail(threshold):
    """Only tails enter, which both libraries know to a relative 1e-13."""
    noise = ContinuousIncrements(0.2 * BINARY.spacing, Gaussian(BINARY.spacing))
    moves = weight_chain(Bop(BINARY, threshold), [noise] * 2).off_diagonal
    up, down = ndtr(0.2 - threshold), ndtr(-0.2 - threshold)
    assert moves.ravel().tolist() == pytest.approx([0.0, up, down, 0.0], rel=1e-12)


def test_a_weight_at_the_threshold_stays_and_beyond_it_moves_one_level():
    spec = Bop(Lattice.uniform(-2.0, 2.0, 9), 0.75)
    beyond = np.nextafter(np.float32(0.375), np.float32(1))  # of spacings of a half
    x = np.array([0.375, beyond, -0.375, -beyond, 1e30, -math.inf], np.float32)
    expected = [4, 5, 4, 3, 5, 3]
    assert law(spec, 4, x).argmax(-1).tolist() == expected
    for word in (0, 2**31, 2**32 - 1):
        words = np.full(6, word, np.uint32)
        assert walker.step(spec, np.full(6, 4), x, words).tolist() == expected


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.inf, math.nan, 1e-50])
def test_a_bad_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match="a threshold is positive and finite in float32, got"):
        Bop(BINARY, threshold)


def test_a_spec_survives_a_plain_dict():
    spec = Bop(BINARY, 1e-8)
    assert from_dict(to_dict(spec)) == spec
