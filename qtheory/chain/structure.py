"""Parts of a chain, and chains made of it: links between neighbours, laws of its classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.arrays import Pmf
from qtheory.chain.banded import BandedChain
from qtheory.chain.birth_death import BirthDeathChain, closed_spans
from qtheory.chain.classes import recurrent_classes, require_irreducible
from qtheory.chain.forms import AnyChain, as_stored, dense
from qtheory.chain.markov import MarkovChain
from qtheory.chain.stationary import stationary_distribution

PerLink = Float[ndarray, "links"]
"""One number for each pair of neighbours."""


class Links(NamedTuple):
    """A birth-death chain's links between k and k + 1: the law pi of the n states, and for each
    of the n - 1 links P(k -> k + 1), P(k + 1 -> k) and the flow pi_k P(k -> k + 1)."""

    law: Pmf
    up: PerLink
    down: PerLink
    flow: PerLink


def links_of(chain: AnyChain, quantity: str) -> Links | None:
    """The links of a chain that moves to neighbours only, or None if it moves further.

    A `BirthDeathChain` is not written out, and costs O(n).
    Raises ValueError, naming the quantity, if the chain is not irreducible; OverflowError if a
    probability of its law, or a flow, is below 2**-1022.
    """
    found = probabilities_of_links(chain, quantity)
    if found is None:
        return None
    law = positive_law(chain, quantity)
    flow = law[:-1] * found.up
    if flow.size and flow.min() < 2.0**-1022:
        raise OverflowError(f"{quantity} needs flows within a float's range, got {flow.min()}")
    return Links(law, found.up, found.down, flow)


def probabilities_of_links(chain: AnyChain, quantity: str) -> BirthDeathChain | None:
    """An irreducible chain that moves to neighbours only as such, or None if it moves further.

    Raises ValueError, naming the quantity, if the chain is not irreducible.
    """
    chain = as_stored(chain)
    if isinstance(chain, BirthDeathChain):
        if not ((chain.up > 0).all() and (chain.down > 0).all()):
            closed = ", ".join(map(str, closed_spans(chain)))
            raise ValueError(
                f"{quantity} needs an irreducible chain, got one of {chain.size} states whose "
                f"recurrent classes are {closed}"
            )
        return chain
    require_irreducible(chain, quantity)
    source, target = chain.moves
    if (np.abs(source - target) > 1).any():
        return None
    if isinstance(chain, BandedChain):
        return BirthDeathChain(chain.above[0, :-1], chain.below[0, 1:])
    moves = chain.off_diagonal
    return BirthDeathChain(moves.diagonal(1), moves.diagonal(-1))


def positive_law(chain: AnyChain, quantity: str) -> Pmf:
    """The stationary law of an irreducible chain, for quotients: no entry has underflowed.

    Raises OverflowError, naming the quantity and the state, if one is below 2**-1022.
    """
    law = stationary_distribution(as_stored(chain))
    least = int(np.argmin(law))
    if law[least] < 2.0**-1022:
        raise OverflowError(
            f"{quantity} needs a law within a float's range, got {law[least]} in state {least}"
        )
    return law


def lazy(chain: AnyChain) -> MarkovChain:
    """The chain that rests half of the time: aperiodic, of the same law, twice as slow."""
    return MarkovChain(0.5 * dense(chain).off_diagonal)


def composed(first: MarkovChain, second: MarkovChain) -> MarkovChain:
    """An iteration of `first`, then one of `second`.

    Off the diagonal: stay and move, move and stay, or move twice. Every entry has a relative error
    below (n + 3) 2**-53, and an absolute one of as much from the rounding of the diagonals.
    """
    moves = first.off_diagonal @ second.off_diagonal
    moves += first.staying[:, None] * second.off_diagonal
    moves += first.off_diagonal * second.staying
    np.fill_diagonal(moves, 0.0)
    return MarkovChain(moves / np.maximum(moves.sum(axis=1, keepdims=True), 1.0))


def stationary_laws(chain: AnyChain) -> list[Pmf]:
    """The stationary law on each recurrent class, in order; all others are mixtures of these.

    >>> [law.tolist() for law in stationary_laws(MarkovChain(np.zeros((2, 2))))]
    [[1.0, 0.0], [0.0, 1.0]]
    """
    chain = dense(chain)
    laws: list[Pmf] = []
    for states in recurrent_classes(chain):
        law = np.zeros(chain.size)
        closed = MarkovChain(chain.off_diagonal[np.ix_(states, states)])
        law[states] = stationary_distribution(closed)
        laws.append(law)
    return laws
