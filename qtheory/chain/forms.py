"""The forms of a chain, and the one door through which all functions take it.

MarkovChain, BirthDeathChain, BandedChain, SparseChain    as they are stored
another value with a size and to_dense                    as its matrix
an array, nested lists, a matrix of scipy.sparse          `from_transition_matrix`
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Protocol, TypeAlias, overload, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.chain.banded import BandedChain
from qtheory.chain.birth_death import BirthDeathChain
from qtheory.chain.markov import MarkovChain, graph
from qtheory.chain.sparse import SparseChain, SparseMatrix

MAX_DENSE = 20_000
"""Most states of a chain that is written out as a matrix, 3 GiB."""

Sums = Float[ndarray, "levels"]


@runtime_checkable
class Structured(Protocol):
    """A chain that is stored in another form than a matrix."""

    @property
    def size(self) -> int:
        """Number of states."""
        ...

    def to_dense(self) -> MarkovChain:
        """The same chain as a matrix."""
        ...


DenseMatrix: TypeAlias = ndarray | Sequence[Sequence[float | Fraction]] | Sequence[ndarray]
"""A transition matrix with its diagonal, as an array of any real type or as nested lists."""

AnyChain: TypeAlias = MarkovChain | Structured | SparseMatrix | DenseMatrix
"""A chain in whatever form."""

Stored: TypeAlias = MarkovChain | BirthDeathChain | BandedChain | SparseChain
"""A chain in a form that classes, laws and hitting are worked out for."""


@overload
def from_transition_matrix(matrix: DenseMatrix, *, normalise: bool = False) -> MarkovChain: ...
@overload
def from_transition_matrix(matrix: SparseMatrix, *, normalise: bool = False) -> SparseChain: ...
def from_transition_matrix(
    matrix: DenseMatrix | SparseMatrix, *, normalise: bool = False
) -> MarkovChain | SparseChain:
    """The chain of a full matrix, whose diagonal is dropped: it is implied.

    matrix: (n, n), rows summing to one: an array of any real type, nested lists, or a matrix or
    array of scipy.sparse in any format, which makes a `SparseChain`.
    normalise: divide each row by its sum, and warn by how much rows were off.
    What the diagonal says about a weak link is unused; where probabilities off the diagonal are
    known, make the chain from them.

    Raises ValueError if the matrix is not square, an entry is negative or not finite, or a row's
    sum is further from one than n + 1 roundings: of 2**-52 each, or of the matrix's own type
    (2**-23 in float32).

    >>> from_transition_matrix([[0.75, 0.25], [0.5, 0.5]]).off_diagonal.tolist()
    [[0.0, 0.25], [0.5, 0.0]]
    >>> thirds = np.array([[2 / 3, 1 / 3], [0.0, 1.0]], dtype=np.float32)
    >>> float(from_transition_matrix(thirds).off_diagonal[0, 1])
    0.3333333432674408
    """
    if isinstance(matrix, SparseMatrix):
        return _from_sparse(matrix, normalise)
    given = np.asarray(matrix)
    full = _real(given)
    if full.ndim != 2 or full.shape[0] != full.shape[1] or full.size == 0:
        raise ValueError(f"a chain is a square matrix, at least 1 by 1, got {full.shape}")
    bad = ~np.isfinite(full) | (full < 0)
    if bad.any():
        i, j = np.argwhere(bad)[0].tolist()
        raise ValueError(f"probabilities are finite and >= 0, got {full[i, j]} at ({i}, {j})")
    sums = full.sum(axis=1)
    if _is_off(sums, _rounding(given.dtype), normalise):
        full /= sums[:, None]
    np.fill_diagonal(full, 0.0)
    return MarkovChain(full / np.maximum(full.sum(axis=1, keepdims=True), 1.0))


def _from_sparse(matrix: SparseMatrix, normalise: bool) -> SparseChain:
    rows: Any = matrix.tocsr()
    if len(rows.shape) != 2 or rows.shape[0] != rows.shape[1] or not rows.shape[0]:
        raise ValueError(f"a chain is a square matrix, at least 1 by 1, got {tuple(rows.shape)}")
    unit, size = _rounding(rows.dtype), int(rows.shape[0])
    rows = rows.astype(_real(rows.data[:1]).dtype, copy=True)
    rows.sum_duplicates()
    source = np.repeat(np.arange(size), np.diff(rows.indptr))
    bad = np.flatnonzero(~np.isfinite(rows.data) | (rows.data < 0))
    if bad.size:
        place = int(source[bad[0]]), int(rows.indices[bad[0]])
        raise ValueError(f"probabilities are finite and >= 0, got {rows.data[bad[0]]} at {place}")
    sums = np.bincount(source, rows.data, minlength=size)
    if _is_off(sums, unit, normalise):
        rows.data /= sums[source]
    rows.data[source == rows.indices] = 0.0
    leaving = np.bincount(source, rows.data, minlength=size)
    rows.data /= np.maximum(leaving, 1.0)[source]
    return SparseChain.from_off_diagonal(rows)


def _real(given: ndarray) -> ndarray:
    """A copy as float64."""
    if given.dtype.kind not in "biufO":
        raise ValueError(f"probabilities are real numbers, got {given.dtype}")
    try:
        return np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"a matrix has rows of numbers, equally many in each, got {given!r}"
        ) from error


def _rounding(kind: np.dtype[Any]) -> float:
    """Distance of one from the next number of a type; of a float's if it is no type of floats."""
    return max(float(np.finfo(kind).eps), 2.0**-52) if kind.kind == "f" else 2.0**-52


def _is_off(sums: Sums, unit: float, normalise: bool) -> bool:
    """Whether rows are to be divided by their sums. Raises ValueError if they should be."""
    worst = int(np.argmax(np.abs(sums - 1.0)))
    off, most = abs(float(sums[worst]) - 1.0), (len(sums) + 1) * unit
    if not normalise:
        if off > most:
            raise ValueError(
                f"rows sum to one, got {float(sums[worst])!r} in row {worst}, off by more than "
                f"{most:.2g}; from_transition_matrix(..., normalise=True) divides rows by their "
                "sums, and MarkovChain takes probabilities off the diagonal"
            )
        return False
    if not sums.min() > 0:
        raise ValueError(f"a row to normalise has a sum > 0, got 0 in row {int(sums.argmin())}")
    if off > most:
        warnings.warn(
            f"rows are divided by their sums, which were off by {off:.3g} at most (row {worst})",
            stacklevel=3,
        )
    return off > 0.0


def as_stored(chain: AnyChain) -> Stored:
    """The chain in a form that hitting and laws know, or else its matrix."""
    if isinstance(chain, MarkovChain | BirthDeathChain | BandedChain | SparseChain):
        return chain
    if isinstance(chain, Structured):
        return dense(chain)
    return from_transition_matrix(chain)


def dense(chain: AnyChain) -> MarkovChain:
    """The chain as a matrix. Raises ValueError if it has more than MAX_DENSE states."""
    if not isinstance(chain, Structured):
        chain = chain if isinstance(chain, MarkovChain) else from_transition_matrix(chain)
    if isinstance(chain, MarkovChain):
        return chain
    if chain.size > MAX_DENSE:
        raise ValueError(f"this needs a matrix, of at most {MAX_DENSE} states, got {chain.size}")
    return chain.to_dense()


def as_sparse(chain: AnyChain) -> SparseChain:
    """The chain by its moves, whatever its form."""
    stored = as_stored(chain)
    if isinstance(stored, SparseChain):
        return stored
    if isinstance(stored, MarkovChain):
        values = stored.off_diagonal[tuple(stored.moves)]
    else:
        one, other = (
            (stored.up, stored.down)
            if isinstance(stored, BirthDeathChain)
            else (stored.above, stored.below)
        )
        values = np.concatenate([one[one > 0], other[other > 0]])
    return SparseChain.from_off_diagonal(graph(stored.moves, stored.size, values))
