"""Ladder (c), marginal: transition probabilities, cells for each index and increment.

Every cell is a binomial test of its own, with draws bought for a stated bias. A right kernel's
probability lies in an interval around the law's, 2**-32 or the knife edge wide; the tests
are calibrated for its worst end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import stats

from qcuda.validate import aim
from qcuda.validate.kernels import Draw, Kernel
from qcuda.watch.odds import Odds, choices, odds
from qtheory.algorithms import Spec, contract, spec_class
from qtheory.evidence import (
    binomial_p_value,
    combine,
    log_beta_mixture,
    samples_needed,
    smallest_bias,
)
from qtheory.lattice import Lattice

LAUNCH = 2**17  # draws of a launch, which the processor's cache holds
CERTAIN_DRAWS = 16  # events at p = 0 or 1: 1 - (1 - bias)**(16 / bias) = 1 - 1e-7
MOVES = (0.0, 2.0**-20, 1 / 16, 0.1831, 0.25, 0.5, 0.97, 1.0, 1.3, 2.0, 100.0)
WIDEST = 2.0**-13  # an eighth of a bias of 1e-3
ENDS = Lattice(size=255, spacing=0.25, low=-31.75)


class Group(NamedTuple):
    """Cells of one spec."""

    spec: Spec
    index: np.ndarray  # pyright: ignore[reportIncompatibleMethodOverride]  # int64 (cells,)
    increments: np.ndarray  # float32 (cells,), in weight units
    law: Odds


class Counts(NamedTuple):
    """What was seen in the cells of a group."""

    far: np.ndarray  # how often the level that is judged was reached
    draws: np.ndarray
    impossible: int  # moves to levels of probability 0, or off the lattice


def group(spec: Spec, index: Sequence[int], quotients: Sequence[float]) -> Group:
    """Every index with every quotient, an increment in spacings.

    There is a cell for each possible level but one: of a coin one, of more destinations several,
    with draws of their own, so that all cells are independent.
    """
    x = np.array(quotients, np.float32) * np.float32(spec.lattice.spacing)
    place, increments = np.repeat(np.array(index), x.size), np.tile(x, len(index))
    number = choices(spec, place, increments)
    which = np.repeat(np.arange(place.size), number)
    turn = np.arange(which.size) - np.repeat(np.cumsum(number) - number, number)
    place, increments = place[which], increments[which]
    return Group(spec, place, increments, odds(spec, place, increments, turn))


def part(cells: Group, keep: np.ndarray) -> Group:
    """Some cells of a group."""
    law = Odds(*(field[keep] for field in cells.law))
    return Group(cells.spec, cells.index[keep], cells.increments[keep], law)


def rarest(cells: Group) -> Group:
    """Of the cells of each increment the one with the smallest probability."""
    order = np.argsort(cells.law.p, kind="stable")
    _, first = np.unique(cells.increments[order], return_index=True)
    return part(cells, np.sort(order[first]))


@cache
def table(stem: str) -> tuple[Group, ...]:
    """All levels of two small lattices and the ends of a large one; the spacings differ.

    Without the large one if the algorithm's edge is wide there: draws could not buy a bias of a
    few edges, and `whole_steps` compares every decision on large lattices.
    """
    cls = spec_class(stem)
    both = [*MOVES, *(-x for x in MOVES[1:])]
    small = [cls(Lattice.ternary()), cls(Lattice.z(2))]
    if contract(stem).knobs:
        small.append(aim.turned(stem, Lattice.ternary(), -1))
    groups = [group(spec, range(spec.lattice.size), both) for spec in small]
    ends = group(cls(ENDS), [0, 1, 127, 253, 254], [0.3, -0.3, 1.25, -2.9])
    return (*groups, ends) if ends.law.width.max() <= WIDEST else tuple(groups)


def count(kernel: Kernel, cells: Group, draws: np.ndarray, *, seed: int, tensor: int) -> Counts:
    """Exactly `draws` of every cell: the power of exact tests rises and falls with every draw."""
    launches = max(1, int(draws.sum()) // LAUNCH)
    equal = run(kernel, cells, draws // launches, launches, seed=seed, tensor=tensor)
    if not (draws % launches).any():
        return equal
    rest = run(kernel, cells, draws % launches, 1, seed=seed, tensor=tensor, first=launches)
    return Counts(equal.far + rest.far, draws, equal.impossible + rest.impossible)


def run(
    kernel: Kernel,
    cells: Group,
    copies: np.ndarray,
    launches: int,
    *,
    seed: int,
    tensor: int,
    first: int = 0,
) -> Counts:
    """Launches at iterations first, first + 1.., with so many copies of every cell, mixed.

    Mixed, so that every lane and every place of a vector sees every cell.
    """
    deck = np.repeat(np.arange(copies.size), copies)
    if not deck.size:
        return Counts(np.zeros(copies.size, np.int64), copies * launches, 0)
    np.random.default_rng(seed).shuffle(deck)
    index, increments = cells.index[deck], cells.increments[deck]
    size, far, impossible = cells.spec.lattice.size, np.zeros(copies.size, np.int64), 0
    row = deck * size
    for iteration in range(first, first + launches):
        after = kernel(index, increments, Draw(cells.spec, seed, iteration, tensor))
        if after.min() < 0 or after.max() >= size:
            off = (after < 0) | (after >= size)
            impossible += int(off.sum())
            after = np.where(off, index, after)
        seen = np.bincount(row + after, minlength=copies.size * size)
        seen = seen.reshape(copies.size, size)
        far += np.take_along_axis(seen, cells.law.far[:, None], 1)[:, 0]
        impossible += int(seen[~cells.law.support].sum())
    return Counts(far, copies * launches, impossible)


@cache
def draws_for(p: float, width: float, bias: float, share: float, miss: float) -> int:
    """Draws of a cell that buy a bias, whatever a right kernel's probability is."""
    return samples_needed(p, bias - 2 * width, share, miss)


def plan(groups: Sequence[Group], bias: float, share: float, miss: float) -> list[np.ndarray]:
    """Draws of every cell, if the uncertain ones spend `share` together."""
    each, numbers = share / max(1, uncertain(groups)), []
    for cells in groups:
        law, certain = cells.law, math.ceil(CERTAIN_DRAWS / bias)
        numbers.append(
            np.array(
                [
                    certain if sure else draws_for(float(p), float(width), bias, each, miss)
                    for p, width, sure in zip(law.p, law.width, law.certain, strict=True)
                ]
            )
        )
    return numbers


def uncertain(groups: Sequence[Group]) -> int:
    """Number of cells with several possible levels."""
    return sum(int((~cells.law.certain).sum()) for cells in groups)


def is_random(stem: str) -> bool:
    """Whether words decide anything in the cells of a stem."""
    return uncertain(table(stem)) > 0


def interval_p_value(successes: int, trials: int, low: float, high: float) -> float:
    """Two-sided p-value of "the probability is in low..high": that of the end on its side."""
    if successes > trials * high:
        return binomial_p_value(successes, trials, high)
    return binomial_p_value(successes, trials, low) if successes < trials * low else 1.0


def p_value(groups: Sequence[Group], counted: Sequence[Counts]) -> float:
    """The smallest p-value of all uncertain cells, times their number."""
    values = [
        interval_p_value(int(c.far[i]), int(c.draws[i]), float(g.law.low[i]), float(g.law.high[i]))
        for g, c in zip(groups, counted, strict=True)
        for i in np.flatnonzero(~g.law.certain)
    ]
    return min(1.0, min(values) * len(values))


@cache
def _detectable(trials: int, p: float, width: float, share: float, miss: float) -> float:
    return smallest_bias(trials, p, share, miss) + 2 * width


def detectable(groups: Sequence[Group], counted: Sequence[Counts], share: float) -> float:
    """The smallest bias that no cell's test misses with probability above 1e-3."""
    each = share / uncertain(groups)
    return max(
        _detectable(int(c.draws[i]), float(g.law.p[i]), float(g.law.width[i]), each, 1e-3)
        for g, c in zip(groups, counted, strict=True)
        for i in np.flatnonzero(~g.law.certain)
    )


class Pooled(NamedTuple):
    """The uncertain cells that judge together: many small differences make a large one."""

    p: np.ndarray
    draws: np.ndarray
    width: np.ndarray
    concentration: np.ndarray

    @staticmethod
    def of(groups: Sequence[Group], counted: Sequence[Counts], bias: float) -> Pooled:
        """With priors as wide as a bias, or as the room beside p."""
        keep = [~g.law.certain for g in groups]
        p = np.concatenate([g.law.p[k] for g, k in zip(groups, keep, strict=True)])
        n = np.concatenate([c.draws[k] for c, k in zip(counted, keep, strict=True)])
        width = np.concatenate([g.law.width[k] for g, k in zip(groups, keep, strict=True)])
        # a prior of width b has c = p (1 - p) / b**2 - 1; at least one draw's weight
        return Pooled(p, n, width, np.maximum(1.0, p * (1 - p) / (bias / 3) ** 2 - 1))

    def log_e(self, far: np.ndarray) -> float:
        """Average and product of the cells' mixtures, less what the knife edge could add.

        If the probability is p + w then a mixture's mean is that of
        (1 + w (q - p) / (p (1 - p)))**n over the prior of q, at most exp(s**2 / (8 (c + 1)))
        with s = n w / (p (1 - p)), because a Beta law of concentration c is sub-Gaussian with
        variance 1 / (4 (c + 1)) [marchal2017].
        """
        mixtures = log_beta_mixture(far, self.draws, self.p, self.concentration)
        shift = self.draws * self.width / (self.p * (1 - self.p))
        return combine(mixtures - shift**2 / (8 * (self.concentration + 1)))

    def detectable(self, share: float, miss: float) -> float:
        """The smallest bias, the same in all cells, that is surely seen.

        With probability 1 - miss every cell is beyond its quantile of order miss / cells, and the
        mixtures grow towards the tails. Cells whose p leaves no room for the bias count nothing.
        """
        few, enough = 0.0, 0.5
        for _ in range(24):
            bias = (few + enough) / 2
            found = min(self._at(bias, miss), self._at(-bias, miss))
            few, enough = (few, bias) if found >= -math.log(share) else (bias, enough)
        return enough

    def _at(self, bias: float, miss: float) -> float:
        q, mean = self.p + bias, self.draws * self.p
        room = (q > 0) & (q < 1)
        order = miss / self.p.size if bias > 0 else 1 - miss / self.p.size
        reached = stats.binom.ppf(order, self.draws, np.where(room, q, self.p))
        beyond = room & ((reached > mean) if bias > 0 else (reached < mean))
        return self.log_e(np.where(beyond, reached, np.rint(mean)))
