"""What is seen of a walker with hidden levels: a function of its chain, and how far from a chain.

A network runs forward with the visible level, so the law of the increment belongs to that level.
With b(i) the number of the level that index i shows, the index is a Markov chain

    P_ij = E[law(spec, i, increment)_j],   the increment having the law that belongs to b(i),

and what is seen, b(i_0), b(i_1), ..., is a function of it. That is a chain of its own if all
indices of a block move into each other block alike (`qtheory.chain.is_lumpable`), which hidden
levels do not do: an index in the middle of its block has many iterations to go. In equilibrium

    law of level v        pi(v) = sum of pi_i over the block of v
    flips an iteration    F = sum of pi_i P_ij over b(i) != b(j)
    mean dwell at v       pi(v) / (flow out of v): the same for every process with these two
    P(dwell at v > t)     e_v Q_v**t 1, e_v the law in which v is entered and Q_v the moves inside

These are exact. The chain with the same one-step law (`one_step_chain`) has the same law, flips
and mean dwells, but geometric dwells; `memory` is what it misses of the next step.
Everything here takes a chain and blocks, so that it serves latents and products of weights too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

from qtheory.algorithms.base import Spec, readout
from qtheory.arrays import Pmf
from qtheory.chain import MarkovChain, stationary_distribution
from qtheory.increments import Increments
from qtheory.transition import weight_chain

Blocks = Int64[ndarray, "levels"]
"""The number of the visible level of each state, 0 .. visible levels - 1."""

PerVisible = Float[ndarray, "visible"]
"""One number for each visible level."""

Survival = Float[ndarray, "iterations"]
"""P(dwell > t), t = 0, 1, ..."""


def shown(spec: Spec) -> Blocks:
    """The number of the visible level at each index of the lattice, shape (size,).

    >>> from qtheory import StochasticRounding
    >>> from qtheory.algorithms.walker import hidden
    >>> shown(StochasticRounding(**hidden(3))).tolist()
    [0, 0, 1, 1, 1, 2, 2]
    """
    return np.unique(readout(spec), return_inverse=True)[1].astype(np.int64)


def hidden_chain(spec: Spec, increments: Sequence[Increments]) -> MarkovChain:
    """The chain of the index of a walker that is seen through its readout.

    increments: one law for each visible level, lowest first.
    Raises ValueError if their number is not that of the visible levels.
    """
    blocks = shown(spec)
    visible = int(blocks.max()) + 1
    if len(increments) != visible:
        raise ValueError(f"{visible} visible levels need as many laws, got {len(increments)}")
    own: list[int] = blocks.tolist()
    return weight_chain(spec, [increments[v] for v in own])


def visible_law(law: Pmf, blocks: Blocks) -> PerVisible:
    """Law of the visible level, from a law of the states."""
    return np.bincount(blocks, weights=law)


def flows(chain: MarkovChain, blocks: Blocks, law: Pmf | None = None) -> ndarray:
    """Probability that an iteration goes from each visible level to each other, shape (v, v).

    Zero on the diagonal; a sum of non-negative terms. law: of the states, the stationary one if
    not given. Raises ValueError if the blocks do not fit the chain.
    """
    if blocks.shape != (chain.size,):
        raise ValueError(f"{chain.size} states need as many blocks, got shape {blocks.shape}")
    pi = stationary_distribution(chain) if law is None else law
    member = np.eye(int(blocks.max()) + 1)[blocks]
    total = member.T @ (pi[:, None] * chain.off_diagonal) @ member
    np.fill_diagonal(total, 0.0)
    return total


def flip_rate(chain: MarkovChain, blocks: Blocks, law: Pmf | None = None) -> float:
    """Probability that an iteration changes the visible level; raises as `flows` does."""
    return float(flows(chain, blocks, law).sum())


def mean_dwell_times(chain: MarkovChain, blocks: Blocks, law: Pmf | None = None) -> PerVisible:
    """Mean number of iterations for which a visible level stays, once entered, shape (v,).

    Kac's formula: pi(v) over the flow out of v. law: stationary. Infinite for a level that is never
    left, NaN for one that is never seen.
    """
    pi = stationary_distribution(chain) if law is None else law
    with np.errstate(divide="ignore", invalid="ignore"):
        return visible_law(pi, blocks) / flows(chain, blocks, pi).sum(axis=1)


def dwell_survival(
    chain: MarkovChain, blocks: Blocks, level: int, iterations: int, law: Pmf | None = None
) -> Survival:
    """P(dwell > t), t = 0 .. iterations, of a stationary visit to a visible level.

    Their sum over all t is the mean dwell. Raises ValueError if the level is never entered.
    """
    pi = stationary_distribution(chain) if law is None else law
    inside = blocks == level
    entry = pi[~inside] @ chain.off_diagonal[np.ix_(~inside, inside)]
    if not entry.sum() > 0:
        raise ValueError(f"a dwell begins when its level is entered, got level {level}, never so")
    now, survival = entry / entry.sum(), np.ones(iterations + 1)
    moves, staying = chain.off_diagonal[np.ix_(inside, inside)], chain.staying[inside]
    for t in range(1, iterations + 1):
        now = now * staying + now @ moves
        survival[t] = now.sum()
    return survival


def one_step_chain(chain: MarkovChain, blocks: Blocks, law: Pmf | None = None) -> MarkovChain:
    """The Markov chain of visible levels whose pairs of neighbours in time have the true law."""
    pi = stationary_distribution(chain) if law is None else law
    return MarkovChain(flows(chain, blocks, pi) / visible_law(pi, blocks)[:, None])


def memory(chain: MarkovChain, blocks: Blocks, law: Pmf | None = None) -> float:
    """How much the level before the present one still says of the next one: 0 for a chain.

    The mean total variation between the laws of the next visible level given the last two, and
    given the last alone, in equilibrium. At most twice the rate of flips, with which to compare it.
    """
    pi = stationary_distribution(chain) if law is None else law
    member = np.eye(int(blocks.max()) + 1)[blocks]
    into = chain.transition_matrix @ member
    pairs = member.T @ (pi[:, None] * chain.transition_matrix)  # (before, state now)
    triples = np.einsum("as,sv,sw->avw", pairs, member, into)
    mass = triples.sum(axis=2)
    alone = triples.sum(axis=0) / mass.sum(axis=0)[:, None]
    return 0.5 * float(np.abs(triples - mass[:, :, None] * alone).sum())
