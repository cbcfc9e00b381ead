"""The walker of [zhang2022]: what its test makes up for, the law it keeps, and its bias."""

from __future__ import annotations

import math

import numpy as np

from qpapers.ledger import Claim, Values
from qtheory.algorithms.discrete_langevin import DiscreteLangevin, law
from qtheory.chain import stationary_distribution
from qtheory.increments import certain
from qtheory.lattice import Lattice
from qtheory.transition import weight_chain

TEST = "tests/theory/algorithms/test_discrete_langevin.py"
FORCE = 0.3  # spacings


def settled(spec: DiscreteLangevin) -> np.ndarray:
    """The stationary law under a constant force."""
    force = certain(FORCE * spec.lattice.spacing)
    return stationary_distribution(weight_chain(spec, [force] * spec.lattice.size))


def acceptances() -> Values:
    """Of proposals from the middle of five levels to 0, 3 and 4, T = 0.25, a = 2."""
    lattice = Lattice.z(2)
    free, adjusted = (
        law(DiscreteLangevin(lattice, 0.25, 2.0, word), 2, FORCE * lattice.spacing)
        for word in ("no", "yes")
    )
    return tuple((adjusted / free)[[0, 3, 4]].tolist())


def upper_level() -> Values:
    """Stationary probability of the upper of two levels at T = 0.25, for a = 0.1 and 10."""
    found = (DiscreteLangevin(Lattice.binary(), 0.25, a, "yes") for a in (0.1, 10.0))
    return tuple(float(settled(spec)[1]) for spec in found)


def biases() -> Values:
    """Total variation from the law of Gibbs, over exp(-1 / 2a): ternary, T = 1/2."""
    exponents = FORCE / 0.5 * np.arange(3)
    gibbs = np.exp(exponents) / np.exp(exponents).sum()
    found: list[float] = []
    for step in (0.05, 0.04):
        own = settled(DiscreteLangevin(Lattice.ternary(), 0.5, step))
        found.append(0.5 * float(np.abs(own - gibbs).sum()) / math.exp(-0.5 / step))
    return tuple(found)


def large_steps() -> Values:
    """Probability of the upper of two levels, from either, without the test: T = 1/4, a = 1e8."""
    spec = DiscreteLangevin(Lattice.binary(), 0.25, 1e8)
    return tuple(law(spec, np.arange(2), FORCE * spec.lattice.spacing)[:, 1].tolist())


def gains() -> Values:
    """Mean move from the middle of three levels over x / T, for a = 1/2 and 1/10, x = 1e-6 T."""
    found: list[float] = []
    for step in (0.5, 0.1):
        pmf = law(DiscreteLangevin(Lattice.ternary(), 0.25, step), 1, 0.25e-6)
        found.append(float(pmf[2] - pmf[0]) / 1e-6)
    return tuple(found)


CLAIMS = (
    Claim(
        id="rule-ends",
        statement="With the energy of first order the test of Metropolis and Hastings accepts with "
        "min(1, Z_i / Z_j), so that it makes up for the ends of the lattice alone: from the middle "
        "of five levels at x = 0.3, T = 0.25, a = 2 to the lowest level, one level up, and the "
        "highest",
        code=law,
        test=f"{TEST}::test_it_is_the_proposal_of_the_chain_room_and_its_test",
        printed="0.932744, 1, 1",
        number="ours",
        expected=(0.932744, 1.0, 1.0),
        tolerance=5e-7,
        why="half a unit of the sixth decimal",
        run=acceptances,
    ),
    Claim(
        id="rule-gibbs",
        statement="Adjusted, a weight of two levels under a constant increment of x = 0.3 spacings "
        "at T = 0.25 has the Gibbs law 1 / (1 + exp(-x / T)), whatever the step: a = 0.1 and 10",
        code=weight_chain,
        test=f"{TEST}::test_adjusted_it_is_in_balance_with_the_gibbs_law",
        printed="0.768525, twice",
        number="noted",
        expected=(0.768525, 0.768525),
        tolerance=5e-7,
        why="half a unit of the sixth decimal",
        run=upper_level,
    ),
    Claim(
        id="rule-bias",
        statement="Unadjusted, the law is off by exp(-1 / 2a), the weight of a free move by a "
        "level, times a number that does not depend on the step: total variation over it at "
        "x = 0.3, T = 1/2, three levels, for a = 1/20 and 1/25",
        code=weight_chain,
        test=f"{TEST}::test_the_bias_goes_with_the_weight_of_a_free_move",
        printed="0.27005, twice",
        number="ours",
        expected=(0.27005, 0.27005),
        tolerance=1e-4,
        why="the next order is a few times exp(-10) = 4.5e-5, relative, for the larger step",
        run=biases,
    ),
    Claim(
        id="rule-temperature",
        statement="Unadjusted and with a large step, a draw is from the Gibbs law at 2 T, whatever "
        "the level: the upper of two levels has 1 / (1 + exp(-x / 2T)) at x = 0.3, T = 0.25",
        code=law,
        test=f"{TEST}::test_a_large_step_is_a_draw_from_gibbs_at_twice_the_temperature",
        printed="0.645656, from either",
        number="ours",
        expected=(0.645656, 0.645656),
        tolerance=5e-7,
        why="half a unit of the sixth decimal",
        run=large_steps,
    ),
    Claim(
        id="rule-gain",
        statement="The mean move at small x between two neighbours is e / (1 + 2e) x / T with "
        "e = exp(-1 / 2a): that of stochastic rounding at the learning rate e / (1 + 2e) / T. Over "
        "x / T, for a = 1/2 and 1/10",
        code=law,
        test=f"{TEST}::test_small_forces_move_as_rounding_does_at_a_lower_rate",
        printed="0.211942, 0.006648",
        number="ours",
        expected=(0.211942, 0.006648),
        tolerance=5e-7,
        why="half a unit of the sixth decimal",
        run=gains,
    ),
)
