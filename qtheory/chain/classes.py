"""Classes of states, and periods.

States i and j communicate if each can be reached from the other; a class is a maximal set of
such states. A class that cannot be left is recurrent, and a chain with one class is irreducible.

The period of a state is the greatest common divisor of the lengths of all ways back to it; it is
the same for all states of a class. A chain of period d moves in a circle through d cyclic classes,
and its law need not converge.
"""

from __future__ import annotations

from importlib import import_module

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from qtheory.chain.forms import AnyChain, Stored, as_stored
from qtheory.chain.markov import Moves, PerState, graph

Labels = Int[ndarray, "levels"]
"""The number of each state's class."""


def communication_classes(chain: AnyChain) -> list[list[int]]:
    """Classes of communicating states, each in increasing order, by their lowest state.

    >>> communication_classes([[0.5, 0.5], [0.0, 1.0]])
    [[0], [1]]
    """
    chain = as_stored(chain)
    return _classes(_labels(chain.moves, chain.size))


def recurrent_classes(chain: AnyChain) -> list[list[int]]:
    """The classes that cannot be left.

    >>> recurrent_classes([[0.5, 0.5], [0.0, 1.0]])
    [[1]]
    """
    chain = as_stored(chain)
    moves = chain.moves
    labels = _labels(moves, chain.size)
    out = labels[moves.source] != labels[moves.target]
    left = np.zeros(chain.size, dtype=np.bool_)
    left[labels[moves.source[out]]] = True
    return [states for states in _classes(labels) if not left[labels[states[0]]]]


def transient_states(chain: AnyChain) -> list[int]:
    """The states of no recurrent class, in increasing order: they are left for good.

    >>> transient_states([[0.5, 0.5], [0.0, 1.0]])
    [0]
    """
    chain = as_stored(chain)
    stays = {state for states in recurrent_classes(chain) for state in states}
    return sorted(set(range(chain.size)) - stays)


def is_irreducible(chain: AnyChain) -> bool:
    """Whether every state can be reached from every other."""
    chain = as_stored(chain)
    return int(_labels(chain.moves, chain.size).max()) == 0


def require_irreducible(chain: AnyChain, quantity: str) -> None:
    """Raises ValueError, with the recurrent classes, unless each state leads to each other."""
    chain = as_stored(chain)
    classes = recurrent_classes(chain)
    if len(classes) > 1 or len(classes[0]) < chain.size:
        raise ValueError(
            f"{quantity} needs an irreducible chain, got one of {chain.size} states whose "
            "recurrent classes are " + listed(classes)
        )


def listed(classes: list[list[int]]) -> str:
    """Classes for a message: at most ten of them, and ten states of each."""
    shown = [
        str(states) if len(states) <= 10 else f"[{str(states[:10])[1:-1]}, ... {states[-1]}]"
        for states in classes[:10]
    ]
    return ", ".join(shown + ["..."] * (len(classes) > 10))


def holding(chain: Stored) -> PerState:
    """P_ii, where up to m + 1 roundings, 2**-52 each, count as none, m being the state's moves.

    A row of numbers that were rounded misses one by so much; such a state is never meant to stay.
    """
    moves = np.bincount(chain.moves.source, minlength=chain.size)
    stay = chain.staying
    return np.where(stay <= (moves + 1) * 2.0**-52, 0.0, stay)


def period(chain: AnyChain) -> int:
    """Period of the one recurrent class; 1 if the chain is aperiodic.

    By levels of a breadth-first search: the greatest common divisor of level_i + 1 - level_j over
    all moves (i, j). A probability of staying that is all rounding counts as zero (`holding`).
    Raises ValueError, with the classes, if there is more than one recurrent class.

    >>> period(np.roll(np.eye(4), 1, axis=1))
    4
    """
    chain = as_stored(chain)
    states = _recurrent(chain)
    return _period(chain, states, holding(chain))


def is_aperiodic(chain: AnyChain) -> bool:
    """Whether every recurrent class has period 1.

    >>> is_aperiodic([[0.0, 1.0], [1.0, 0.0]]), is_aperiodic([[0.0, 1.0], [0.5, 0.5]])
    (False, True)
    """
    chain = as_stored(chain)
    stay = holding(chain)
    return all(_period(chain, states, stay) == 1 for states in recurrent_classes(chain))


def cyclic_classes(chain: AnyChain) -> list[list[int]]:
    """States of the recurrent class by their turn: from each of them the chain goes to the next.

    >>> cyclic_classes([[0, 0.5, 0.5], [1, 0, 0], [1, 0, 0]])
    [[0], [1, 2]]
    """
    chain = as_stored(chain)
    turns, states = period(chain), _recurrent(chain)
    levels = _levels(chain, states[0])[states]
    order = np.array(states)
    return [order[levels % turns == k].tolist() for k in range(turns)]


def _period(chain: Stored, states: list[int], stay: PerState) -> int:
    if stay[states].any():
        return 1
    inside = np.zeros(chain.size, dtype=np.bool_)
    inside[states] = True
    source, target = chain.moves
    kept = inside[source]
    levels = _levels(chain, states[0])
    steps = np.unique(levels[source[kept]] + 1 - levels[target[kept]])
    return max(int(np.gcd.reduce(steps, initial=0)), 1)


def _levels(chain: Stored, start: int) -> Labels:
    """Fewest moves from a state to each other; -1 where there is no way."""
    order, before = import_module("scipy.sparse.csgraph").breadth_first_order(
        graph(chain.moves, chain.size), start
    )
    levels = np.full(chain.size, -1)
    levels[start] = 0
    for state, parent in zip(order[1:].tolist(), before[order[1:]].tolist(), strict=True):
        levels[state] = levels[parent] + 1
    return levels


def _recurrent(chain: Stored) -> list[int]:
    classes = recurrent_classes(chain)
    if len(classes) > 1:
        raise ValueError(
            f"a period belongs to one recurrent class, got {len(classes)}: {listed(classes)}"
        )
    return classes[0]


def _labels(moves: Moves, size: int) -> Labels:
    connected = import_module("scipy.sparse.csgraph").connected_components
    return connected(graph(moves, size), directed=True, connection="strong")[1]


def _classes(labels: Labels) -> list[list[int]]:
    order = np.argsort(labels, kind="stable")
    ends = np.flatnonzero(np.diff(labels[order])) + 1
    return sorted(states.tolist() for states in np.split(order, ends))
