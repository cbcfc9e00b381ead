"""The law of a chain that has not left a set of states for a long time.

With Q the moves within the set, the quasi-stationary law nu is the left Perron vector,

    nu Q = theta nu,    P_nu(T > n) = theta**n,    E_nu[T] = 1 / (1 - theta),

T the first time outside; where the chain then is does not depend on T [darroch1965] (not verified
against the print). theta near 1 holds no digit of the rate 1 - theta of leaving, so that rate is
found first: it is 1 / root of G = (I - Q)**-1, the mean visits within the set, which has no
negative term.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.arrays import Pmf
from qtheory.chain.forms import AnyChain, dense
from qtheory.chain.hitting import total_rewards
from qtheory.chain.markov import MarkovChain, PerState
from qtheory.chain.mixing import Bounds
from qtheory.chain.perron import irreducible, perron
from qtheory.chain.powers import beyond_range, within_range
from qtheory.chain.states import Mask, States, mask_of

Inside = Float[ndarray, "inside inside"]
"""Moves within a set of states."""

Exits = Float[ndarray, "inside"]
"""Probability of leaving the set, from each state in it."""


class QuasiStationary(NamedTuple):
    """law: nu, shape (n,), zero outside the set. survival: theta. leaving: 1 - theta, to its own
    relative error. bracket: leaving lies in it, but for the error of G, 2 n**3 2**-53, relative.
    endurance: the right vector x, (P_i(T > n) -> x_i theta**n), with sum nu_i x_i = 1, zero
    outside."""

    law: Pmf
    survival: float
    leaving: float
    bracket: Bounds
    endurance: PerState


def quasi_stationary(chain: AnyChain, inside: States) -> QuasiStationary:
    """The quasi-stationary law on a set of states, and how fast it leaves.

    Relative error of `leaving`: the bracket and 2 n**3 2**-53, whatever the probabilities. The law
    is that of a chain whose probabilities differ by as much: well defined unless two modes of the
    set leave it equally fast.
    Raises ValueError if the set is empty, cannot be left, or its states do not all communicate
    within it; OverflowError if elimination underflows or visits overflow.

    >>> walk = MarkovChain(np.diag([0.25, 0.25], 1) + np.diag([0.25, 0.25], -1))
    >>> quasi_stationary(walk, [0, 1]).leaving.__round__(6)  # (3 - sqrt 5) / 8
    0.095492
    """
    chain = dense(chain)
    within, moves, exits = _inside(chain, inside)
    try:
        visits = within_range(total_rewards(moves, exits, np.eye(len(moves))), "a mean time")
    except OverflowError as error:
        raise OverflowError(beyond_range("a mean time")) from error
    found = perron(visits)
    leaving = min(1.0 / found.root, 1.0)
    law, endurance = np.zeros(chain.size), np.zeros(chain.size)
    law[within], endurance[within] = found.left, found.right / (found.left @ found.right)
    bracket = Bounds(1.0 / found.bracket.upper, min(1.0 / found.bracket.lower, 1.0))
    return QuasiStationary(law, 1.0 - leaving, leaving, bracket, endurance)


def exit_law(chain: AnyChain, inside: States) -> Pmf:
    """Where the chain is when it leaves the set for the first time from its quasi-stationary law.

    Shape (n,), zero inside. Raises ValueError as `quasi_stationary` does.

    >>> walk = MarkovChain(np.diag([0.1, 0.1], 1) + np.diag([0.3, 0.3], -1))
    >>> exit_law(walk, [1]).round(6).tolist()
    [0.75, 0.0, 0.25]
    """
    chain = dense(chain)
    within, _, _ = _inside(chain, inside)
    law = quasi_stationary(chain, within).law
    leaves = np.where(within, 0.0, law @ chain.off_diagonal)
    return leaves / leaves.sum()


def _inside(chain: MarkovChain, inside: States) -> tuple[Mask, Inside, Exits]:
    """The set, the moves within it and the probability of leaving it at once."""
    within = mask_of(chain.size, inside)
    if not within.any():
        raise ValueError("a quasi-stationary law needs at least one state, got none")
    moves = chain.off_diagonal[np.ix_(within, within)]
    exits = chain.off_diagonal[np.ix_(within, ~within)].sum(axis=1)
    if not exits.any():
        raise ValueError(f"a set to leave can be left, got {np.flatnonzero(within).tolist()}")
    if not irreducible(moves > 0):
        raise ValueError(
            "states that leave together communicate within their set, got "
            f"{np.flatnonzero(within).tolist()}"
        )
    return within, moves, exits
