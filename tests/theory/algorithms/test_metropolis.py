"""Metropolis and heat bath: detailed balance, the Gibbs law, closed forms under Gaussian noise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.special import log_ndtr

from qreference import walker
from qtheory.algorithms import from_dict, law, to_dict
from qtheory.algorithms.metropolis import ACCEPTANCES, Metropolis
from qtheory.algorithms.stochastic_rounding import StochasticRounding
from qtheory.algorithms.walker import realised_law
from qtheory.chain import MarkovChain, stationary_distribution
from qtheory.increments import ContinuousIncrements
from qtheory.lattice import Lattice
from qtheory.noise import Gaussian
from qtheory.transition import weight_chain

acceptances = pytest.mark.parametrize("acceptance", ACCEPTANCES)
LATTICES = [Lattice.binary(0.5), Lattice.ternary(), Lattice.uniform(-0.3, 0.9, 4)]


def random_energy(seed: int, weights: int) -> dict[tuple[int, ...], float]:
    """Coefficients of a multi-affine energy: one for every set of weights that multiply."""
    rng = np.random.default_rng(seed)
    sets = (s for n in range(weights + 1) for s in itertools.combinations(range(weights), n))
    return {chosen: float(rng.normal()) for chosen in sets}


def energy(coefficients: dict[tuple[int, ...], float], levels: np.ndarray) -> float:
    return sum(c * math.prod(levels[k] for k in chosen) for chosen, c in coefficients.items())


def single_site_chain(spec: Metropolis, coefficients, weights: int) -> tuple[MarkovChain, list]:
    """One weight, drawn uniformly, is asked to move by minus the energy of one spacing up."""
    lattice = spec.lattice
    states = list(itertools.product(range(lattice.size), repeat=weights))
    place = {state: number for number, state in enumerate(states)}
    moves = np.zeros((len(states),) * 2)
    for state, k in itertools.product(states, range(weights)):
        here = np.array([lattice.levels[i] for i in state])
        up = here.copy()
        up[k] += lattice.spacing
        rise = energy(coefficients, up) - energy(coefficients, here)
        pmf = law(spec, state[k], -rise * lattice.spacing)
        for other in set(range(lattice.size)) - {state[k]}:
            there = (*state[:k], other, *state[k + 1 :])
            moves[place[state], place[there]] += pmf[other] / weights
    return MarkovChain(moves), [energy(coefficients, lattice.levels[list(s)]) for s in states]


@acceptances
@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: str(lattice.size))
@pytest.mark.parametrize("temperature", [0.1, 1.0, 7.0])
def test_enumerable_systems_have_the_gibbs_law_in_detailed_balance(
    acceptance, lattice, temperature
):
    """Energies are below 30 and temperatures above 0.1: exponents below 300 with an error of
    300 * 2**-52 each, 1.4e-13 for a ratio; 27 to 64 states add 64 * 2**-52."""
    spec = Metropolis(lattice, temperature, 0.7, acceptance)
    chain, energies = single_site_chain(spec, random_energy(lattice.size, 3), 3)
    gibbs = np.exp(-(np.array(energies) - min(energies)) / temperature)
    gibbs /= gibbs.sum()
    flow = gibbs[:, None] * chain.off_diagonal
    assert (chain.off_diagonal > 0).sum() > 2 * len(energies)
    assert np.abs(flow - flow.T).max() <= 1e-12 * flow.max()
    assert np.abs(flow - flow.T)[flow > 0].max(initial=0) <= 1e-12 * flow.max()
    assert stationary_distribution(chain) == pytest.approx(gibbs, rel=1e-12, abs=0)


@acceptances
def test_the_gibbs_law_needs_the_right_temperature(acceptance):
    spec = Metropolis(Lattice.ternary(), 0.5, 1.0, acceptance)
    chain, energies = single_site_chain(spec, random_energy(1, 2), 2)
    wrong = np.exp(-np.array(energies) / 0.55)
    flow = (wrong / wrong.sum())[:, None] * chain.off_diagonal
    assert np.abs(flow - flow.T).max() > 1e-3 * flow.max()


def mean_acceptance(acceptance: str, mean: float, std: float, temperature: float) -> float:
    """E a(x / T) for normal x: of Metropolis in closed form, of the heat bath by 4,001 points.

    The heat bath's integrand is analytic within pi T of the axis, so the sum over points h apart
    is exact up to exp(-2 pi * 3 T / h).
    """
    if acceptance == "metropolis":
        above = math.exp(float(log_ndtr(mean / std)))
        tilt = mean / temperature + 0.5 * (std / temperature) ** 2
        return above + math.exp(tilt + float(log_ndtr(-mean / std - std / temperature)))
    x, h = np.linspace(mean - 12 * std, mean + 12 * std, 4001, retstep=True)
    density = np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))
    return float(h * (density / (1 + np.exp(-x / temperature))).sum())


@acceptances
@pytest.mark.parametrize("temperature", [0.03, 0.25, 4.0])
@pytest.mark.parametrize("mean", [-0.6, 0.0, 0.2])
def test_chains_under_noise_have_the_closed_form(acceptance, temperature, mean):
    """Panels are one temperature wide and 20 nodes integrate exp(-z) on them to 1e-40; sums of
    5,000 terms of one sign are rounded to 1e-12."""
    lattice = Lattice.uniform(-1.0, 1.0, 5)
    spec, std = Metropolis(lattice, temperature, 0.5, acceptance), 0.4
    increments = ContinuousIncrements(mean * lattice.spacing, Gaussian(std * lattice.spacing))
    matrix = weight_chain(spec, [increments] * 5).off_diagonal
    up, down = (0.25 * mean_acceptance(acceptance, s * mean, std, temperature) for s in (1, -1))
    assert np.diag(matrix, 1) == pytest.approx(np.full(4, up), rel=1e-11)
    assert np.diag(matrix, -1) == pytest.approx(np.full(4, down), rel=1e-11)
    assert (matrix > 0).sum() == 8


def settled(spec, std: float) -> float:
    """The temperature at which odds of neighbours are exp(mean / T), mean = std / 1000."""
    noise = ContinuousIncrements(1e-3 * std, Gaussian(std))
    moves = weight_chain(spec, [noise] * spec.lattice.size).off_diagonal
    return 1e-3 * std / math.log(moves[0, 1] / moves[1, 0])


@acceptances
def test_no_cooling_brings_a_rule_to_the_temperature_of_rounding(acceptance):
    """Odds of up under noise with a mean m << std. At T = 0 a rule sees a sign: the odds are
    Phi(m / std) / Phi(-m / std) = 1 + m sqrt(8 / pi) / std, and the temperature std sqrt(pi / 8);
    of rounding they are E x+ / E x- = 1 + 2 m / E|x|. A T of std / 1000 adds T / 2 at most, and a
    hot rule has its own T and the noise of the acceptance, below std / 2."""
    lattice, std = Lattice.ternary(), 0.05
    found = [settled(Metropolis(lattice, t * std, 0.5, acceptance), std) / std
             for t in (30.0, 3.0, 0.3, 0.03, 0.001)]  # fmt: skip
    least = math.sqrt(math.pi / 8)
    assert (np.diff(found) < 0).all()
    assert found[-1] == pytest.approx(least, rel=2e-3) and found[-1] > least * (1 - 1e-6)
    assert found[0] == pytest.approx(30.0, rel=0.05)
    rounding = settled(StochasticRounding(lattice), std) / std
    assert rounding == pytest.approx(1 / math.sqrt(2 * math.pi), rel=1e-6)
    assert min(found) > 1.5 * rounding


@acceptances
def test_the_reference_realises_the_law_to_an_integer(acceptance):
    """Two events are rounded down to multiples of 2**-32: a level is off by 2**-31 at most."""
    spec = Metropolis(Lattice.ternary(2.0), 0.3, 0.9, acceptance)
    x = np.array([-3.0, -0.25, -1e-6, 0.0, 1e-6, 0.5, 40.0], np.float32) * np.float32(2.0)
    index = np.arange(7) % 3
    realised = realised_law(walker.outcomes(spec, index, x), 3)
    assert np.abs(realised - law(spec, index, x.astype(np.float64))).max() <= 2.0**-31


def test_metropolis_moves_at_least_as_often_as_the_heat_bath():
    x = np.linspace(-2, 2, 41)
    moves = [
        1 - law(Metropolis(Lattice.ternary(), 0.5, 1.0, name), 1, x)[:, 1] for name in ACCEPTANCES
    ]
    assert (moves[0] >= moves[1]).all() and (moves[0] > moves[1] + 0.01).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "a temperature is finite and at least 2\\*\\*-100 spacings, got 0"),
        ({"temperature": math.inf}, "got inf"),
        ({"temperature": math.nan}, "got nan"),
        ({"proposal": 0.0}, r"the probability of a proposal is in \(0, 1\], got 0"),
        ({"proposal": 1.5}, "got 1.5"),
        ({"acceptance": "always"}, "an acceptance is one of metropolis, heat_bath, got 'always'"),
    ],
)
def test_a_bad_spec_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Metropolis(Lattice.ternary(), **change)


def test_a_spec_survives_a_plain_dict():
    spec = Metropolis(Lattice.ternary(), 0.5, 0.25, "heat_bath")
    assert from_dict(to_dict(spec)) == spec
