"""Bottlenecks, and what they say about the spectral gap 1 - lambda_2.

The flow of i -> j is Q_ij = pi_i P_ij. The conductance is that of the worst set,

    Phi = min over S with pi(S) <= 1/2 of Q(S, not S) / pi(S)
    Phi**2 / 2 <= 1 - lambda_2 <= 2 Phi     (Cheeger; reversible) [levin2017, Thm. 13.10]

For a birth-death chain Phi may be far from the gap, but Hardy's inequality is not: with m a median
of pi and

    B = max over both sides of m, and x on that side, of
        (sum of 1 / (pi_k p_k) over the links between m and x) (mass from x outwards),

    1 / (4 B) <= 1 - lambda_2 <= 2 / B     [miclo1999]

Left: the variance of f is at most the mean of (f - f(m))**2, one Hardy inequality on each side,
whose best constant is in B .. 4 B. Right: let f live beyond m on one side, where the mass is at
most 1/2, so that its variance is at least half of its mean square. (References not verified
against the print.)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from qtheory.arrays import Pmf
from qtheory.chain.classes import require_irreducible
from qtheory.chain.forms import AnyChain, as_stored, dense
from qtheory.chain.markov import MarkovChain, OffDiagonal, PerState
from qtheory.chain.mixing import Bounds
from qtheory.chain.states import States, mask_of
from qtheory.chain.stationary import is_reversible
from qtheory.chain.structure import Links, links_of, positive_law

MAX_ENUMERATED = 20
"""Most states for which every set is tried, a million sets."""

Sets = Bool[ndarray, "sets states"]


def conductance(chain: AnyChain, states: States | None = None) -> float:
    """Phi, exact: by every set of states, or every cut if only neighbours are linked; or, if a set
    is given, its own ratio Q(S, not S) / min(pi(S), pi(not S)).

    Relative error below 2 n**3 2**-53 from pi, and n**2 from the sums.
    Raises ValueError if the chain is not irreducible, or has one state, or has more than
    MAX_ENUMERATED states and moves beyond neighbours, or a given set has no state or all;
    OverflowError if its law underflows.

    >>> conductance(MarkovChain(np.array([[0.0, 0.25], [0.5, 0.0]])))
    0.5
    >>> conductance([[0.75, 0.25], [0.5, 0.5]], states=1)
    0.5
    """
    if states is not None:
        chain, law = _with_law(chain)
        member = mask_of(chain.size, states)
        if member.all() or not member.any():
            raise ValueError(f"a ratio needs a set and its complement, got {member.sum()} states")
        return float(_ratios(member[None], law[:, None] * chain.off_diagonal, law)[0])
    links = _links(chain)
    if links is not None:
        below, above = np.cumsum(links.law)[:-1], np.cumsum(links.law[::-1])[::-1][1:]
        return float((links.flow / np.minimum(below, above)).min())
    chain, law = _with_law(chain)
    if chain.size > MAX_ENUMERATED:
        raise ValueError(
            f"sets are enumerated for at most {MAX_ENUMERATED} states, got {chain.size}; "
            "see `sweep_conductance` for an upper bound"
        )
    flow = law[:, None] * chain.off_diagonal
    sets = 2 ** (chain.size - 1)  # a set or its complement: the last state is out
    best = np.inf
    for first in range(1, sets, 2**14):
        numbers = np.arange(first, min(first + 2**14, sets), dtype=np.int64)
        member = (numbers[:, None] >> np.arange(chain.size)) & 1 == 1
        best = min(best, float(_ratios(member, flow, law).min()))
    return best


def sweep_conductance(chain: AnyChain, order: PerState) -> float:
    """The least ratio Q(S, not S) / min(pi(S), pi(not S)) over sets that are a threshold of
    `order`, one real number for each state: an upper bound of Phi in O(n**2).

    With the second eigenvector as the order it is at most sqrt(2 (1 - lambda_2)) if reversible.
    Raises ValueError as `conductance` does.
    """
    chain, law = _with_law(chain)
    ranks = np.argsort(order, kind="stable")
    flow = (law[:, None] * chain.off_diagonal)[np.ix_(ranks, ranks)]
    member = np.tri(chain.size, dtype=np.bool_)[:-1]
    return float(_ratios(member, flow, law[ranks]).min())


def _ratios(member: Sets, flow: OffDiagonal, law: Pmf) -> ndarray:
    inside, outside = member.astype(np.float64), (~member).astype(np.float64)
    leaving = ((inside @ flow) * outside).sum(axis=1)
    return leaving / np.minimum(inside @ law, outside @ law)


def cheeger_bounds(chain: AnyChain) -> Bounds:
    """Phi**2 / 2 .. 2 Phi, between which 1 - lambda_2 of a reversible chain lies.

    1 - lambda_2 is twice the absolute gap of the lazy chain. Raises ValueError as `conductance`
    does, and if the chain is not reversible.

    >>> cheeger_bounds(MarkovChain(np.array([[0.0, 0.25], [0.5, 0.0]])))
    Bounds(lower=0.125, upper=1.0)
    """
    if _links(chain) is None and not is_reversible(dense(chain)):
        raise ValueError("Cheeger's bounds need a reversible chain, got one that is not")
    ratio = conductance(chain)
    return Bounds(0.5 * ratio * ratio, 2.0 * ratio)


def hardy_bounds(birth_death: AnyChain) -> Bounds:
    """1 / (4 B) .. 2 / B, between which 1 - lambda_2 of a birth-death chain lies; O(n) from pi.

    Raises ValueError if the chain is not irreducible, has one state, or has moves beyond
    neighbours.

    >>> hardy_bounds(MarkovChain(np.array([[0.0, 0.25], [0.25, 0.0]])))  # the gap is 1/2
    Bounds(lower=0.0625, upper=0.5)
    """
    links = _links(birth_death)
    if links is None:
        raise ValueError("Hardy's bounds need a birth-death chain, got moves beyond neighbours")
    law = links.law
    median = int(np.searchsorted(np.cumsum(law), 0.5))
    resistance = 1.0 / links.flow
    right = np.cumsum(resistance[median:]) * np.cumsum(law[::-1])[::-1][median + 1 :]
    left = np.cumsum(resistance[:median][::-1]) * np.cumsum(law)[:median][::-1]
    constant = float(np.concatenate([right, left]).max())
    return Bounds(0.25 / constant, 2.0 / constant)


def _links(chain: AnyChain) -> Links | None:
    chain = as_stored(chain)
    if chain.size < 2:
        raise ValueError("a conductance needs at least two states, got one")
    return links_of(chain, "a conductance")


def _with_law(chain: AnyChain) -> tuple[MarkovChain, Pmf]:
    chain = dense(chain)
    require_irreducible(chain, "a conductance")
    if chain.size < 2:
        raise ValueError("a conductance needs at least two states, got one")
    return chain, positive_law(chain, "a conductance")
