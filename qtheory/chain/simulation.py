"""Paths of a chain, drawn at random, and how much of their randomness each iteration adds.

A state that is left with probability S is left after k iterations with probability
S (1 - S)**(k - 1), so the time of a visit is drawn at once, and links of 1e-300 are waited for as
long as they should be. Where the chain then goes is drawn from the probabilities of its moves.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from qtheory.chain.forms import AnyChain, as_sparse
from qtheory.chain.states import State, state_of
from qtheory.chain.stationary import stationary_distribution

Path = Int64[ndarray, "visits"]
"""States, in the order of the visits."""


def simulate(chain: AnyChain, iterations: int, start: State = 0, *, seed: int) -> Path:
    """A path of so many iterations, shape (iterations + 1,), with the start first.

    The same seed gives the same path. A move is drawn from 53 bits: probabilities given that the
    state is left err by 2**-53 for each of its moves, in total variation, and times of visits by
    a relative 2**-50 of their mean. Raises ValueError if the iterations are negative or the start
    is not a state.

    >>> simulate([[0.0, 1.0], [1.0, 0.0]], 4, start=1, seed=1).tolist()
    [1, 0, 1, 0, 1]
    """
    chain = as_sparse(chain)
    if iterations < 0:
        raise ValueError(f"a number of iterations is >= 0, got {iterations}")
    state = state_of(chain.size, start)
    rng = np.random.Generator(np.random.Philox(key=seed))
    path = np.empty(iterations + 1, dtype=np.int64)
    at = 0
    while at <= iterations:
        moves = slice(chain.starts[state], chain.starts[state + 1])
        below = np.cumsum(chain.probabilities[moves])
        leaving = float(below[-1]) if below.size else 0.0
        stay = _visit(leaving, float(rng.standard_exponential()), iterations + 1 - at)
        path[at : at + stay] = state
        at += stay
        if at <= iterations:
            place = np.searchsorted(below, (1.0 - float(rng.random())) * leaving)
            state = int(chain.targets[moves][place])
    return path


def entropy_rate(chain: AnyChain) -> float:
    """- sum pi_i P_ij ln P_ij, in nats for each iteration: what is new in the next state.

    A sum of non-negative terms: ln P_ii is found from the probability of leaving. Relative error
    below that of the law and (n + 4) 2**-53, but for terms of P_ij near one by moves that are
    rounded. Raises ValueError if there is more than one recurrent class.

    >>> round(entropy_rate([[0.5, 0.5], [0.5, 0.5]]) / math.log(2), 12)
    1.0
    """
    law, chain = stationary_distribution(chain), as_sparse(chain)
    source, probabilities = chain.moves.source, chain.probabilities
    leaving = np.bincount(source, probabilities, minlength=chain.size)
    stays = leaving < 1.0
    held = np.zeros(chain.size)
    held[stays] = -(1.0 - leaving[stays]) * np.log1p(-leaving[stays])
    return math.fsum(law * held) + math.fsum(law[source] * -probabilities * np.log(probabilities))


def _visit(leaving: float, exponential: float, most: int) -> int:
    """Iterations of a visit, at most so many."""
    if leaving >= 1.0:
        return 1
    longest = exponential / -math.log1p(-leaving) if leaving > 0.0 else math.inf
    return 1 + int(longest) if longest < most else most
