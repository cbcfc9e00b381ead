"""Ternary Bop: thresholds are tails of noise, hysteresis, reset, and the rule of the trials."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr

from qreference import optimisers, walker
from qtheory.algorithms import contract, from_dict, law, to_dict
from qtheory.algorithms.ternary_bop import TernaryBop
from qtheory.chain import stationary_distribution
from qtheory.increments import ContinuousIncrements
from qtheory.lattice import Lattice
from qtheory.noise import Gaussian
from qtheory.optimisers import Normalized
from qtheory.transition import weight_chain

TERNARY = Lattice.ternary()
NOISE = [ContinuousIncrements(0.0, Gaussian(1.0))] * 3


def test_thresholds_are_tails_of_the_noise():
    """0.7 is rounded to float32, which turns its tail by 2**-24 relative at most; 1e-7 is more."""
    matrix = weight_chain(TernaryBop(TERNARY), NOISE).off_diagonal
    outer, inner = ndtr(-2.0), ndtr(-1.4)
    expected = [[0, outer, 0], [inner, 0, inner], [0, outer, 0]]
    assert matrix.ravel() == pytest.approx(np.ravel(expected), rel=3e-7)


@pytest.mark.parametrize(("hysteresis", "share"), [(0.5, 0.0669), (1.0, 1 / 3), (2.0, 0.9972)])
def test_hysteresis_empties_the_middle(hysteresis, share):
    chain = weight_chain(TernaryBop(TERNARY, 2.0, hysteresis), NOISE)
    outer, inner = ndtr(-2.0), ndtr(-2.0 * hysteresis)
    found = stationary_distribution(chain)[1]
    assert found == pytest.approx(outer / (outer + 2 * inner), rel=1e-9)
    assert found == pytest.approx(share, abs=5e-5)


def test_only_the_middle_of_an_odd_lattice_has_its_own_threshold():
    for size, own in ((2, None), (3, 1), (4, None), (5, 2)):
        spec = TernaryBop(Lattice(size, 1.0, 0.0), 2.0, 0.5)
        moved = law(spec, np.arange(size), 1.5).argmax(-1) != np.arange(size)
        assert np.flatnonzero(moved).tolist() == ([] if own is None else [own])


def test_thresholds_are_exclusive_and_rounded_once():
    """Of float32 numbers, so the law's, the reference's and the kernel's ties are the same."""
    spec = TernaryBop(TERNARY, 0.1, 0.7)
    inner = np.float32(0.1) * np.float32(0.7)
    x = np.array([inner, np.nextafter(inner, np.float32(1)), -inner, 0.1], np.float32)
    assert law(spec, 1, x).argmax(-1).tolist() == [1, 2, 1, 2]
    assert walker.step(spec, np.ones(4, np.int64), x, np.zeros(4, np.uint32)).tolist() == [
        1,
        2,
        1,
        2,
    ]
    assert law(spec, 0, x).argmax(-1).tolist() == [0, 0, 0, 0]


def test_a_weight_that_moves_begins_its_momentum_anew():
    """One rms a step: sqrt(1 - b**2) (1 - b**n) / (1 - b) passes 2 at n = 10, and 1.4 at n = 7.

    Without a reset the second move would follow at once, for the threshold of 0 is lower.
    """
    base = Normalized(1.0, momentum=0.97, over="neuron")
    index, moments = np.zeros(1, np.int64), optimisers.init(base, (1,))
    levels, kept = [], []
    for t in range(1, 19):
        index, moments, _, _ = optimisers.train_step(
            TernaryBop(TERNARY), base, index, moments, np.full(1, -3.0, np.float32),
            seed=0, iteration=t, tensor=0,
        )  # fmt: skip
        levels.append(int(index[0]))
        kept.append(float(moments.first[0]))
    assert contract(TernaryBop(TERNARY)).forgets
    assert levels == [0] * 9 + [1] * 7 + [2] * 2
    assert [t for t, z in enumerate(kept, start=1) if z == 0] == [10, 17]


def test_it_is_the_rule_of_the_first_trials():
    """M <- (1 - gamma) M + gamma A g, A = 20 sqrt((2 - gamma) / gamma); |M| > 20 tau moves.

    With gamma = 1 - momentum M is 20 times the momentum in units of its own rms, so both decide
    alike: all in float64 there, in float32 here, and no |M| is that near to a threshold.
    """
    gamma, tau, hysteresis, rng = 0.1, 2.02, 0.7, np.random.default_rng(4)
    scale = 20 * math.sqrt((2 - gamma) / gamma)
    spec, base = TernaryBop(TERNARY, tau, hysteresis), Normalized(1.0, 1 - gamma, 0.0)
    index, moments = rng.integers(0, 3, 500), optimisers.init(base, (500,))
    w, kept, nearest, moves = index - 1, np.zeros(500), math.inf, 0
    for t in range(1, 101):
        g = rng.normal(size=500).astype(np.float32)
        normal = g.astype(np.float64) / math.sqrt(np.square(g.astype(np.float64)).mean())
        kept += gamma * (scale * normal - kept)
        threshold = np.where(w != 0, 1.0, hysteresis) * 20 * tau
        nearest = min(nearest, np.abs(np.abs(kept) - threshold).min())
        after = np.where(np.abs(kept) > threshold, np.clip(w - np.sign(kept), -1, 1), w)
        kept = np.where(after != w, 0.0, kept)
        moves, w = moves + int((after != w).sum()), after
        index, moments, _, _ = optimisers.train_step(
            spec, base, index, moments, g, seed=1, iteration=t, tensor=0
        )
        assert (index - 1 == w).all()
    assert nearest > 20 * 1e-5
    assert moves > 500


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 0.0}, "a threshold is positive and finite in float32, got 0"),
        ({"threshold": math.nan}, "a threshold is positive and finite in float32, got nan"),
        ({"hysteresis": -0.5}, "a hysteresis is positive and finite in float32, got -0.5"),
        ({"threshold": 1e30, "hysteresis": 1e30}, "threshold times hysteresis is positive and"),
        ({"threshold": 1e-30, "hysteresis": 1e-30}, "threshold times hysteresis is positive and"),
    ],
)
def test_a_bad_spec_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TernaryBop(TERNARY, **change)


def test_a_spec_survives_a_plain_dict():
    spec = TernaryBop(TERNARY, 1.5, 0.5)
    assert from_dict(to_dict(spec)) == spec
