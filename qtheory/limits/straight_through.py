"""The limit of many hidden levels: a real latent that is clipped and read by the stair.

A walker by stochastic rounding on levels of spacing s = 1 / Z moves as y = clip(x + d) and then
rounds y, without bias and to one of its two neighbours. So with K the latent's operator and I_s the
linear interpolation between levels, exactly,

    (K f)(x) = E f(clip(x + d)),      P f = I_s K f at the levels:   P_ij = E hat_j(clip(x_i + d)).

I_s g - g is s**2 g'' / 12 in the mean over a cell. K f is smooth inside a block and jumps at a
threshold, where the law of the increment changes; a threshold halfway between two levels cuts its
cell in halves, and the error of I_s there has mean 0. So laws differ by O(Z**-2) from those of a
latent with the same stair. The stair itself moves: the thresholds of `hidden(b)` are at 1/3 +
1 / (6 Z) for even b and 1/3 + 1 / (2 Z) for odd b, which moves laws by O(1 / Z).

Here the latent's operator is discretised by Gauss-Legendre nodes between thresholds and the two
ends, which hold what is clipped. Its error falls faster than any power of the number of nodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.chain import MarkovChain
from qtheory.increments import ContinuousIncrements
from qtheory.noise.facts import std_of
from qtheory.stairs.stair import Stair
from qtheory.visible import Blocks

Latents = Float[ndarray, "levels"]
"""Values of the latent in increasing order, the two ends first and last."""

NODES = 16
"""Gauss-Legendre nodes on a panel of one std of the noise."""


@dataclass(frozen=True, slots=True, eq=False)
class LatentChain:
    """A real latent by its nodes.

    latents: the two ends, first and last, and the nodes. blocks: the visible level of each.
    chain: of the nodes; entry (i, j) is the density at node j times its weight. Rows sum to one up
    to the error of the quadrature, which the staying probability takes.
    """

    latents: Latents
    blocks: Blocks
    chain: MarkovChain


def latent_chain(
    stair: Stair,
    increments: Sequence[ContinuousIncrements],
    *,
    bound: float = 1.0,
    nodes: int = NODES,
) -> LatentChain:
    """The chain of x <- clip(x + d, -bound, bound), d having the law that belongs to stair(x).

    nodes: on a panel; panels are at most one std of the narrowest noise wide.
    Raises ValueError if there is not one law for each level of the stair, a threshold is not
    inside the bounds, or a noise has no std.
    """
    if len(increments) != len(stair.levels):
        raise ValueError(
            f"a stair of {len(stair.levels)} levels needs as many laws, got {len(increments)}"
        )
    if not max(map(abs, stair.thresholds)) < bound:
        raise ValueError(f"thresholds are between -{bound} and {bound}, got {stair.thresholds}")
    widest = min(std_of(each.noise) for each in increments)
    if not math.isfinite(widest):
        raise ValueError(f"a noise has a std here, got {widest}")
    latents, weights = _nodes((-bound, *stair.thresholds, bound), widest, nodes)
    blocks = stair.index(latents)
    moves = np.empty((len(latents), len(latents)))
    for level, each in enumerate(increments):
        own = blocks == level
        far = latents[None, :] - latents[own, None]
        rows = each.density(far) * weights
        rows[:, -1] = each.above(far[:, -1])
        rows[:, 0] = each.mirrored().above(-far[:, 0])
        moves[own] = rows
    np.fill_diagonal(moves, 0.0)
    return LatentChain(latents, blocks, MarkovChain(moves / np.maximum(moves.sum(1), 1.0)[:, None]))


def _nodes(cuts: tuple[float, ...], widest: float, nodes: int) -> tuple[Latents, Latents]:
    """Nodes between the cuts and their weights; the ends, first and last, weigh nothing."""
    edges = [cuts[0]]
    for low, high in pairwise(cuts):
        edges += np.linspace(low, high, math.ceil((high - low) / widest) + 1)[1:].tolist()
    at, weight = np.polynomial.legendre.leggauss(nodes)
    half = 0.5 * np.diff(edges)[:, None]
    x = (np.array(edges[:-1])[:, None] + half * (1.0 + at)).ravel()
    return np.r_[cuts[0], x, cuts[-1]], np.r_[0.0, (half * weight).ravel(), 0.0]
