"""Annealing: Hajek's threshold on the smallest landscape that has one, and the loops behind it."""

import math

import numpy as np
import pytest

from qtheory.chain import (
    BirthDeathChain,
    anneal,
    ends_at_global_minima,
    evolve_inhomogeneous,
    gibbs_law,
    line,
    logarithmic_schedule,
    metropolis_chain,
    metropolis_rates,
    propagate,
    survey,
)

ENERGY = np.array([0.0, 2.0, 1.0])  # a global minimum, a rim, and a local minimum of depth 1
START = np.array([0.0, 0.0, 1.0])


def left_behind(constant: float, *iterations: int) -> list[float]:
    """P(local minimum) after each number of iterations, started there."""
    law, done, found = START, 0, []
    for end in iterations:
        law = anneal(ENERGY, logarithmic_schedule(constant, end - done, done), law)
        done = end
        found.append(float(law[2]))
    return found


@pytest.mark.parametrize("constant", [0.5, 0.8])
def test_below_the_depth_some_mass_never_leaves(constant):
    """From the rim, left with probability one, both sides are alike, so what leaves the minimum
    for good in iteration k is a quarter of (k + 2)**(-1 / c) of what is left, but for returns of
    relative order (k + 2)**(-1 / c): from k = 1000 on this gives the decrease to one per cent."""
    early, late = left_behind(constant, 10**3, 3 * 10**5)
    k = np.arange(10**3, 3 * 10**5)
    assert late / early == pytest.approx(
        math.exp(-0.25 * np.sum((k + 2.0) ** (-1 / constant))), rel=0.01
    )
    tail = 0.25 * (3e5) ** (1 - 1 / constant) / (1 / constant - 1)
    assert late * math.exp(-1.01 * tail) > 0.4  # what is left after all iterations to come
    assert not ends_at_global_minima(survey(ENERGY, line(3)), constant)


def test_at_the_depth_it_falls_as_the_fourth_root():
    """sum 1 / (4 (k + 2)) = (1/4) ln k: the local slope is -1/4 up to O(1 / k ln k) and returns."""
    p = left_behind(1.0, 10**4, 10**5, 10**6)
    slopes = [math.log10(p[1] / p[0]), math.log10(p[2] / p[1])]
    assert slopes[1] == pytest.approx(-0.25, abs=0.002)
    assert abs(slopes[1] + 0.25) <= abs(slopes[0] + 0.25) + 1e-6
    assert ends_at_global_minima(survey(ENERGY, line(3)), 1.0)


@pytest.mark.parametrize("constant", [2.0, 3.0])
def test_well_above_the_depth_the_law_follows_that_of_gibbs(constant):
    """Relaxation takes 4 (k + 2)**(1 / c) iterations, in which T hardly moves: the law lags by the
    fraction (1 / c) 4 (k + 2)**(1 / c) / k."""
    k = 10**5
    law = anneal(ENERGY, logarithmic_schedule(constant, k), START)
    now = gibbs_law(ENERGY, constant / math.log(k + 1))
    lag = 4 / constant * k ** (1 / constant - 1)
    assert law[2] / now[2] == pytest.approx(1 + lag, abs=0.5 * lag + 4 * k ** (-1 / constant))


def test_the_numbers_of_the_survey():
    """.851 and .416 are of k = 10**8: .851 is reached by 10**5, .416 up to the tail's factor."""
    assert left_behind(0.5, 10**5)[0] == pytest.approx(0.851, abs=5e-4)
    at = left_behind(0.8, 10**6)[0]
    tail = 0.25 * sum(n**-0.25 * s for n, s in ((1e6, 4), (1e8, -4)))
    assert at * math.exp(-tail) == pytest.approx(0.416, abs=5e-4)


@pytest.mark.parametrize("size", [2, 5, 8, 9, 30])
def test_runs_and_single_iterations_are_one_evolution(size):
    """Errors of 4 units each iteration, and of n + 2 each of the 11 doublings; 1500 iterations."""
    rng = np.random.Generator(np.random.PCG64(size))
    energy, start = rng.uniform(0, 2, size), rng.dirichlet(np.ones(size))
    temperatures = rng.uniform(0.2, 2, 1500)
    chains = (metropolis_chain(energy, t) for t in temperatures)
    slow = evolve_inhomogeneous(chains, start)
    fast = anneal(energy, temperatures, start)
    assert np.abs(slow - fast).max() <= 1500 * (size + 8) * 2.0**-53


def test_a_schedule_of_chains_of_birth_and_death_is_the_same():
    """`propagate` errs by 6 units an iteration, `anneal` by 4, on 20 states."""
    rng = np.random.Generator(np.random.PCG64(4))
    energy, start = rng.uniform(0, 2, 20), rng.dirichlet(np.ones(20))
    temperatures = rng.uniform(0.2, 2, 300)
    chains = (BirthDeathChain(*metropolis_rates(energy, float(t))) for t in temperatures)
    other = propagate(((chain, np.ones(1)) for chain in chains), start)
    assert np.abs(anneal(energy, temperatures, start) - other).max() <= 300 * 10 * 2.0**-53


def test_a_constant_temperature_leads_to_gibbs():
    law = anneal(ENERGY, np.full(4000, 0.5), START)
    assert np.abs(law - gibbs_law(ENERGY, 0.5)).max() <= 1e-12


def test_bad_use_is_refused():
    with pytest.raises(ValueError, match="temperatures are positive"):
        anneal(ENERGY, np.array([1.0, 0.0]), START)
    with pytest.raises(ValueError, match="constant of a schedule"):
        logarithmic_schedule(0.0, 5)
    with pytest.raises(ValueError, match="counted from 0"):
        logarithmic_schedule(1.0, -5)
    with pytest.raises(ValueError, match="each of 3 states"):
        evolve_inhomogeneous([metropolis_chain(ENERGY, 1.0)], np.ones(2) / 2)
