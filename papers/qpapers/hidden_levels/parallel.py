"""Weights that move at once by Metropolis' rule: how far from the law of Gibbs."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qpapers.ledger import Claim, Values
from qtheory import Lattice
from qtheory.algorithms.metropolis import Metropolis
from qtheory.arrays import Pmf
from qtheory.chain import (
    MarkovChain,
    deviation_matrix,
    gibbs_law,
    is_reversible,
    stationary_distribution,
    total_variation,
)
from qtheory.limits.generator import joint_chain, states_of_product

TEST = "tests/papers/test_hidden_levels.py"
COUPLING = np.array(
    [[0.0, 0.8, -0.5, 0.3], [0.8, 0.0, 0.6, -0.4], [-0.5, 0.6, 0.0, 0.7], [0.3, -0.4, 0.7, 0.0]]
)
PerState = Float[ndarray, "states"]
"""One number for each state."""
FIELD = np.array([0.3, -0.2, 0.1, 0.25])
TEMPERATURE = 0.5
SHARES = (1.0, 0.5, 0.25)


def energies(weights: int) -> PerState:
    """w' J w / 2 + h w at every state of so many ternary weights: affine in each of them."""
    w = states_of_product(Lattice.ternary(), weights)
    coupling = COUPLING[:weights, :weights]
    return 0.5 * np.einsum("si,ij,sj->s", w, coupling, w) + w @ FIELD[:weights]


@cache
def chain(weights: int, proposal: float, acceptance: str = "metropolis") -> MarkovChain:
    """All weights move at once, each proposing with this probability."""
    spec = Metropolis(Lattice.ternary(), TEMPERATURE, proposal, acceptance)
    coupling, field = COUPLING[:weights, :weights], FIELD[:weights]
    return joint_chain(lambda w: w @ coupling + field, np.zeros((1, weights)), spec, 1.0)


@cache
def settled(weights: int, proposal: float, acceptance: str = "metropolis") -> Pmf:
    """Its stationary law."""
    return stationary_distribution(chain(weights, proposal, acceptance))


def target(weights: int) -> Pmf:
    """The law of Gibbs."""
    return gibbs_law(energies(weights), TEMPERATURE)


def alone() -> Values:
    """TV of one weight to Gibbs, q = 1, both acceptances, and flows that are not balanced."""
    found = [total_variation(settled(1, 1.0, a), target(1)) for a in ("metropolis", "heat_bath")]
    return *found, float(not is_reversible(chain(1, 1.0)))


def together() -> Values:
    """TV of 2, 3, 4 weights to Gibbs at q = 1, 1/2, 1/4."""
    return tuple(total_variation(settled(d, q), target(d)) for d in (2, 3, 4) for q in SHARES)


def unbalanced() -> Values:
    """Whether two weights at once, q = 1 and 1/4, are not reversible."""
    return tuple(float(not is_reversible(chain(2, q))) for q in (1.0, 0.25))


def first_order(weights: int, acceptance: str = "metropolis") -> float:
    """The limit of TV / q: half of abs(pi B (-A)^#), P = 1 + q A + q^2 B + ...

    A and B from P at as many q as its degree: P is a polynomial in q of degree `weights`.
    """
    points = np.arange(1, weights + 1) / weights
    identity = np.eye(3**weights)
    values = [chain(weights, q, acceptance).transition_matrix - identity for q in points.tolist()]
    powers = points[:, None] ** np.arange(1, weights + 1)
    terms = np.tensordot(np.linalg.inv(powers), np.array(values), axes=1)
    small = terms[0] / 4  # 1 + A / 4 is a chain
    np.fill_diagonal(small, 0.0)
    inverse = deviation_matrix(MarkovChain(np.maximum(small, 0.0))) / 4
    return 0.5 * float(np.abs(target(weights) @ terms[1] @ inverse).sum())


def slopes() -> Values:
    """TV / q at q = 1/256 over the limit, 2 and 3 weights, then the limits, both acceptances."""
    ratios = [
        total_variation(settled(d, 2.0**-8), target(d)) * 2**8 / first_order(d) for d in (2, 3)
    ]
    limits = [first_order(d, a) for d in (2, 3) for a in ("metropolis", "heat_bath")]
    return *ratios, *limits


def heats() -> Values:
    """Mean energy above that of Gibbs, over T: 4 weights, q = 1, 1/2, 1/4."""
    energy = energies(4)
    return tuple(float((settled(4, q) - target(4)) @ energy) / TEMPERATURE for q in SHARES)


CLAIMS = (
    Claim(
        id="parallel-one",
        statement="One ternary weight with the exact difference of energies has the law of Gibbs, "
        "in detailed balance: TV of Metropolis and of the heat bath, and whether it is unbalanced",
        code=Metropolis,
        test=f"{TEST}::test_one_weight_has_the_law_of_gibbs_and_two_at_once_have_not",
        printed="0, three times",
        number="ours",
        expected=(0.0, 0.0, 0.0),
        tolerance=1e-14,
        why="a law of three levels, 54 roundings",
        run=alone,
    ),
    Claim(
        id="parallel-share",
        statement="2, 3, 4 coupled weights at once, T = 1/2: TV to Gibbs where each proposes with "
        "q = 1, 1/2, 1/4",
        code=joint_chain,
        test=f"{TEST}::test_one_weight_has_the_law_of_gibbs_and_two_at_once_have_not",
        printed="0.04270, 0.01873, 0.00881; 0.02533, 0.01165, 0.00557; 0.03700, 0.01653, 0.00780",
        number="ours",
        expected=(
            *(0.04270, 0.01873, 0.00881),
            *(0.02533, 0.01165, 0.00557),
            *(0.03700, 0.01653, 0.00780),
        ),
        tolerance=6e-6,
        why="half a unit of the fifth decimal",
        run=together,
    ),
    Claim(
        id="parallel-balance",
        statement="Two at once are in no detailed balance: not reversible at q = 1 and 1/4",
        code=is_reversible,
        test=f"{TEST}::test_one_weight_has_the_law_of_gibbs_and_two_at_once_have_not",
        printed="1, 1 (true)",
        number="ours",
        expected=(1.0, 1.0),
        tolerance=0.0,
        why="it is so or not",
        run=unbalanced,
    ),
    Claim(
        id="parallel-slope",
        statement="TV is q times half of abs(pi B (-A)^#) to first order, P = 1 + q A + q^2 B + "
        "...: ratio at q = 1/256, 2 and 3 weights; then the limits, 2 weights by Metropolis and "
        "by the heat bath, and 3. So a tenth of the weights at a time has a tenth of the bias, and "
        "the heat bath no less of it for the same speed",
        code=deviation_matrix,
        test=f"{TEST}::test_the_bias_is_first_order_in_the_share",
        printed="1, 1; 0.03326, 0.02141, 0.02132, 0.02005",
        number="ours",
        expected=(1.0, 1.0, 0.03326, 0.02141, 0.02132, 0.02005),
        tolerance=1e-3,
        why="the next order is relative q = 1/256 times 0.28, as TV / q grows by 0.28 from "
        "q = 0 to 1; for the limits it is 20 times looser than the digits given",
        run=slopes,
    ),
    Claim(
        id="parallel-energy",
        statement="Four at once are colder than Gibbs here: mean energy above its, over T, q = 1, "
        "1/2, 1/4; it falls with q^2, not q",
        code=stationary_distribution,
        test=f"{TEST}::test_the_bias_is_first_order_in_the_share",
        printed="-0.01391, -0.00325, -0.00088",
        number="ours",
        expected=(-0.01391, -0.00325, -0.00088),
        tolerance=6e-6,
        why="half a unit of the fifth decimal",
        run=heats,
    ),
)
