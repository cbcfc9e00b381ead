"""Ever more bits: the law of a walker tends to that of a clipped latent, and how fast."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from qpapers.extremes import largest
from qpapers.hidden_levels.seen import DRIFTING, walker
from qpapers.ledger import Claim, Values
from qtheory import StochasticRounding
from qtheory.algorithms import law
from qtheory.algorithms.walker import hidden
from qtheory.chain import MarkovChain, evolve, stationary_distribution, total_variation
from qtheory.limits.straight_through import latent_chain
from qtheory.stairs.stair import Stair
from qtheory.visible import (
    Blocks,
    PerVisible,
    flip_rate,
    hidden_chain,
    memory,
    visible_law,
)

TEST = "tests/theory/limits/test_straight_through.py"
THIRDS = Stair((-1.0, 0.0, 1.0), (-1 / 3, 1 / 3))
Measure = Callable[[MarkovChain, Blocks], PerVisible]
"""A law of visible levels, of a chain and its blocks."""


def settled(chain: MarkovChain, blocks: Blocks) -> PerVisible:
    """Stationary law of the visible level."""
    return visible_law(stationary_distribution(chain), blocks)


def after_twenty(chain: MarkovChain, blocks: Blocks) -> PerVisible:
    """Law of the visible level 20 iterations after the lowest level."""
    return visible_law(evolve(chain, np.eye(chain.size)[0], 20), blocks)


@cache
def of_walker(bits: int, measure: Measure) -> PerVisible:
    """A measure of the b-bit walker."""
    return measure(*walker(bits, DRIFTING)[:2])


@cache
def of_latent(stair: Stair, measure: Measure) -> PerVisible:
    """A measure of the latent that is read by a stair."""
    latent = latent_chain(stair, DRIFTING)
    return measure(latent.chain, latent.blocks)


def own_stair(bits: int) -> Stair:
    """The stair of the b-bit walker."""
    return hidden(bits)["readout"]


def interpolated() -> Values:
    """Largest difference of a walker's law from the hats around clip(x + d), 5 bits."""
    spec = StochasticRounding(**hidden(5))
    levels, hats = spec.lattice.levels, np.eye(spec.lattice.size)
    increments = np.random.default_rng(5).normal(0.0, 0.7, 400)
    found: list[float] = []
    for index, level in enumerate(levels.tolist()):
        clipped = np.clip(level + increments, -1.0, 1.0)
        hat = np.stack([np.interp(clipped, levels, row) for row in hats], axis=-1)
        found.append(float(np.abs(law(spec, index, increments) - hat).max()))
    return (largest(found),)


def limits() -> Values:
    """Law of the latent's visible level at thirds, its flips, and its memory over flips."""
    latent = latent_chain(THIRDS, DRIFTING)
    flips = flip_rate(latent.chain, latent.blocks)
    return *settled(latent.chain, latent.blocks), flips, memory(latent.chain, latent.blocks) / flips


def errors(bits: int, measure: Measure) -> tuple[float, float]:
    """Total variation to the latent with the walker's own stair, and to the one at thirds."""
    found = of_walker(bits, measure)
    return (
        total_variation(found, of_latent(own_stair(bits), measure)),
        total_variation(found, of_latent(THIRDS, measure)),
    )


def order(first: int, second: int, measure: Measure, stair: int) -> float:
    """ln of the ratio of errors over ln of the ratio of Z."""
    one, two = errors(first, measure)[stair], errors(second, measure)[stair]
    sides = (2 ** (second - 1) - 1) / (2 ** (first - 1) - 1)
    return math.log(one / two) / math.log(sides)


def own_orders() -> Values:
    """Orders in 1 / Z with the same stair, between 6 and 8 and between 7 and 9 bits: in
    equilibrium, then after 20 iterations."""
    pairs = ((6, 8), (7, 9))
    return tuple(order(*pair, m, 0) for m in (settled, after_twenty) for pair in pairs)


def third_orders() -> Values:
    """Orders against thirds between 7 and 9 bits, in equilibrium and after 20 iterations."""
    return order(7, 9, settled, 1), order(7, 9, after_twenty, 1)


def parities() -> Values:
    """Z times what the moved stair does to the latent's laws, 11 bits over 10, twice."""
    found: list[float] = []
    for measure in (settled, after_twenty):
        moved = [
            (2 ** (b - 1) - 1)
            * total_variation(of_latent(own_stair(b), measure), of_latent(THIRDS, measure))
            for b in (10, 11)
        ]
        found.append(moved[1] / moved[0])
    return tuple(found)


def noisier() -> Values:
    """Error of 8 bits with the same stair, in equilibrium and after 20 iterations, and the same
    times Z^2."""
    side = 2**7 - 1
    found = [errors(8, m)[0] for m in (settled, after_twenty)]
    return found[0] * side**2, found[1] * side**2


CLAIMS = (
    Claim(
        id="limit-interpolation",
        statement="P = I_s K: a walker by stochastic rounding goes to level j with the mean of the "
        "hat around it, at clip(x + d); largest difference of laws, 5 bits, 400 increments at each "
        "level",
        code=law,
        test=f"{TEST}::test_a_walker_interpolates_the_latents_operator",
        printed="0",
        number="ours",
        expected=(0.0,),
        tolerance=1e-14,
        why="some roundings of numbers up to 15 spacings, 2^-53 each",
        run=interpolated,
    ),
    Claim(
        id="limit-law",
        statement="The limit at the increments of `seen-memory`: law of the latent's visible level "
        "read at thirds, its flips an iteration, and its memory over them",
        code=latent_chain,
        test=f"{TEST}::test_nodes_do_not_matter",
        printed="0.107842, 0.614945, 0.277213, 0.157954, 0.353914",
        number="ours",
        expected=(0.107842, 0.614945, 0.277213, 0.157954, 0.353914),
        tolerance=1e-6,
        why="twice half a unit of the sixth decimal; 16 and 24 nodes on a panel agree to 1e-12",
        run=limits,
    ),
    Claim(
        id="limit-order",
        statement="With the same stair laws differ by O(Z^-2), as thresholds halve their cells: "
        "orders between 6 and 8 and 7 and 9 bits, in equilibrium and 20 iterations after -1",
        code=latent_chain,
        test=f"{TEST}::test_the_order_is_two_and_the_stair_costs_one",
        printed="2, four times",
        number="ours",
        expected=(2.0,) * 4,
        tolerance=0.03,
        why="the next term is relative 1 / Z at 6 bits, 0.03, as the order is counted over ln 4",
        run=own_orders,
        slow=True,
    ),
    Claim(
        id="limit-order-thirds",
        statement="Against thirds they differ by O(1 / Z): orders between 7 and 9 bits, in "
        "equilibrium and 20 iterations after -1",
        code=latent_chain,
        test=f"{TEST}::test_the_order_is_two_and_the_stair_costs_one",
        printed="1, twice",
        number="ours",
        expected=(1.0, 1.0),
        tolerance=0.1,
        why="the term of Z^-2 adds 2.9 / Z to 0.32, which is 0.15 at 7 bits and 0.04 at 9: an "
        "order of at most ln(1.11) / ln 4 = 0.08 more or less",
        run=third_orders,
    ),
    Claim(
        id="limit-parity",
        statement="Thresholds are at 1/3 + 1 / (6 Z) for even b and 1/3 + 1 / (2 Z) for odd b, so "
        "an odd number of bits is three times further from thirds at the same Z: Z times the "
        "error of the stair, 11 bits over 10, in equilibrium and 20 iterations after -1",
        code=hidden,
        test=f"{TEST}::test_thresholds_are_past_thirds_by_parity",
        printed="3, twice",
        number="ours",
        expected=(3.0, 3.0),
        tolerance=0.03,
        why="the stair's shift of 1 / (2 Z) = 5e-4 is relative 0.005 of std 0.1; curvature in it "
        "gives a few times that",
        run=parities,
    ),
    Claim(
        id="limit-constant",
        statement="Z^2 times the error of 8 bits with the same stair, in equilibrium and 20 "
        "iterations after -1",
        code=hidden_chain,
        test=f"{TEST}::test_the_order_is_two_and_the_stair_costs_one",
        printed="2.9145, 1.8901",
        number="ours",
        expected=(2.9145, 1.8901),
        tolerance=1e-4,
        why="twice half a unit of the fourth decimal",
        run=noisier,
    ),
)
