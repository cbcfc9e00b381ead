"""Lumping: when blocks of states make a chain of their own [kemeny1976, Sec. 6.3; not verified
against the print].

A partition is strongly lumpable if from every state of a block the probability of moving into
another block is the same; the blocks are then a chain, whatever the initial law. Weights that
enter a loss alike may be exchanged, and their states are lumped into counts: how many weights are
at each level. d weights on n levels have C(d + n - 1, n - 1) counts instead of n**d states.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from qtheory.arrays import Pmf
from qtheory.chain.forms import AnyChain, dense
from qtheory.chain.joint import JointChain
from qtheory.chain.markov import MarkovChain, PerState
from qtheory.chain.states import Blocks, Partition, blocks_of

Counts = Int[ndarray, "blocks counts"]
"""For each block the number of weights at each level."""

PerLevel = Float[ndarray, "per_level"]
"""One number for each level."""

SAME = 2.0**-40
"""Chances that differ by less are those of equal increments, rounded on different ways."""


def is_lumpable(chain: AnyChain, blocks: Partition) -> bool:
    """Whether a partition is strongly lumpable.

    blocks: the number of each state's block, or the blocks as sets of states.
    Probabilities of moving into a block count as equal within n + 4 roundings of themselves: n for
    their sums, the others for entries that are rounded results of equal numbers.
    Raises ValueError if a block is empty or a state has none.

    >>> ring = MarkovChain(np.array([[0, 0.2, 0.2], [0.3, 0, 0.5], [0.3, 0.5, 0]]))
    >>> is_lumpable(ring, np.array([0, 1, 1])), is_lumpable(ring, np.array([0, 0, 1]))
    (True, False)
    """
    chain = dense(chain)
    return _torn_block(chain, blocks_of(chain.size, blocks)) is None


def _torn_block(chain: MarkovChain, blocks: Blocks) -> int | None:
    """The first block whose states move into some other block with different probabilities."""
    into = _into_blocks(chain, blocks)
    for block in range(into.shape[1]):
        rows = np.delete(into[blocks == block], block, axis=1)
        least, most = rows.min(axis=0), rows.max(axis=0)
        if (most - least > (chain.size + 4) * 2.0**-53 * most).any():
            return block
    return None


def lump(chain: AnyChain, blocks: Partition) -> MarkovChain:
    """The chain of the blocks, each represented by its lowest state.

    blocks: the number of each state's block, or the blocks as sets of states.
    Raises ValueError if the partition is not strongly lumpable, a block is empty, or a state has
    none.

    >>> ring = MarkovChain(np.array([[0, 0.2, 0.2], [0.3, 0, 0.5], [0.3, 0.5, 0]]))
    >>> lump(ring, np.array([0, 1, 1])).off_diagonal.tolist()
    [[0.0, 0.4], [0.3, 0.0]]
    """
    chain = dense(chain)
    blocks = blocks_of(chain.size, blocks)
    if (block := _torn_block(chain, blocks)) is not None:
        raise ValueError(
            "a lumped chain needs equal probabilities from all states of a block, "
            f"got others from those of block {block}"
        )
    into = _into_blocks(chain, blocks)
    first = [int(np.argmax(blocks == block)) for block in range(into.shape[1])]
    lumped = into[first]
    np.fill_diagonal(lumped, 0.0)
    return MarkovChain(lumped)


def coarsest_lumping(chain: AnyChain, blocks: Partition) -> Blocks:
    """The coarsest strongly lumpable partition that refines a given one.

    Blocks are split by the probabilities of moving into each block until nothing splits; these are
    compared at 40 bits, so that the rounding of sums of up to 2**12 terms does not split a block.
    Raises ValueError if a block is empty or a state has none.

    >>> ring = MarkovChain(np.array([[0, 0.2, 0.2], [0.3, 0, 0.5], [0.3, 0.5, 0]]))
    >>> coarsest_lumping(ring, np.array([0, 1, 1])).tolist()
    [0, 1, 1]
    >>> coarsest_lumping(ring, np.array([0, 0, 1])).tolist()
    [0, 1, 2]
    """
    chain = dense(chain)
    now = blocks_of(chain.size, blocks)
    while True:
        into = _into_blocks(chain, now)
        into[np.arange(chain.size), now] = 0.0
        fraction, power = np.frexp(into)
        keys = np.column_stack([now, np.ldexp(np.rint(np.ldexp(fraction, 40)), power - 40)])
        _, first, new = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(first))
        new = order[new.reshape(-1)].astype(np.int64)
        if new.max() == now.max():
            return new
        now = new


def _into_blocks(chain: MarkovChain, blocks: Blocks) -> Float[ndarray, "levels blocks"]:
    """Probability of moving from each state into each block; own block without staying."""
    count = int(blocks.max()) + 1
    into = np.zeros((chain.size, count))
    for block in range(count):
        into[:, block] = chain.off_diagonal[:, blocks == block].sum(axis=1)
    return into


@dataclass(frozen=True, slots=True, eq=False)
class CountChain:
    """A joint chain of weights that may be exchanged, on the counts of weights at each level.

    counts: (blocks, levels), every way to spread d weights over the levels, in decreasing order.
    chain: of the counts. orbit: number of states with these counts, as floats, (blocks,).
    """

    counts: Counts
    chain: MarkovChain
    orbit: PerState

    def mean(self, law: Pmf, values: PerLevel) -> float:
        """Mean over weights of a function of the level, under a law of the counts."""
        return float(law @ (self.counts @ values)) / int(self.counts[0].sum())


def lump_permutations(joint: JointChain) -> CountChain:
    """The chain of the counts of a joint chain that treats its weights alike.

    The weights at one level move to two levels at most with one common chance, so their numbers
    are binomial and independent given the atom: the law of the counts is a convolution.

    Raises ValueError if, for some atom, two weights at one level have chances that differ by more
    than 2**-40 (sums of increments may be taken in another order), or a state and its reverse
    do: of all orders of a state only these two are looked at.
    """
    levels, dimension = joint.lattice.size, joint.dimension
    counts = np.array(list(_spreads(dimension, levels)), dtype=np.int64)
    number = {tuple(c): block for block, c in enumerate(counts.tolist())}
    index = np.array([np.repeat(np.arange(levels), c) for c in counts])
    matrix = np.zeros((len(counts), len(counts)))
    forward, backward = _chances(joint, index), _chances(joint, index[:, ::-1])
    apart = float(np.abs(forward - backward[:, :, ::-1]).max())
    if not apart <= SAME:
        raise ValueError(
            "weights that may be exchanged have laws that do not depend on their order, "
            f"got laws {apart:.3g} apart"
        )
    for block, count in enumerate(counts):
        start = np.cumsum(count) - count
        for atom, p in enumerate(joint.probabilities):
            law: dict[tuple[int, ...], float] = {(0,) * levels: float(p)}
            for level in np.flatnonzero(count):
                pmfs = forward[block, atom, start[level] : start[level] + count[level]]
                apart = float(np.abs(pmfs - pmfs[0]).max())
                if not apart <= SAME:
                    raise ValueError(
                        "weights that may be exchanged move alike from one level, "
                        f"got laws {apart:.3g} apart from level {level}"
                    )
                law = _convolved(law, pmfs[0], int(count[level]))
            for after, mass in law.items():
                matrix[block, number[after]] += mass
    np.fill_diagonal(matrix, 0.0)
    matrix /= np.maximum(matrix.sum(axis=1, keepdims=True), 1.0)
    orbit = [math.factorial(dimension) / math.prod(map(math.factorial, c)) for c in counts.tolist()]
    return CountChain(counts, MarkovChain(matrix), np.array(orbit))


def _spreads(weights: int, levels: int) -> list[tuple[int, ...]]:
    """All ways to spread weights over levels, the lowest level fullest first."""
    places = itertools.combinations(range(weights + levels - 1), levels - 1)
    bars = [(-1, *bar, weights + levels - 1) for bar in places]
    ways = [tuple(b - a - 1 for a, b in itertools.pairwise(bar)) for bar in bars]
    return sorted(ways, reverse=True)


def _chances(
    joint: JointChain, index: Int[ndarray, "states dimension"]
) -> Float[ndarray, "states atoms dimension size"]:
    """The law of each weight in the given states, for each atom."""
    table = joint.moves(index)
    pmf = np.zeros((*table.near.shape, table.levels))
    np.put_along_axis(
        pmf, table.near[..., None].astype(np.int64), 1.0 - table.chance[..., None], -1
    )
    far = table.far[..., None].astype(np.int64)
    more = np.take_along_axis(pmf, far, -1) * (table.chance[..., None] == 0)
    np.put_along_axis(pmf, far, table.chance[..., None] + more, -1)
    return pmf


def _convolved(
    law: dict[tuple[int, ...], float], pmf: Sequence[float] | Pmf, weights: int
) -> dict[tuple[int, ...], float]:
    """Counts after so many more weights have gone to one of two levels each."""
    ends = np.flatnonzero(pmf).tolist()
    near, far = ends[0], ends[-1]
    after: dict[tuple[int, ...], float] = {}
    for k in range(weights + 1 if near != far else 1):
        ways = math.comb(weights, k) * float(pmf[far]) ** k * float(pmf[near]) ** (weights - k)
        for counts, mass in law.items():
            new = list(counts)
            new[far] += k
            new[near] += weights - k
            key = tuple(new)
            after[key] = after.get(key, 0.0) + ways * mass
    return after
