"""The walker of [metropolis1953]: acceptance, the law it keeps, and how fast it moves."""

from __future__ import annotations

import math

import numpy as np

from qpapers.ledger import Claim, Values
from qtheory.algorithms.base import Spec
from qtheory.algorithms.metropolis import ACCEPTANCES, Metropolis, law
from qtheory.algorithms.stochastic_rounding import StochasticRounding
from qtheory.chain import spectral_gap, stationary_distribution
from qtheory.increments import ContinuousIncrements, certain
from qtheory.lattice import Lattice
from qtheory.noise import Gaussian
from qtheory.transition import weight_chain

TEST = "tests/theory/algorithms/test_metropolis.py"
BALANCE = f"{TEST}::test_enumerable_systems_have_the_gibbs_law_in_detailed_balance"


def odds() -> Values:
    """P(up) / P(down) at z = x / T = 1/2 and 2, for each acceptance."""
    found: list[float] = []
    for name in ACCEPTANCES:
        spec = Metropolis(Lattice.ternary(), 0.25, 0.7, name)
        pmf = law(spec, 1, np.array([0.125, 0.5]))
        found += (pmf[:, 2] / pmf[:, 0]).tolist()
    return tuple(found)


def upper_level() -> Values:
    """Stationary probability of the upper of two levels, 0.3 spacings of force at T = 0.25."""
    lattice = Lattice.binary()
    force = certain(0.3 * lattice.spacing)
    specs = [Metropolis(lattice, 0.25, 0.5, name) for name in ACCEPTANCES]
    return tuple(
        float(stationary_distribution(weight_chain(spec, [force] * 2))[1]) for spec in specs
    )


def flat_gaps() -> Values:
    """Spectral gaps of two levels without force, every iteration proposing."""
    rest = [certain(0.0)] * 2
    specs = [Metropolis(Lattice.binary(), 0.25, 1.0, name) for name in ACCEPTANCES]
    return tuple(spectral_gap(weight_chain(spec, rest)) for spec in specs)


def gains() -> Values:
    """Mean move over q x / T at x = 1e-6 T, and of the heat bath over q tanh(x / 2 T) at x = T."""
    found: list[float] = []
    for name in ACCEPTANCES:
        spec = Metropolis(Lattice.ternary(), 0.5, 0.8, name)
        pmf = law(spec, 1, 0.5e-6)
        found.append(float(pmf[2] - pmf[0]) / (0.8 * 1e-6))
    pmf = law(Metropolis(Lattice.ternary(), 0.5, 0.8, "heat_bath"), 1, 0.5)
    return (*found, float(pmf[2] - pmf[0]) / (0.8 * math.tanh(0.5)))


def settled_temperature(spec: Spec, std: float) -> float:
    """Mean increment over ln(P(up) / P(down)) for normal increments, in units of their std.

    The law to which a chain of neighbouring moves settles has this ratio from level to level. The
    mean is std / 1000. std: in spacings.
    """
    spacing = spec.lattice.spacing
    noise = ContinuousIncrements(1e-3 * std * spacing, Gaussian(std * spacing))
    moves = weight_chain(spec, [noise] * spec.lattice.size).off_diagonal
    return 1e-3 / math.log(moves[0, 1] / moves[1, 0])


def cold_temperatures() -> Values:
    """Of both acceptances at T = std / 1000, and of stochastic rounding; std = 0.05 spacings."""
    lattice, std = Lattice.ternary(), 0.05
    cold = [Metropolis(lattice, 1e-3 * std, 0.5, name) for name in ACCEPTANCES]
    return tuple(settled_temperature(spec, std) for spec in (*cold, StochasticRounding(lattice)))


CLAIMS = (
    Claim(
        id="rule-balance",
        statement="Metropolis and heat bath accept with odds exp(z), z = x / T: P(up) / P(down) at "
        "z = 1/2 and 2, first Metropolis",
        code=law,
        test=BALANCE,
        printed="1.648721, 7.389056, twice",
        number="noted",
        expected=(1.648721, 7.389056, 1.648721, 7.389056),
        tolerance=5e-7,
        why="half a unit of the sixth decimal",
        run=odds,
    ),
    Claim(
        id="rule-gibbs",
        statement="A weight of two levels under a constant increment of x = 0.3 spacings at T = "
        "0.25 has the Gibbs law 1 / (1 + exp(-x / T)), whichever the acceptance",
        code=weight_chain,
        test=BALANCE,
        printed="0.768525, twice",
        number="noted",
        expected=(0.768525, 0.768525),
        tolerance=5e-7,
        why="half a unit of the sixth decimal",
        run=upper_level,
    ),
    Claim(
        id="rule-peskun",
        statement="Metropolis accepts at least as often as the heat bath: without a force the gaps "
        "of two levels are 1 and 1/2",
        code=law,
        test=f"{TEST}::test_metropolis_moves_at_least_as_often_as_the_heat_bath",
        printed="1 and 1/2",
        number="noted",
        expected=(1.0, 0.5),
        tolerance=1e-14,
        why="a dozen roundings of numbers up to 1",
        run=flat_gaps,
    ),
    Claim(
        id="rule-gain",
        statement="The mean move at small x is q x / (2 T) for Metropolis and q x / (4 T) for the "
        "heat bath, whose mean move is (q / 2) tanh(x / 2 T) at any x: over q x / T, and over "
        "q tanh(x / 2 T) at x = T",
        code=law,
        test=f"{TEST}::test_metropolis_moves_at_least_as_often_as_the_heat_bath",
        printed="1/2, 1/4, and 1/2",
        number="ours",
        expected=(0.5, 0.25, 0.5),
        tolerance=1e-6,
        why="the next order is x / (2 T) = 5e-7 relative",
        run=gains,
    ),
    Claim(
        id="rule-noise",
        statement="Under normal noise of the increments a weight settles at a temperature of its "
        "own. That of both rules stays above std sqrt(pi / 8) = 0.6267 std however cold they are, "
        "as a cold rule sees a sign alone. Stochastic rounding moves the more often the larger an "
        "increment is, and has E abs(x) / 2 = std / sqrt(2 pi), less by pi / 2: over std, at T = "
        "std / 1000, Metropolis, heat bath and rounding",
        code=weight_chain,
        test=f"{TEST}::test_no_cooling_brings_a_rule_to_the_temperature_of_rounding",
        printed="0.6272, 0.6267, 0.3989",
        number="ours",
        expected=(0.6272, 0.6267, 0.3989),
        tolerance=6e-5,
        why="half a unit of the fourth decimal; Metropolis is T / 2 above the limit",
        run=cold_temperatures,
    ),
)
