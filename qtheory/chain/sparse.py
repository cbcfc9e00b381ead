"""Sparse chains: states with few moves each, from thousands to a million of them.

States are taken out one after the other, without subtraction, as in `qtheory.chain.elimination`.
New moves appear between the neighbours of each, and how many depends on the order: the next state
is always one of fewest neighbours (minimum degree [amestoy1996]). The order and what it costs are
known before a number is worked out, so that a chain that would need too much memory is refused.
A grid of 10**5 states keeps some 4 million numbers, a ring with jumps of a hundred about as many;
random jumps from everywhere make everything everybody's neighbour, and are refused when many.

The compiled loops carry numbers of two doubles, front by front; the plain one rounds every
operation, and is for some thousand states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from qtheory.arrays import Pmf
from qtheory.chain import native
from qtheory.chain.markov import MarkovChain, Moves, PerState, graph
from qtheory.chain.sparse_plain import BYTES, Elimination, plain_law, plain_totals
from qtheory.chain.states import Mask
from qtheory.values import rebuilt

Starts = Int[ndarray, "_starts"]
Targets = Int[ndarray, "_moves"]
Probabilities = Float[ndarray, "_moves"]
"""Arrays whose lengths the chain itself checks."""

MEMORY = 2**32
"""Bytes that elimination may take unless a chain says otherwise: 4 GiB."""

TOO_LARGE, NO_MEMORY = -2, -3


@runtime_checkable
class SparseMatrix(Protocol):
    """A matrix or array of scipy.sparse, of any format."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        ...

    def tocsr(self) -> Any:
        """The same by rows."""
        ...


class Cost(NamedTuple):
    """What elimination takes. memory: in bytes. numbers: kept. products: multiplications.
    error: a bound of the relative error of each entry of a law, or of times."""

    memory: int
    numbers: int
    products: int
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class SparseChain:
    """A chain on states 0..n-1 by its moves, in rows.

    starts: (n + 1,). State i moves to targets[starts[i] : starts[i + 1]], which increase and are
    not i, with the probabilities of the same places, which are positive.
    memory: bytes that elimination may take.

    Raises ValueError if it is not so, or a state is left with a probability above one; a rounding,
    2**-52, for each of its moves and one more are let pass.

    >>> from scipy.sparse import diags_array
    >>> moves = diags_array([0.5, 0.25], offsets=[1, -1], shape=(3, 3))
    >>> walk = SparseChain.from_off_diagonal(moves)
    >>> walk.starts.tolist(), walk.targets.tolist(), walk.probabilities.tolist()
    ([0, 1, 3, 4], [1, 0, 2, 1], [0.5, 0.25, 0.5, 0.25])
    """

    starts: Starts
    targets: Targets
    probabilities: Probabilities
    memory: int = MEMORY

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        starts, targets = (np.array(a, dtype=np.int64) for a in (self.starts, self.targets))
        probabilities = np.array(self.probabilities, dtype=np.float64)
        count, size = len(targets), len(starts) - 1
        if size < 1 or starts[0] != 0 or starts[-1] != count or (np.diff(starts) < 0).any():
            raise ValueError(f"rows of {count} moves start at 0 and end at {count}, got {starts}")
        if size >= 2**31:
            raise ValueError(f"a sparse chain has fewer than 2**31 states, got {size}")
        if probabilities.shape != (count,):
            raise ValueError(f"{count} moves need as many probabilities, got {len(probabilities)}")
        if not (np.isfinite(probabilities) & (probabilities > 0)).all():
            raise ValueError(f"probabilities are finite and > 0, got {probabilities.min()}")
        source = np.repeat(np.arange(size), np.diff(starts))
        if count and not 0 <= targets.min() <= targets.max() < size:
            worst = targets[(targets < 0) | (targets >= size)][0]
            raise ValueError(f"a move leads to a state in 0..{size - 1}, got {worst}")
        if (source == targets).any():
            at = int(targets[source == targets][0])
            raise ValueError(f"the diagonal of a chain is left out, got a move from {at} to itself")
        if ((np.diff(source) == 0) & (np.diff(targets) <= 0)).any():
            raise ValueError("targets of a row increase, got a row in which they do not")
        leaving = np.bincount(source, probabilities, minlength=size)
        most = int(np.argmax(leaving - np.diff(starts) * 2.0**-52))
        if leaving[most] > 1.0 + (starts[most + 1] - starts[most] + 1) * 2.0**-52:
            raise ValueError(
                f"the probability of leaving a state is at most one, got {float(leaving[most])!r}"
            )
        for name, array in zip(
            ("starts", "targets", "probabilities"), (starts, targets, probabilities), strict=True
        ):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def from_off_diagonal(cls, matrix: SparseMatrix, memory: int = MEMORY) -> SparseChain:
        """The chain of a sparse matrix of the probabilities off the diagonal, which is zero.

        Entries that are zero are left out, and those of one place are added up. A matrix with its
        diagonal goes to `from_transition_matrix`. Raises ValueError as the chain itself does.
        """
        rows = matrix.tocsr().astype(np.float64, copy=True)
        if rows.ndim != 2 or rows.shape[0] != rows.shape[1]:
            raise ValueError(f"a chain is a square matrix, at least 1 by 1, got {rows.shape}")
        rows.sum_duplicates()
        if not (np.isfinite(rows.data) & (rows.data >= 0)).all():
            raise ValueError(f"probabilities are finite and >= 0, got {rows.data.min()}")
        rows.eliminate_zeros()
        return cls(rows.indptr, rows.indices, rows.data, memory)

    @property
    def size(self) -> int:
        """Number of states."""
        return len(self.starts) - 1

    @property
    def staying(self) -> PerState:
        """P_kk, one minus the sum of the others; an absolute error of a rounding for each move."""
        leaving = np.bincount(self.moves.source, self.probabilities, minlength=self.size)
        return np.maximum(1.0 - leaving, 0.0)

    @property
    def moves(self) -> Moves:
        """All pairs (i, j), i != j, with P_ij > 0."""
        return Moves(np.repeat(np.arange(self.size), np.diff(self.starts)), self.targets)

    @property
    def off_diagonal(self) -> Any:
        """A scipy.sparse array by rows; a new one each time."""
        return graph(self.moves, self.size, self.probabilities)

    def to_dense(self) -> MarkovChain:
        """The same chain with its matrix written out, n**2 numbers."""
        matrix = np.zeros((self.size, self.size))
        matrix[tuple(self.moves)] = self.probabilities
        return MarkovChain(matrix)

    def cost(self) -> Cost:
        """What elimination of all states takes, known without doing it.

        If it is above `memory`, the count is of what comes first, and a lower bound. The bound of
        the error is 2**-51 and 2 u for each of d (d + 8), d being the neighbours that a state has
        when it is taken out, with u = 2**-102 compiled and 2**-53 plain.
        """
        return _cost(self)


def _cost(chain: SparseChain) -> Cost:
    library = native.library()
    if library is None:
        steps = Elimination(chain.moves, chain.probabilities, np.ones(chain.size), None)
        degrees = [len(s.to.keys() | s.come_from.keys()) for s in steps.run(chain.memory)]
        numbers, products = sum(degrees), sum(d * d for d in degrees)
        memory, unit = BYTES * numbers, 2.0**-53
    else:
        found = np.zeros(3)
        library.qt_chain_sparse_cost(*_addresses(chain)[:3], float(chain.memory), found.ctypes.data)
        memory, numbers, products = (int(x) for x in found)
        unit = 2.0**-102
    return Cost(memory, numbers, products, 2.0**-51 + 2 * unit * (products + 8.0 * numbers))


def restricted(chain: SparseChain, states: Mask) -> SparseChain:
    """Moves among chosen states, which are numbered anew."""
    number = np.cumsum(states) - 1
    source, target = chain.moves
    kept = states[source] & states[target]
    rows = np.bincount(number[source[kept]], minlength=int(states.sum()))
    starts = np.concatenate([[0], np.cumsum(rows)])
    return SparseChain(starts, number[target[kept]], chain.probabilities[kept], chain.memory)


def sum_into(chain: SparseChain, states: Mask) -> PerState:
    """Probability of a move into a set, from each state."""
    source, target = chain.moves
    return np.bincount(source, chain.probabilities * states[target], minlength=chain.size)


def sparse_law(chain: SparseChain) -> Pmf:
    """The stationary law of an irreducible chain, shape (n,).

    Relative error of each entry: `SparseChain.cost`, by the Markov chain tree theorem: a state
    that is taken out changes the rows of its d neighbours, by a sum, a quotient, a product and a
    sum, and a weight of the law is a sum of products with one entry of each row.
    Raises MemoryError if elimination needs more than `memory` bytes; OverflowError if a state is
    left, for the states taken out after it, with a probability below 2**-900 of its largest.
    """
    library = native.library()
    if library is None:
        return plain_law(chain.moves, chain.probabilities, chain.memory)
    law, cost = np.empty(chain.size), np.zeros(3)
    code = library.qt_chain_sparse_law(
        *_addresses(chain), float(chain.memory), cost.ctypes.data, law.ctypes.data
    )
    _check(code, chain, cost)
    return law


def sparse_total_rewards(chain: SparseChain, exits: PerState, rewards: PerState) -> PerState:
    """Mean total reward from each state until exit, which must be certain, shape (n,).

    Errors as those of `sparse_law`, and raises as it does.
    """
    library = native.library()
    if library is None:
        return plain_totals(chain.moves, chain.probabilities, exits, rewards, chain.memory)
    totals, cost = np.empty(chain.size), np.zeros(3)
    given = [np.ascontiguousarray(a, dtype=np.float64) for a in (exits, rewards)]
    code = library.qt_chain_sparse_totals(
        *_addresses(chain), float(chain.memory), cost.ctypes.data,
        *map(native.address, given), totals.ctypes.data,
    )  # fmt: skip
    _check(code, chain, cost)
    return totals


def _addresses(chain: SparseChain) -> list[int]:
    arrays = chain.starts, chain.targets, chain.probabilities
    return [chain.size, *map(native.address, arrays)]


def _check(code: int, chain: SparseChain, cost: Float[ndarray, "3"]) -> None:
    if code >= 0:
        raise OverflowError(f"elimination underflowed: state {code} is left with probability 0")
    if code == NO_MEMORY:
        raise MemoryError(f"elimination needs {cost[0]:.3g} bytes, more than there is")
    if code == TOO_LARGE:
        _refuse(cost[0], chain.memory)


def _refuse(needed: float, memory: int) -> None:
    raise MemoryError(
        f"elimination of a sparse chain may take {memory} bytes (its field `memory`), "
        f"got one that needs {needed:.3g} or more"
    )
