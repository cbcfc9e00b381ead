"""Blocks of weights that are accepted or refused together, and energies that are only estimated."""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import ndtr  # pyright: ignore[reportMissingTypeStubs]

from qpapers.annealing.curve import TEST
from qpapers.annealing.network import SPARE, landscape, outputs, student
from qpapers.annealing.parallel import SHARES
from qpapers.ledger import Claim, Values
from qtheory.chain import (
    MarkovChain,
    gibbs_law,
    parallel_metropolis,
    single_site_metropolis,
    spectral_gap,
    stationary_distribution,
    total_variation,
)

NOISY = f"{TEST}::test_the_penalty_restores_the_odds_of_exact_energies"
PerPair = Float[ndarray, "states states"]
"""One number for each pair of states."""


def rises(temperature: float) -> PerPair:
    """(E(y) - E(x)) / T of SPARE."""
    energy = landscape(SPARE).ravel()
    return (energy[None, :] - energy[:, None]) / temperature


def block_chain(temperature: float, share: float) -> MarkovChain:
    """Each weight proposes a neighbour with this probability; all go, or none, by the energy."""
    proposed = parallel_metropolis(np.zeros((3,) * len(SPARE)), 1.0, share).off_diagonal
    return MarkovChain(proposed * np.exp(-np.maximum(rises(temperature), 0.0)))


def noisy_acceptance(rise: float, spread: float, penalty: float) -> float:
    """E min(1, exp(-(rise + spread Z) - penalty)) for normal Z; all in units of T.

    With u = rise + penalty it is Phi(-u / s) + exp(s**2 / 2 - u) Phi(u / s - s), s the spread.
    """
    u = rise + penalty
    tilted = math.exp(spread**2 / 2 - u) * ndtr(u / spread - spread)
    return float(ndtr(-u / spread) + tilted)


def balances() -> Values:
    """TV to Gibbs of blocks at T = 1 and 1/8, shares 1 and 1/8, and P(global) at T = 1/8."""
    energy, found = landscape(SPARE).ravel(), list[float]()
    for temperature in (1.0, 0.125):
        gibbs = gibbs_law(energy, temperature)
        for share in (1.0, 0.125):
            law = stationary_distribution(block_chain(temperature, share))
            found.append(total_variation(law, gibbs))
    return *found, float(law[energy == 0].sum())


def speeds() -> Values:
    """Gap of the chain of blocks at T = 1, shares 1 ... 1/8, and of one weight at a time."""
    alone = single_site_metropolis(landscape(SPARE), 1.0).to_dense()
    return *(spectral_gap(block_chain(1.0, q)) for q in SHARES), spectral_gap(alone)


def odds() -> Values:
    """ln of acceptance up over down, for a rise of one T and noise of a half, 1, 2 T: with the
    penalty s**2 / 2, and without."""
    found: list[float] = []
    for penalised in (0.5, 0.0):
        for s in (0.5, 1.0, 2.0):
            up, down = (noisy_acceptance(x, s, penalised * s * s) for x in (1.0, -1.0))
            found.append(math.log(down / up))
    return tuple(found)


@cache
def subsets() -> PerPair:
    """For each state and each 3 of the 9 examples, three times the energy of these."""
    said = outputs(len(SPARE))
    errors = (said - said[student(SPARE)]) ** 2
    return np.stack([3 * errors[:, part].sum(axis=1) for part in combinations(range(9), 3)], axis=1)


@cache
def of_minibatches(temperature: float, penalised: bool) -> tuple[float, float]:
    """TV to Gibbs, and mean energy above its, where one weight at a time is judged on three of
    nine examples, before and after alike; the penalty takes the exact variance of each pair."""
    energy, told = landscape(SPARE).ravel(), subsets()
    alone = single_site_metropolis(np.zeros((3,) * len(SPARE)), 1.0).to_dense().off_diagonal
    matrix = np.zeros_like(alone)
    for x, y in np.argwhere(alone > 0):
        rise = (told[y] - told[x]) / temperature
        penalty = rise.var() / 2 if penalised else 0.0
        matrix[x, y] = alone[x, y] * np.exp(-np.maximum(rise + penalty, 0.0)).mean()
    law, gibbs = stationary_distribution(MarkovChain(matrix)), gibbs_law(energy, temperature)
    return total_variation(law, gibbs), float((law - gibbs) @ energy)


def minibatches() -> Values:
    """`of_minibatches` at T = 8, 4, 2: TV without and with the penalty, then the excess."""
    every = [[of_minibatches(t, p) for t in (8.0, 4.0, 2.0)] for p in (False, True)]
    return tuple(pair[k] for k in (0, 1) for row in every for pair in row)


CLAIMS = (
    Claim(
        id="block-gibbs",
        statement="Every weight of relu(x1) proposes a neighbour with probability q, and the true "
        "energy accepts or refuses all of them together: TV to Gibbs at T = 1 and 1/8, q = 1 and "
        "1/8, and the probability of a global minimum at T = 1/8, which weights that are accepted "
        "one by one leave",
        code=parallel_metropolis,
        test=f"{TEST}::test_blocks_are_in_detailed_balance",
        printed="0, four times, and 1",
        number="ours",
        expected=(0.0, 0.0, 0.0, 0.0, 1.0),
        tolerance=1e-6,
        why="the second kind of states has exp(-2 / T), 1e-7 of the first at T = 1/8, some of each",
        run=balances,
    ),
    Claim(
        id="block-gap",
        statement="Larger blocks reach further and are refused more often: gap of the chain at "
        "T = 1, q = 1, 1/2, 1/4, 1/8, and with one weight a time. Three of six weights at a time "
        "are three times as fast for the same number of losses",
        code=spectral_gap,
        test=f"{TEST}::test_blocks_are_in_detailed_balance",
        printed="0.008852, 0.030988, 0.017838, 0.008728, 0.010294",
        number="ours",
        expected=(0.008852, 0.030988, 0.017838, 0.008728, 0.010294),
        tolerance=6e-7,
        why="half a unit of the sixth decimal",
        run=speeds,
        slow=True,
    ),
    Claim(
        id="noisy-odds",
        statement="Differences of energies with normal noise of a half, 1 and 2 T: accepted with "
        "exp(-d / T - s^2 / 2 T^2) (Ceperley and Dewing's penalty) the mean odds are those of the "
        "exact difference, ln = 1 for d = T; without it they are smaller, as of a network that is "
        "warmer",
        code=noisy_acceptance,
        test=NOISY,
        printed="1, 1, 1; 0.883678, 0.713995, 0.509956",
        number="noted",
        expected=(1.0, 1.0, 1.0, 0.883678, 0.713995, 0.509956),
        tolerance=6e-7,
        why="half a unit of the sixth decimal",
        run=odds,
    ),
    Claim(
        id="noisy-batch",
        statement="Noise of minibatches is not normal: relu(x1), one weight at a time, judged on "
        "three of nine examples, T = 8, 4, 2: TV to Gibbs without and with the penalty of each "
        "pair's variance, and mean energy above that of Gibbs without and with it",
        code=of_minibatches,
        test=NOISY,
        printed="0.058820, 0.126776, 0.212844; 0.006905, 0.010041, 0.020721; "
        "0.689654, 1.252994, 1.882173; 0.055465, -0.013151, -0.061981",
        number="ours",
        expected=(
            *(0.058820, 0.126776, 0.212844, 0.006905, 0.010041, 0.020721),
            *(0.689654, 1.252994, 1.882173, 0.055465, -0.013151, -0.061981),
        ),
        tolerance=6e-7,
        why="half a unit of the sixth decimal",
        run=minibatches,
        slow=True,
    ),
)
