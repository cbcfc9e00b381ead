"""The limit law of stochastic rounding [li2017, Theorems 5 and 6]: what, and how fast."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qpapers.li2017 import toy_problem
from qtheory import Lattice, StochasticRounding
from qtheory.chain import (
    MarkovChain,
    evolve,
    mixing_time,
    spectral_gap,
    stationary_distribution,
    total_variation,
)
from qtheory.increments import ContinuousIncrements
from qtheory.limits.generator import (
    generator,
    joint_chain,
    joint_generator_of_atoms,
    limit_law,
    slowed,
    states_of_product,
)
from qtheory.limits.timescales import time_to_mix
from qtheory.noise import Gaussian, StudentT, Uniform
from qtheory.transition import weight_chain


def moves(mean: float, noise: Gaussian, rate: float) -> np.ndarray:
    """Law of the move from the middle of 41 levels."""
    lattice = Lattice(size=41, spacing=0.5, low=-10.0)
    laws = [ContinuousIncrements(-rate * mean, noise.scaled(rate))] * lattice.size
    return weight_chain(StochasticRounding(lattice), laws).off_diagonal[20]


@pytest.mark.parametrize("mean", [-1.0, 0.4])
def test_where_a_weight_goes_does_not_depend_on_the_learning_rate(mean: float):
    """P(up | move) = E[(-g)^+] / E|g| once jumps are rarer than 1e-12; P(move) is the rate's."""
    noise = Gaussian(1.0)
    up, down = (float(noise.excess(np.array([s * mean]))[0]) for s in (1.0, -1.0))
    for rate in (0.05, 1e-3, 1e-9):
        p = moves(mean, noise, rate)
        assert abs(p[21:].sum() / p.sum() - up / (up + down)) <= 1e-12
        assert abs(p.sum() / (rate * (up + down) / 0.5) - 1) <= 1e-12
    p = moves(mean, noise, 0.5)
    assert abs(p[21:].sum() / p.sum() - up / (up + down)) > 1e-3


@pytest.mark.parametrize("std", [1.0, 3.0])
def test_the_law_tends_to_the_limit_law(std: float):
    """Jumps of two levels have probability below exp(-10**3) at the lowest rate: equal laws. The
    distances at .1 are 3.7e-6 and .0423."""
    noise = Gaussian(std)
    limit = limit_law(toy_problem.gradient, noise, toy_problem.WIDE)
    far = [
        total_variation(stationary_distribution(toy_problem.chain(a, noise)), limit)
        for a in (1.0, 0.1, 0.003)
    ]
    assert far[0] > 0.5 > 0.05 > far[1] > 1e-6
    assert far[2] <= 1e-13
    assert abs(far[1] / {1.0: 3.703e-6, 3.0: 0.04234}[std] - 1) <= 2e-3


@pytest.mark.parametrize("df", [1.5, 2.0, 3.0])
def test_the_rate_follows_from_the_tail(df: float):
    """TV ~ rate**(df - 1): the slope over a decade is right to the next order, rate**(df - 1)
    relative, or rate**.5 for the least; and is not that of another tail."""
    noise = StudentT(df, 1.0)
    limit = limit_law(toy_problem.gradient, noise, toy_problem.NARROW)
    near, far = (
        total_variation(
            stationary_distribution(toy_problem.chain(a, noise, toy_problem.NARROW)), limit
        )
        for a in (1e-5, 1e-4)
    )
    assert abs(math.log10(far / near) - (df - 1)) <= 0.01


def test_with_bounded_noise_the_law_is_the_limit_law():
    """|g| <= 8.5, so steps are below a spacing at .05; not at .2."""
    noise = Uniform(2.0)
    limit = limit_law(toy_problem.gradient, noise, toy_problem.NARROW)
    far = [
        total_variation(
            stationary_distribution(toy_problem.chain(a, noise, toy_problem.NARROW)), limit
        )
        for a in (0.05, 1e-4, 0.2)
    ]
    assert max(far[:2]) <= 1e-13 and far[2] > 1e-3


def test_the_integrals_as_quoted_climb():
    """On any valley: the law with exchanged integrals is largest at the ends."""
    for exchanged, best in ((False, 4), (True, 0)):
        law = limit_law(
            lambda w: w, Gaussian(0.5), Lattice.uniform(-2.0, 2.0, 9), exchanged=exchanged
        )
        assert int(np.argmax(law[:5])) == best
        assert law.min() > 0


HESSIAN, ATOMS = np.array([[1.0, 0.5], [0.5, 2.0]]), np.array([[3.0, 1.0], [-3.0, -1.0]])


def gradient(points: np.ndarray) -> np.ndarray:
    """Of a coupled quadratic, minimiser (.2, -.1)."""
    return (points - np.array([0.2, -0.1])) @ HESSIAN


def test_two_weights_err_in_proportion_to_the_learning_rate():
    """Simultaneous moves are O(rate**2) and the rest O(rate): halving the rate halves TV, up to a
    relative 10 %, the ratio of the next order, rate |g| / s."""
    grid, atoms = Lattice.uniform(-1.0, 1.0, 5), np.vstack([ATOMS, 3 * ATOMS[:, ::-1] / 2])
    limit = stationary_distribution(slowed(joint_generator_of_atoms(gradient, atoms, grid)))
    spec = StochasticRounding(grid)
    far = [
        total_variation(
            stationary_distribution(joint_chain(gradient, atoms, spec, a)),
            limit,
        )
        for a in (0.01, 0.005)
    ]
    assert 1.8 <= far[0] / far[1] <= 2.2
    assert far[1] > 1e-6


def test_the_joint_chain_is_the_limit_to_first_order():
    """(T - I) / rate - A is O(rate): entries of single moves differ by a move of the other weight,
    a relative rate |g| / s <= 6e-6 / .5."""
    grid, rate = Lattice.uniform(-1.0, 1.0, 5), 1e-6
    chain = joint_chain(gradient, ATOMS, StochasticRounding(grid), rate)
    rates = joint_generator_of_atoms(gradient, ATOMS, grid)
    single = rates > 0
    ratio = chain.off_diagonal[single] / rate / rates[single]
    assert np.abs(ratio - 1).max() <= 2e-5
    assert chain.off_diagonal[~single].max() <= (6 * rate / 0.5) ** 2
    assert states_of_product(grid, 2)[7].tolist() == [-0.5, 0.0]


@pytest.mark.parametrize("distance_to_mix", [0.1, 0.25, 0.9])
def test_the_mixing_time_is_the_first_iteration_that_is_close_enough(distance_to_mix: float):
    chain = toy_problem.chain(0.05, Gaussian(3.0), toy_problem.NARROW)
    law, starts = stationary_distribution(chain), np.eye(chain.size)

    def worst(iterations: int) -> float:
        return max(total_variation(evolve(chain, start, iterations), law) for start in starts)

    time = mixing_time(chain, distance_to_mix)
    assert worst(time) <= distance_to_mix < worst(time - 1)


def test_the_mixing_time_is_one_over_the_learning_rate():
    """rate M rounds s up to a multiple of the rate, and I + rate A differs from exp(rate A) by
    |A| rate relative, which at 1e-4 is below 1e-3."""
    rates = generator(toy_problem.gradient, Gaussian(3.0), toy_problem.NARROW)
    s = time_to_mix(rates)
    for rate in (1e-3, 1e-4):
        scaled = rate * mixing_time(toy_problem.chain(rate, Gaussian(3.0), toy_problem.NARROW))
        assert abs(scaled - s) <= rate + rate * s
    gap = spectral_gap(slowed(rates)) * float(rates.sum(axis=1).max())
    assert (
        abs(
            spectral_gap(toy_problem.chain(1e-4, Gaussian(3.0), toy_problem.NARROW)) / 1e-4 / gap
            - 1
        )
        <= 1e-9
    )


def test_lazy_chains_have_the_same_law():
    """P and (1 - h) I + h P, off the diagonal h P."""
    whole = np.array([[0.0, 0.4, 0.2], [0.1, 0.0, 0.3], [0.1, 0.2, 0.0]])
    law, gap = stationary_distribution(MarkovChain(whole)), spectral_gap(MarkovChain(whole))
    for h in (0.5, 0.01, 1e-9):
        lazy = MarkovChain(h * whole)
        assert np.abs(stationary_distribution(lazy) / law - 1).max() <= 1e-14
        assert abs(spectral_gap(lazy) / (h * gap) - 1) <= 1e-13


@pytest.mark.parametrize("epsilon", [0.0, 1.0, float("nan")])
def test_a_distance_out_of_range_is_refused(epsilon: float):
    rates = generator(toy_problem.gradient, Gaussian(3.0), toy_problem.NARROW)
    with pytest.raises(ValueError, match="a distance to mix to is in"):
        time_to_mix(rates, epsilon)
    with pytest.raises(ValueError, match="a share of the largest learning rate"):
        slowed(rates, 0.0)
