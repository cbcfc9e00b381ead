"""Weights that move at once, as in training: what the share that proposes does to cold networks."""

from __future__ import annotations

import math
from functools import cache

from qpapers.annealing.curve import TEST, geometric, laws
from qpapers.annealing.network import SPARE, STRICT, Teacher, landscape, surveyed
from qpapers.annealing.walk import all_at_once
from qpapers.ledger import Claim, Values
from qtheory.arrays import Pmf
from qtheory.chain import (
    gibbs_law,
    inhomogeneous_laws,
    parallel_metropolis,
    stationary_distribution,
)
from qtheory.chain.annealing import Temperatures

PARALLEL = f"{TEST}::test_cold_weights_that_move_at_once_leave_a_flat_minimum"
SHARES = (1.0, 0.5, 0.25, 0.125)
ASKED = 600
"""Weights that are asked in a run, 100 times all six, by whatever share."""
NETWORKS, SEED = 2**14, 53


@cache
def settled(teacher: Teacher, temperature: float, share: float) -> Pmf:
    """The stationary law of the weights that move at once."""
    return stationary_distribution(parallel_metropolis(landscape(teacher), temperature, share))


def excess(teacher: Teacher, temperature: float, share: float) -> float:
    """Mean energy above that of the law of Gibbs."""
    energy = landscape(teacher).ravel()
    return float((settled(teacher, temperature, share) - gibbs_law(energy, temperature)) @ energy)


def odds(temperature: float, share: float) -> float:
    """Of the deepest local minima of SPARE, two of energy 3, to its global ones."""
    energy, law = landscape(SPARE).ravel(), settled(SPARE, temperature, share)
    local = [state for v in surveyed(SPARE).valleys if v.depth == 3 for state in v.bottom]
    return float(law[local].sum() / law[energy == 0].sum())


def biases() -> Values:
    """Excess at T = 1, over the share, at shares 1 ... 1/8 and 1/64."""
    return tuple(excess(SPARE, 1.0, q) / q for q in (*SHARES, 1 / 64))


def colder() -> Values:
    """Excess at T = 1, 1/2, 1/4, 1/8, all at once, and then at the share 1/8."""
    return tuple(excess(SPARE, t, q) for q in (1.0, 0.125) for t in (1.0, 0.5, 0.25, 0.125))


def strict() -> Values:
    """The same of STRICT, all at once."""
    return tuple(excess(STRICT, t, 1.0) for t in (1.0, 0.5, 0.25, 0.125))


def orders() -> Values:
    """Of the odds: in the share between 1/256 and 1/128 at T = 1/10, and of their ln in 1 / T
    between 8 and 10 at the share 1/8."""
    order = math.log2(odds(0.1, 1 / 128) / odds(0.1, 1 / 256))
    return order, math.log(odds(0.1, 0.125) / odds(0.125, 0.125)) / 2


def cooled(share: float) -> Pmf:
    """The last law of SPARE after `cooling_down`; a share of 0: one weight at a time."""
    *_, law = laws(SPARE, cooling_down(share), share)
    return law


def cooling_down(share: float) -> Temperatures:
    """From 8 to 1/8 while ASKED weights are asked."""
    return geometric(8.0, 0.125, round(ASKED / (share * len(SPARE))) if share else ASKED)


@cache
def ends(share: float) -> tuple[float, float]:
    """Mean energy, and probability of a global minimum, under `cooled`."""
    energy, law = landscape(SPARE).ravel(), cooled(share)
    return float(law @ energy), float(law[energy == 0].sum())


def cooling() -> Values:
    """`ends` one at a time, and at the shares 1/8 ... 1."""
    every = [ends(q) for q in (0.0, *SHARES[::-1])]
    return *(mean for mean, _ in every), *(found for _, found in every)


def simulated() -> Values:
    """Mean energy of NETWORKS networks after `cooling_down`, at shares 1, 1/2, 1/4."""
    found: list[float] = []
    for share in SHARES[:3]:
        *_, last = all_at_once(landscape(SPARE), cooling_down(share), NETWORKS, SEED, share)
        found.append(float(last.mean()))
    return tuple(found)


CLAIMS = (
    Claim(
        id="parallel-bias",
        statement="relu(x1) by two units, all six weights at once, T = 1: mean energy above that "
        "of Gibbs, over the share q that proposes, q = 1, 1/2, 1/4, 1/8, 1/64. The bias is "
        "proportional to q while q is small, and twice that at q = 1",
        code=parallel_metropolis,
        test=f"{TEST}::test_the_chain_of_weights_at_once_is_a_product",
        printed="2.36042, 1.66263, 1.39037, 1.27968, 1.19499",
        number="ours",
        expected=(2.36042, 1.66263, 1.39037, 1.27968, 1.19499),
        tolerance=6e-6,
        why="half a unit of the fifth decimal",
        run=biases,
    ),
    Claim(
        id="parallel-cold",
        statement="It does not vanish as T falls: the same at T = 1, 1/2, 1/4, 1/8, for q = 1 and "
        "then 1/8. At T = 1/8 all of the mass is in local minima, of energy 3, though Gibbs has "
        "all of it in the global ones: there weights move freely, two free moves at once may "
        "climb for nothing, and no free move leads out of a strict minimum",
        code=parallel_metropolis,
        test=PARALLEL,
        printed="2.36042, 2.18096, 2.87606, 2.99999; 0.15996, 0.13675, 0.65631, 2.99974",
        number="ours",
        expected=(2.36042, 2.18096, 2.87606, 2.99999, 0.15996, 0.13675, 0.65631, 2.99974),
        tolerance=6e-6,
        why="half a unit of the fifth decimal",
        run=colder,
    ),
    Claim(
        id="parallel-strict",
        statement="The same for abs(x1 + x2), whose minima are strict, all at once, T = 1, 1/2, "
        "1/4, 1/8: here the bias freezes with everything else",
        code=parallel_metropolis,
        test=PARALLEL,
        printed="0.310202, 0.000865, 0, 0",
        number="ours",
        expected=(0.310202, 0.000865, 0.0, 0.0),
        tolerance=6e-7,
        why="half a unit of the sixth decimal",
        run=strict,
    ),
    Claim(
        id="parallel-odds",
        statement="The law behind it: P(local) / P(global) is C q^2 exp(d* / T), d* = 3: the order "
        "in q between 1/256 and 1/128 at T = 1/10, the slope of its ln in 1 / T between 8 and 10 "
        "at q = 1/8. So a fixed q is too large for any cold T, and q has to fall as "
        "exp(-d* / 2 T)",
        code=stationary_distribution,
        test=PARALLEL,
        printed="2, 3",
        number="ours",
        expected=(2.0, 3.0),
        tolerance=0.05,
        why="the next order is some ten q, of which a factor 2 in q shows 10 / 256; and "
        "exp(-1 / T), 3e-4 at T = 1/8, some ten of each",
        run=orders,
    ),
    Claim(
        id="parallel-cooling",
        statement="T from 8 to 1/8 in equal ratios while 600 weights are asked, one at a time, "
        "then at shares q = 1/8, 1/4, 1/2, 1: mean energy at the end, and probability of a global "
        "minimum. What all at once save in passes they lose in minima",
        code=inhomogeneous_laws,
        test=PARALLEL,
        printed="0.04997, 0.22301, 0.40032, 0.79929, 1.98845; "
        "0.98031, 0.90777, 0.83907, 0.71097, 0.51217",
        number="ours",
        expected=(
            *(0.04997, 0.22301, 0.40032, 0.79929, 1.98845),
            *(0.98031, 0.90777, 0.83907, 0.71097, 0.51217),
        ),
        tolerance=6e-6,
        why="half a unit of the fifth decimal",
        run=cooling,
        slow=True,
    ),
    Claim(
        id="parallel-met",
        statement="SIMULATED: mean energy of 16,384 networks at the end of the same, q = 1, 1/2, "
        "1/4, moved by the plain walker; written after the prediction above",
        code=all_at_once,
        test=f"{TEST}::test_weights_at_once_are_asked_each_with_its_word",
        printed="1.98845, 0.79929, 0.40032",
        number="ours",
        expected=(1.98845, 0.79929, 0.40032),
        tolerance=0.16,
        why="by Chernoff's bound with the exact law a mean of 16,384 networks is further away with "
        "a probability below 1e-10",
        run=simulated,
        slow=True,
    ),
)
