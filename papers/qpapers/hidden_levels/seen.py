"""The chain of a walker with hidden levels, and what is seen of it: laws, dwells, flips, memory."""

from __future__ import annotations

from functools import cache

import numpy as np

from qpapers.ledger import Claim, Values
from qtheory import StochasticRounding
from qtheory.algorithms.walker import hidden
from qtheory.arrays import Pmf
from qtheory.chain import MarkovChain, coarsest_lumping, stationary_distribution
from qtheory.increments import ContinuousIncrements, Increments, noisy_increments
from qtheory.noise import Gaussian, Uniform
from qtheory.visible import (
    Blocks,
    dwell_survival,
    flip_rate,
    hidden_chain,
    mean_dwell_times,
    memory,
    one_step_chain,
    shown,
    visible_law,
)

TEST = "tests/theory/test_visible.py"
BITS = range(2, 9)
WIDTH = 0.005
"""Half width of a uniform increment; below 1 / 127, so that no walker moves two levels."""


@cache
def walker(bits: int, laws: tuple[Increments, ...]) -> tuple[MarkovChain, Blocks, Pmf]:
    """Chain, blocks and stationary law of a b-bit walker, one law a visible level."""
    spec = StochasticRounding(**hidden(bits))
    chain = hidden_chain(spec, laws)
    return chain, shown(spec), stationary_distribution(chain)


def without_drift(bits: int) -> tuple[MarkovChain, Blocks, Pmf]:
    """A walker under uniform noise alone."""
    return walker(bits, (ContinuousIncrements(0.0, Uniform(WIDTH)),) * 3)


DRIFTING = tuple(ContinuousIncrements(m, Gaussian(0.1)) for m in (0.02, 0.01, -0.03))
"""Increments that push to 0 from either end, with noise of a sixth of a block's width."""


def middle_dwells() -> Values:
    """Mean dwell at 0, times E abs(d), for each number of bits."""
    return tuple(float(mean_dwell_times(*without_drift(b))[1]) * WIDTH / 2 for b in BITS)


def outer_dwells() -> Values:
    """Mean dwell at 1, times E abs(d), for each number of bits."""
    return tuple(float(mean_dwell_times(*without_drift(b))[2]) * WIDTH / 2 for b in BITS)


def pushed() -> Values:
    """P(1) under uniform noise and a constant force of a fifth of its half width, each b."""
    laws = (ContinuousIncrements(0.2 * WIDTH, Uniform(WIDTH)),) * 3
    found = (walker(bits, laws) for bits in BITS)
    return tuple(float(visible_law(pi, blocks)[2]) for _, blocks, pi in found)


def dithered() -> Values:
    """Mean visible weight under (w - 0.3)**2 / 2, noise of std 1, rate 0.005, each b."""
    found: list[float] = []
    for bits in BITS:
        forces = (level - 0.3 for level in (-1.0, 0.0, 1.0))
        laws = tuple(noisy_increments(force, 0.005, Uniform(1.0)) for force in forces)
        _, blocks, pi = walker(bits, laws)
        found.append(float(visible_law(pi, blocks) @ [-1.0, 0.0, 1.0]))
    return tuple(found)


def memories() -> Values:
    """`memory` over the rate of flips, each b."""
    found: list[float] = []
    for bits in BITS:
        chain, blocks, pi = walker(bits, DRIFTING)
        found.append(memory(chain, blocks, pi) / flip_rate(chain, blocks, pi))
    return tuple(found)


def brief_memories() -> Values:
    """The same without drift, over p = Z E abs(d) / 2, the chance of a move up."""
    found: list[float] = []
    for bits in BITS[1:]:
        chain, blocks, pi = without_drift(bits)
        p = float(chain.off_diagonal[0, 1])
        found.append(memory(chain, blocks, pi) / flip_rate(chain, blocks, pi) / p)
    return tuple(found)


def lumps() -> Values:
    """States of the coarsest chain that tells the visible level, without drift, each b."""
    return tuple(
        float(coarsest_lumping(chain, blocks).max() + 1)
        for chain, blocks, _ in map(without_drift, BITS)
    )


def survivals() -> Values:
    """P(dwell at 0 > t), t = 1, 8, 32, of 8 bits, and of the chain with the same one-step law."""
    chain, blocks, pi = walker(8, DRIFTING)
    plain = one_step_chain(chain, blocks, pi)
    true = dwell_survival(chain, blocks, 1, 32, pi)
    markov = dwell_survival(plain, np.arange(3), 1, 32)
    return tuple(float(x) for x in (*true[[1, 8, 32]], *markov[[1, 8, 32]]))


CLAIMS = (
    Claim(
        id="seen-middle",
        statement="Noise alone, moves of one level at most: E abs(d) times the mean dwell at 0 is "
        "(2 floor(Z / 3) + 1) / Z, b = 2 ... 8: hidden levels shorten the mean time for which a "
        "level is seen by a third, and no further",
        code=mean_dwell_times,
        test=f"{TEST}::test_dwells_of_a_free_walker",
        printed="1, 1, 5/7, 11/15, 21/31, 43/63, 85/127",
        number="ours",
        expected=(1.0, 1.0, 5 / 7, 11 / 15, 21 / 31, 43 / 63, 85 / 127),
        tolerance=1e-11,
        why="Kac: the block's share over twice the chance p = Z E abs(d) / 2 of a move up, divided "
        "by the same number of levels; 255^3 roundings of a law at the very worst are 2e-9, some "
        "hundred in fact",
        run=middle_dwells,
    ),
    Claim(
        id="seen-outer",
        statement="The same at 1, 2 (Z - floor(Z / 3)) / Z: it can be left on one side only",
        code=mean_dwell_times,
        test=f"{TEST}::test_dwells_of_a_free_walker",
        printed="2, 4/3, 10/7, 4/3, 42/31, 4/3, 170/127",
        number="ours",
        expected=(2.0, 4 / 3, 10 / 7, 4 / 3, 42 / 31, 4 / 3, 170 / 127),
        tolerance=1e-11,
        why="as for the middle",
        run=outer_dwells,
    ),
    Claim(
        id="seen-pushed",
        statement="A constant force of a fifth of uniform noise's half width: levels have weights "
        "r^i, r = E d^+ / E d^- = (1.2 / 0.8)^2, so that P(1) = (r^n - r^(n - k)) / (r^n - 1), "
        "n = 2 Z + 1 levels, k = Z - floor(Z / 3) of them seen as 1; b = 2 ... 8",
        code=visible_law,
        test=f"{TEST}::test_a_force_gives_a_geometric_law",
        printed="0.609023, 0.805227, 0.982664, 0.999699, 1, 1, 1",
        number="ours",
        expected=tuple(
            (1 - 2.25 ** -float(z - z // 3)) / (1 - 2.25 ** -float(2 * z + 1))
            for z in (1, 3, 7, 15, 31, 63, 127)
        ),
        tolerance=1e-11,
        why="the increments' excess is exact to some roundings, and r^i multiplies them by i < 255",
        run=pushed,
        printed_of="(1 - 2.25**-1) / (1 - 2.25**-3), (1 - 2.25**-2) / (1 - 2.25**-7), "
        "(1 - 2.25**-5) / (1 - 2.25**-15), (1 - 2.25**-10) / (1 - 2.25**-31), "
        "(1 - 2.25**-21) / (1 - 2.25**-63), (1 - 2.25**-42) / (1 - 2.25**-127), "
        "(1 - 2.25**-85) / (1 - 2.25**-255)",
    ),
    Claim(
        id="seen-dither",
        statement="Where the ends are not reached the mean increment vanishes in equilibrium, so "
        "that a convex loss with its minimum between two levels dithers: mean visible weight under "
        "(w - 0.3)^2 / 2 and uniform noise of half width 1, b = 2 ... 8. The loss of the dither, "
        "0.3 0.7 / 2, does not fall with more bits",
        code=hidden_chain,
        test=f"{TEST}::test_a_convex_loss_dithers",
        printed="0.2922, 0.2998, then 0.3",
        number="ours",
        expected=(0.2922, 0.2998, 0.3, 0.3, 0.3, 0.3, 0.3),
        tolerance=5e-5,
        why="half a unit of the fourth decimal; from 4 bits on the end -1 has less than 1e-5",
        run=dithered,
    ),
    Claim(
        id="seen-lump",
        statement="Hidden levels are not lumpable: the coarsest chain that tells the visible level "
        "has all 2^b - 1 states, b = 2 ... 8, and no fewer",
        code=coarsest_lumping,
        test=f"{TEST}::test_hidden_levels_are_no_smaller_chain",
        printed="3, 7, 15, 31, 63, 127, 255",
        number="ours",
        expected=(3.0, 7.0, 15.0, 31.0, 63.0, 127.0, 255.0),
        tolerance=0.0,
        why="whole numbers",
        run=lumps,
    ),
    Claim(
        id="seen-memory-free",
        statement="How much the last level but one says of the next, in total variation, over the "
        "rate of flips and over p = Z E abs(d) / 2: noise alone, moves of one level at most, "
        "b = 3 ... 8; it is 2 - 1 / m - 3 / (2 n), of n = 2 floor(Z / 3) + 1 and m = Z - floor(Z / "
        "3) levels seen as 0 and as 1",
        code=memory,
        test=f"{TEST}::test_the_memory_of_a_free_walker",
        printed="1, 3/2, 97/55, 79/42, ...",
        number="ours",
        expected=tuple(
            2 - 1 / (z - z // 3) - 1.5 / (2 * (z // 3) + 1) for z in (3, 7, 15, 31, 63, 127)
        ),
        tolerance=1e-9,
        why="a rate of flips of 1e-3 divides differences of probabilities, some 2^-53 each",
        run=brief_memories,
        printed_of="2 - 1/10 - 3/22, 2 - 1/42 - 3/86, 2 - 1/85 - 3/170",
    ),
    Claim(
        id="seen-memory",
        statement="The same over the rate of flips, with drifts 0.02, 0.01, -0.03 at the three "
        "levels and normal noise of std 0.1, b = 2 ... 8: without hidden levels what is seen is a "
        "chain; with them an eighth to a third of the flips are foreseen",
        code=memory,
        test=f"{TEST}::test_memory_is_that_of_the_law_of_three_levels",
        printed="0, 0.1155, 0.2933, 0.3478, 0.3523, 0.3547, 0.3540",
        number="ours",
        expected=(0.0, 0.1155, 0.2933, 0.3478, 0.3523, 0.3547, 0.3540),
        tolerance=5e-5,
        why="half a unit of the fourth decimal",
        run=memories,
    ),
    Claim(
        id="seen-dwells",
        statement="There 8 bits, P(dwell at 0 > t), t = 1, 8, 32, then the same of the chain with "
        "the same pairs of neighbours: many dwells of one iteration, and long ones",
        code=dwell_survival,
        test=f"{TEST}::test_dwells_add_up_to_their_mean",
        printed="0.7130, 0.2915, 0.0373; 0.8720, 0.3342, 0.0125",
        number="ours",
        expected=(0.7130, 0.2915, 0.0373, 0.8720, 0.3342, 0.0125),
        tolerance=5e-5,
        why="half a unit of the fourth decimal",
        run=survivals,
    ),
)
