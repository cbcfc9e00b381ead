"""Joint chains: d weights that move at once and share a gradient, without their matrix.

The state is the tuple of d indices; there are size**d of them, the first weight slowest. In one
iteration an atom of the noise (a minibatch) is drawn, which with the state decides the increments
of all weights, and each weight then moves by its own random word:

    P(x, y) = sum_a p_a prod_k law(x_k, increment_k(x, a))_(y_k)

Weights are independent given the atom, not otherwise. A state has up to atoms * 2**d successors,
so that a stored matrix is out of reach (3**12 states: 12 GiB) while the products are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from qtheory.arrays import Pmf
from qtheory.chain import joint_kernel, native
from qtheory.chain.joint_kernel import PerAtom, Table
from qtheory.chain.markov import MarkovChain, PerState
from qtheory.lattice import Lattice
from qtheory.values import rebuilt

Weights = Float[ndarray, "states dimension"]
"""Visible weights of many states, in weight units."""

JointIncrements = Float[ndarray, "states atoms dimension"]
"""Increments of all weights in many states, for each atom of the noise, in weight units."""

PerWeight = Float[ndarray, "dimension"]
"""One number for each weight."""

Law: TypeAlias = Callable[[ndarray, ndarray], Pmf]
"""From indices and increments in weight units to laws of the next level, (..., levels)."""

Backend: TypeAlias = Literal["auto", "native", "plain"]

ROWS = 2**13
"""States whose moves are worked out at once."""

MOST_LEVELS, MOST_STATES = 256, 2**31 - 1

DENSE = 4096
"""Most states of which a matrix is made: 128 MiB."""


@runtime_checkable
class Operator(Protocol):
    """A chain known by its products: laws from the left, functions of the state from the right."""

    @property
    def size(self) -> int:
        """Number of states."""
        ...

    @property
    def roundings(self) -> tuple[int, int]:
        """Bounds, in units of 2**-53, of the relative errors of entries of
        `advance(..., compensated=True)` of a law, and of `expect` of a function >= 0."""
        ...

    def advance(self, law: Pmf, *, compensated: bool = False) -> Pmf:
        """law P."""
        ...

    def expect(self, values: PerState) -> PerState:
        """P values."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class JointChain:
    """The chain of d weights trained at once.

    lattice: the levels of each weight. law: from indices and increments, which broadcast, to pmfs
    of at most two levels each. dimension: d. (`qtheory.transition.joint_chain` takes a spec.)
    increments: from weights (states, d) to increments (states, atoms, d), both in weight units;
    a row depends on its own row of weights only. probabilities: of the atoms, (atoms,), >= 0,
    summing to one.
    memory: bytes that may be spent on keeping the moves of all states; else they are worked out
    again in each iteration. backend: "native" insists on compiled loops, "plain" does without,
    "auto" takes them if `joint_kernel.available()`; the two differ by rounding only.

    Raises ValueError if the dimension is not >= 1, there are more than 256 levels, or the
    probabilities are no law; in use, if there are more than 2**31 - 1 states (but for
    `lump_permutations`), increments have another shape, or a law has more than two levels.
    """

    lattice: Lattice
    law: Law
    dimension: int
    increments: Callable[[Weights], JointIncrements]
    probabilities: PerAtom = field(default_factory=lambda: np.ones(1))
    memory: int = 2**26
    backend: Backend = "auto"
    _kept: list[Table] = field(default_factory=list[Table], init=False, repr=False)

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if self.dimension < 1:
            raise ValueError(f"a joint chain has at least one weight, got {self.dimension}")
        if self.lattice.size > MOST_LEVELS:
            raise ValueError(
                f"a joint chain has at most {MOST_LEVELS} levels, got {self.lattice.size}"
            )
        if self.backend not in ("auto", "native", "plain"):
            raise ValueError(f"a backend is auto, native or plain, got {self.backend!r}")
        if self.backend == "native" and not joint_kernel.available():
            raise ValueError(f"the compiled loops were not built: no {native.LIBRARY}")
        atoms = np.array(self.probabilities, dtype=np.float64)
        if atoms.ndim != 1 or atoms.size == 0 or not (np.isfinite(atoms) & (atoms >= 0)).all():
            raise ValueError(f"probabilities of atoms are >= 0, at least one, got {atoms.tolist()}")
        if abs(atoms.sum() - 1.0) > (atoms.size + 1) * 2.0**-52:
            raise ValueError(f"probabilities of atoms sum to one, got {float(atoms.sum())!r}")
        atoms.setflags(write=False)
        object.__setattr__(self, "probabilities", atoms)

    @property
    def size(self) -> int:
        """Number of states, levels**d."""
        return self.lattice.size**self.dimension

    @property
    def roundings(self) -> tuple[int, int]:
        """2 d + 3 of a weight, and three of a compensated sum; or its terms, atoms * 2**d at most,
        which are added plainly, and their products."""
        weight = 2 * self.dimension + 3
        return weight + 3, weight + 1 + len(self.probabilities) * 2**self.dimension

    def indices(self, first: int = 0, count: int | None = None) -> Int[ndarray, "states dimension"]:
        """Indices of the weights in the states first .. first + count - 1, all by default."""
        last = self.size if count is None else first + count
        states = np.arange(first, last)
        place = self.lattice.size ** np.arange(self.dimension - 1, -1, -1)
        return states[:, None] // place % self.lattice.size

    def moves(self, index: Int[ndarray, "states dimension"], first: int = 0) -> Table:
        """Where each weight goes from the given states, and with which chance."""
        increments = np.asarray(self.increments(self.lattice.levels[index]), dtype=np.float64)
        shape = (len(index), len(self.probabilities), self.dimension)
        if increments.shape != shape:
            raise ValueError(f"increments have the shape {shape}, got {increments.shape}")
        near, far, chance = two_levels(self.law, index[:, None, :], increments)
        levels = self.lattice.size
        return Table(levels, first, near, far, chance, self.probabilities)

    def tables(self) -> Iterator[Table]:
        """Moves of all states: kept if there is memory, else worked out part by part."""
        if self.size > MOST_STATES:
            raise ValueError(f"a walk needs at most {MOST_STATES} states, got {self.size}")
        atoms = len(self.probabilities)
        if self._kept:
            yield from self._kept
        elif 10 * self.size * atoms * self.dimension > self.memory:
            rows = max(ROWS // atoms, 1)
            for first in range(0, self.size, rows):
                yield self.moves(self.indices(first, min(rows, self.size - first)), first)
        else:
            self._kept.append(self._whole_table(max(ROWS // atoms, 1)))
            yield from self._kept

    def _whole_table(self, rows: int) -> Table:
        shape = (self.size, len(self.probabilities), self.dimension)
        near, far = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
        chance = np.empty(shape)
        for first in range(0, self.size, rows):
            part = self.moves(self.indices(first, min(rows, self.size - first)))
            here = slice(first, first + rows)
            near[here], far[here], chance[here] = part.near, part.far, part.chance
        return Table(self.lattice.size, 0, near, far, chance, self.probabilities)

    def advance(self, law: Pmf, *, compensated: bool = False) -> Pmf:
        """The law after one iteration, law P, shape (size,).

        Compensated, each entry has a relative error below (2 d + 6) 2**-53; else below
        (2 d + 3 + n) 2**-53, n the number of moves that lead to it.
        Raises ValueError if there is not one number for each state.
        """
        return joint_kernel.advance(
            self.tables(), self._per_state(law), compensated=compensated, compiled=self._compiled
        )

    def expect(self, values: PerState) -> PerState:
        """Mean of a function of the state after one iteration, P values, shape (size,).

        Raises ValueError if there is not one number for each state.
        """
        return joint_kernel.expect(self.tables(), self._per_state(values), compiled=self._compiled)

    def to_dense(self) -> MarkovChain:
        """The same chain with its matrix. Raises ValueError beyond DENSE states."""
        if self.size > DENSE:
            raise ValueError(f"a matrix is made of at most {DENSE} states, got {self.size}")
        matrix = np.zeros((self.size, self.size))
        for table in self.tables():
            for part in joint_kernel.pieces(table):
                row, target, weight = joint_kernel.leaves(part)
                start = part.first + row // len(self.probabilities)
                np.add.at(matrix, (start, target), weight)
        np.fill_diagonal(matrix, 0.0)
        return MarkovChain(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1.0))

    @property
    def _compiled(self) -> bool:
        return self.backend != "plain" and joint_kernel.available()

    def _per_state(self, values: PerState) -> PerState:
        if values.shape != (self.size,):
            raise ValueError(f"one number for each of {self.size} states, got {values.shape}")
        return np.ascontiguousarray(values, dtype=np.float64)


def two_levels(
    law: Law, index: Int[ndarray, "..."], increments: Float[ndarray, "..."]
) -> tuple[UInt8[ndarray, "..."], UInt8[ndarray, "..."], Float[ndarray, "..."]]:
    """Likelier level, the other one, and its probability, at most 1/2: uint8, uint8, float64.

    Raises ValueError if a law has more than two levels.
    """
    pmf = law(index, increments)
    near = pmf.argmax(axis=-1)[..., None]
    rest = pmf.copy()
    np.put_along_axis(rest, near, 0.0, axis=-1)
    if np.count_nonzero(rest, axis=-1).max(initial=0) > 1:
        raise ValueError("a weight of a joint chain has at most two levels to go to, got more")
    far = rest.argmax(axis=-1)[..., None]
    chance = np.take_along_axis(rest, far, axis=-1)[..., 0]
    return near[..., 0].astype(np.uint8), far[..., 0].astype(np.uint8), chance


def quadratic_increments(
    hessian: Float[ndarray, "dimension dimension"],
    minimiser: PerWeight,
    learning_rate: float,
    noise: Float[ndarray, "atoms dimension"] | None = None,
) -> Callable[[Weights], JointIncrements]:
    """Increments -learning_rate (H (w - w*) + e_a) of the loss (w - w*)' H (w - w*) / 2.

    noise: e_a, added to the gradient, one row for each atom; none by default.

    >>> increments = quadratic_increments(np.eye(2), np.array([0.5, 0.0]), 0.5)
    >>> increments(np.array([[1.0, -1.0]])).tolist()
    [[[-0.25, 0.5]]]
    """
    atoms = np.zeros((1, len(minimiser))) if noise is None else noise

    def increments(weights: Weights) -> JointIncrements:
        gradient = (weights - minimiser) @ hessian.T
        return -learning_rate * (gradient[:, None, :] + atoms)

    return increments
