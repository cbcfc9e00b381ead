"""Depths of a network's landscape, and its cooling curve before a network was simulated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache, partial

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qpapers.annealing.network import DEEP, SPARE, Teacher, landscape, mean_and_std, surveyed
from qpapers.ledger import Claim, Values
from qtheory.arrays import Pmf
from qtheory.chain import (
    hitting_times,
    inhomogeneous_laws,
    logarithmic_schedule,
    parallel_metropolis,
    single_site_metropolis,
    survey,
)
from qtheory.chain.annealing import Temperatures

TEST = "tests/papers/test_annealing.py"
ITERATIONS = 1000
AT = (10, 30, 100, 300, 1000)
"""Iterations at which the curve is told."""

Curve = Float[ndarray, "told 3"]
"""Mean energy, probability of a global minimum, and standard deviation of the energy."""


def geometric(first: float, last: float, iterations: int) -> Temperatures:
    """From first to last in equal ratios."""
    return first * (last / first) ** (np.arange(iterations) / (iterations - 1))


SCHEDULES: dict[str, Temperatures] = {
    "logarithmic": logarithmic_schedule(7.0, ITERATIONS),
    "geometric": geometric(16.0, 1.0, ITERATIONS),
    "quench": np.full(ITERATIONS, 0.125),
}
"""Hajek's with the depth for its constant; sixteen to one; and cold from the beginning."""


def laws(teacher: Teacher, temperatures: Temperatures, share: float = 0.0) -> Iterator[Pmf]:
    """The law after each iteration from the uniform one, one weight asked at a time.

    share: with which each weight proposes, if they move at once.
    """
    energy = landscape(teacher)
    chain = partial(parallel_metropolis, proposal=share) if share else single_site_metropolis
    chains = (chain(energy, t) for t in temperatures.tolist())
    return inhomogeneous_laws(chains, np.full(energy.size, 1.0 / energy.size))


@cache
def predicted(name: str, warmer: float = 1.0) -> Curve:
    """The exact curve of a schedule at AT. warmer: a factor of all temperatures."""
    energy, found = landscape(DEEP).ravel(), np.zeros((len(AT), 3))
    for k, law in enumerate(laws(DEEP, warmer * SCHEDULES[name]), 1):
        if k in AT:
            mean, std = mean_and_std(energy, law)
            found[AT.index(k)] = mean, law[energy == 0].sum(), std
    return found


def depths() -> Values:
    """d*, m, valleys that are no global minima, and global minima, of DEEP and then of SPARE."""
    found: list[float] = []
    for teacher in (DEEP, SPARE):
        valleys, depth, relaxation = surveyed(teacher)
        least = int((landscape(teacher) == 0).sum())
        found += [float(depth), float(relaxation), len(valleys) - 1, least]
    return tuple(found)


def slopes() -> Values:
    """Of ln E[iterations] in 1 / T, from the bottom of a deepest valley of SPARE to any state
    below it, between T = 1/4 and 1/5, and 1/12 and 1/15."""
    energy = landscape(SPARE).ravel()
    start = next(v.bottom[0] for v in surveyed(SPARE).valleys if v.depth == 3)
    below = np.flatnonzero(energy < energy[start])
    coldness = (4.0, 5.0, 12.0, 15.0)
    chains = [single_site_metropolis(landscape(SPARE), 1 / b).to_dense() for b in coldness]
    logs = [math.log(hitting_times(chain, below)[start]) for chain in chains]
    return logs[1] - logs[0], (logs[3] - logs[2]) / 3


def curve(name: str) -> Values:
    """Mean energies at AT, then probabilities of a global minimum."""
    found = predicted(name)
    return *found[:, 0].tolist(), *found[:, 1].tolist()


def _curve(name: str, schedule: str, printed: str, expected: Values) -> Claim:
    return Claim(
        id=f"curve-{name}",
        statement=f"PREDICTED, {schedule}: mean energy of the student after {AT} iterations, one "
        "weight asked in each, from uniform levels; then the probability of a global minimum",
        code=inhomogeneous_laws,
        test=f"{TEST}::test_small_curves_are_met_and_a_wrong_temperature_is_not",
        printed=printed,
        number="ours",
        expected=expected,
        tolerance=5.5e-5,
        why="half a unit of the fourth decimal; a thousand iterations of a law err by 1e-12",
        run=partial(curve, name),
        slow=name != "logarithmic",
    )


CLAIMS = (
    Claim(
        id="depth-survey",
        statement="Exact, one weight moves by one level at a time: Hajek's d*, Holley's m, valleys "
        "that are no global minima, and global minima, of relu(x1 + x2) - relu(x2 - x3) and of "
        "relu(x1), learnt by two units; energies are sums of squared errors, whole numbers",
        code=survey,
        test=f"{TEST}::test_energies_are_sums_of_squared_errors",
        printed="7, 16, 29, 2 and 3, 3, 10, 22",
        number="ours",
        expected=(7.0, 16.0, 29.0, 2.0, 3.0, 3.0, 10.0, 22.0),
        tolerance=0.0,
        why="whole numbers",
        run=depths,
    ),
    Claim(
        id="depth-slope",
        statement="ln of the mean time to leave a deepest valley of relu(x1) grows as d* / T: "
        "exact hitting times, slope between T = 1/4 and 1/5, and between 1/12 and 1/15",
        code=hitting_times,
        test=f"{TEST}::test_energies_are_sums_of_squared_errors",
        printed="3, twice",
        number="ours",
        expected=(3.0, 3.0),
        tolerance=0.05,
        why="moves of energy 1 more are exp(-1 / T), 0.018 at T = 1/4, some of each",
        run=slopes,
    ),
    _curve(
        "logarithmic",
        "T = 7 / ln(k + 2), Hajek's with c = d*",
        "21.3408, 15.3819, 12.6025, 7.5609, 1.7192; 0.0040, 0.0230, 0.1214, 0.3848, 0.7505",
        (*(21.3408, 15.3819, 12.6025, 7.5609, 1.7192), *(0.0040, 0.0230, 0.1214, 0.3848, 0.7505)),
    ),
    _curve(
        "geometric",
        "T from 16 to 1 in equal ratios",
        "26.7414, 23.1187, 21.3035, 17.6992, 5.5114; 0.0012, 0.0019, 0.0029, 0.0088, 0.5035",
        (*(26.7414, 23.1187, 21.3035, 17.6992, 5.5114), *(0.0012, 0.0019, 0.0029, 0.0088, 0.5035)),
    ),
    _curve(
        "quench",
        "T = 1/8 from the beginning",
        "20.3898, 14.6516, 11.8042, 7.8714, 6.3593; 0.0047, 0.0184, 0.0683, 0.1655, 0.2114",
        (*(20.3898, 14.6516, 11.8042, 7.8714, 6.3593), *(0.0047, 0.0184, 0.0683, 0.1655, 0.2114)),
    ),
)
