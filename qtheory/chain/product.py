"""Chains on products of lattices whose coordinates move apart: all at once, or one at a time.

ProductChain      coordinates are independent chains; the matrix is a Kronecker product
SingleSiteChain   in an iteration at most one coordinate moves, by one level; its probabilities may
                  depend on the whole state

For small learning rates r the chain of weights that share a gradient is I + r Q + O(r**2), with Q
the rates of single moves, so that its law tends to that of Q with an error of order r
[li2017, Theorem 5; not verified against the print]: `single_site_limit` makes that chain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.arrays import Pmf
from qtheory.chain.joint import DENSE, JointChain
from qtheory.chain.landscape import Grid
from qtheory.chain.markov import MarkovChain, PerState
from qtheory.chain.stationary import stationary_distribution
from qtheory.values import rebuilt

Moves = Float[ndarray, "dimension *shape"]
"""For each coordinate and state the probability of one level up, or down."""


@dataclass(frozen=True, slots=True)
class ProductChain:
    """Independent chains side by side, the first slowest in the number of a state.

    Raises ValueError if there is no factor.
    """

    factors: tuple[MarkovChain, ...]

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if not self.factors:
            raise ValueError("a product of chains has at least one factor, got none")

    @property
    def shape(self) -> tuple[int, ...]:
        """States of each factor."""
        return tuple(factor.size for factor in self.factors)

    @property
    def size(self) -> int:
        """Number of states, the product of the factors'."""
        return math.prod(self.shape)

    @property
    def roundings(self) -> tuple[int, int]:
        """For each factor, a product and a sum of its states."""
        units = sum(self.shape) + 2 * len(self.shape)
        return units, units

    def advance(self, law: Pmf, *, compensated: bool = False) -> Pmf:
        """law P, factor by factor; sums are short and count as compensated."""
        return self._along(law, [factor.transition_matrix.T for factor in self.factors])

    def expect(self, values: PerState) -> PerState:
        """P values, factor by factor."""
        return self._along(values, [factor.transition_matrix for factor in self.factors])

    def stationary_distribution(self) -> Pmf:
        """The product of the factors' laws, each entry as exact as they are.

        Raises ValueError if a factor has more than one recurrent class. Periodic factors may have
        more laws on the product than this one.
        """
        law = np.ones(1)
        for factor in self.factors:
            law = np.multiply.outer(law, stationary_distribution(factor)).ravel()
        return law

    def _along(self, values: PerState, matrices: list[ndarray]) -> PerState:
        if values.shape != (self.size,):
            raise ValueError(f"one number for each of {self.size} states, got {values.shape}")
        block = values.reshape(self.shape)
        for axis, matrix in enumerate(matrices):
            block = np.moveaxis(np.tensordot(matrix, block, axes=(1, axis)), 0, axis)
        return np.ascontiguousarray(block).ravel()


@dataclass(frozen=True, slots=True, eq=False)
class SingleSiteChain:
    """One coordinate at most moves in an iteration, one level up or down.

    up, down: (d, *shape), entry [k, x] the probability that coordinate k moves in state x; zero
    where it would leave the lattice.
    Raises ValueError if the shapes differ, a probability is negative or not finite, leads off the
    lattice, or a state is left with a probability above one by more than 2 d + 1 roundings.
    """

    up: Moves
    down: Moves

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        up, down = (np.array(a, dtype=np.float64) for a in (self.up, self.down))
        if up.shape != down.shape or up.ndim < 2 or len(up) != up.ndim - 1:
            raise ValueError(
                f"moves have one array of d axes for each of d coordinates, got {up.shape} and "
                f"{down.shape}"
            )
        for moves in (up, down):
            if not (np.isfinite(moves) & (moves >= 0)).all():
                raise ValueError(f"probabilities are finite and >= 0, got {moves.min()}")
            moves.setflags(write=False)
        for k in range(len(up)):
            leaving = float(max(up[k].take(-1, axis=k).max(), down[k].take(0, axis=k).max()))
            if leaving > 0:
                raise ValueError(
                    "no move leaves the lattice, got one along coordinate "
                    f"{k} with probability {leaving}"
                )
        most = float((up + down).sum(axis=0).max())
        if most > 1.0 + (2 * len(up) + 1) * 2.0**-52:
            raise ValueError(f"the probability of leaving a state is at most one, got {most!r}")
        object.__setattr__(self, "up", up)
        object.__setattr__(self, "down", down)

    @property
    def shape(self) -> tuple[int, ...]:
        """Levels of each coordinate."""
        return self.up.shape[1:]

    @property
    def size(self) -> int:
        """Number of states."""
        return math.prod(self.shape)

    @property
    def roundings(self) -> tuple[int, int]:
        """A product and a sum of 2 d + 1 terms, and 2 d for the probability of staying."""
        units = 4 * len(self.up) + 3
        return units, units

    def advance(self, law: Pmf, *, compensated: bool = False) -> Pmf:
        """law P; sums of 2 d + 1 terms count as compensated."""
        before = self._block(law)
        after = before * self._staying()
        for k, (up, down) in enumerate(zip(self.up, self.down, strict=True)):
            low, high = self._neighbours(k)
            after[high] += (before * up)[low]
            after[low] += (before * down)[high]
        return after.ravel()

    def expect(self, values: PerState) -> PerState:
        """P values."""
        now = self._block(values)
        mean = now * self._staying()
        for k, (up, down) in enumerate(zip(self.up, self.down, strict=True)):
            low, high = self._neighbours(k)
            mean[low] += up[low] * now[high]
            mean[high] += down[high] * now[low]
        return mean.ravel()

    def to_dense(self) -> MarkovChain:
        """The same chain with its matrix. Raises ValueError beyond DENSE states."""
        if self.size > DENSE:
            raise ValueError(f"a matrix is made of at most {DENSE} states, got {self.size}")
        index = np.arange(self.size).reshape(self.shape)
        matrix = np.zeros((self.size, self.size))
        for k, (up, down) in enumerate(zip(self.up, self.down, strict=True)):
            low, high = self._neighbours(k)
            matrix[index[low], index[high]] = up[low]
            matrix[index[high], index[low]] = down[high]
        return MarkovChain(matrix)

    def _staying(self) -> ndarray:
        return np.maximum(1.0 - (self.up + self.down).sum(axis=0), 0.0)

    def _neighbours(self, axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """The states that have a next level along the axis, and the states they lead to."""
        before = (slice(None),) * axis
        return (*before, slice(None, -1)), (*before, slice(1, None))

    def _block(self, values: PerState) -> ndarray:
        if values.shape != (self.size,):
            raise ValueError(f"one number for each of {self.size} states, got {values.shape}")
        return values.reshape(self.shape)


def single_site_metropolis(energy: Grid, temperature: float) -> SingleSiteChain:
    """Metropolis on a lattice without its matrix, each neighbour proposed with 1 / (2 d).

    Raises ValueError if the temperature is not positive.

    >>> chain = single_site_metropolis(np.array([0.0, 1.0]), 1 / math.log(4))
    >>> chain.up.round(12).tolist(), chain.down.tolist()
    ([[0.125, 0.0]], [[0.0, 0.5]])
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"a temperature is positive and finite, got {temperature}")
    v = np.asarray(energy, dtype=np.float64)
    up, down = np.zeros((2, v.ndim, *v.shape))
    for k in range(v.ndim):
        rise = np.diff(v, axis=k) / temperature
        before = (slice(None),) * k
        up[(k, *before, slice(None, -1))] = np.exp(-np.maximum(rise, 0.0)) / (2 * v.ndim)
        down[(k, *before, slice(1, None))] = np.exp(-np.maximum(-rise, 0.0)) / (2 * v.ndim)
    return SingleSiteChain(up, down)


def parallel_metropolis(energy: Grid, temperature: float, proposal: float = 1.0) -> MarkovChain:
    """Metropolis on a lattice with all coordinates at once, as weights in training move.

    Each coordinate proposes a neighbour with this probability, up or down equally often, and
    accepts it by the energy that its own move alone would bring. A single coordinate is in detailed
    balance with exp(-V / T); several are not.
    Raises ValueError if the temperature is not positive, the proposal is not in (0, 1], or there
    are more than DENSE states.

    >>> chain = parallel_metropolis(np.zeros((2, 2)), 1.0)  # each goes up or down with 1/2
    >>> chain.off_diagonal[0].tolist()
    [0.0, 0.25, 0.25, 0.25]
    """
    if not 0 < proposal <= 1:
        raise ValueError(f"the probability of a proposal is in (0, 1], got {proposal}")
    alone = single_site_metropolis(energy, temperature)
    if alone.size > DENSE:
        raise ValueError(f"a matrix is made of at most {DENSE} states, got {alone.size}")
    state = np.arange(alone.size)
    matrix = np.ones((alone.size, 1))
    for k, levels in enumerate(alone.shape):
        up, down = (len(alone.shape) * proposal * a[k].ravel() for a in (alone.up, alone.down))
        index = np.unravel_index(state, alone.shape)[k]
        own = np.zeros((alone.size, levels))
        own[state, index] = np.maximum(1.0 - up - down, 0.0)
        own[state, np.minimum(index + 1, levels - 1)] += up
        own[state, np.maximum(index - 1, 0)] += down
        matrix = (matrix[:, :, None] * own[:, None, :]).reshape(alone.size, -1)
    np.fill_diagonal(matrix, 0.0)
    return MarkovChain(matrix)


def single_site_limit(joint: JointChain) -> SingleSiteChain:
    """I + Q for a joint chain of stochastic rounding: E[z_k^+] up and E[z_k^-] down, z the
    increments in spacings.

    To first order in the learning rate the joint chain is this one, and under DST the chain is
    I + m Q; the law of I + Q does not depend on the learning rate if increments are proportional
    to it. Raises ValueError if rates add up to more than one: a smaller learning rate is needed.
    """
    levels = joint.lattice.size
    shape = (levels,) * joint.dimension
    index = joint.indices()
    weights = joint.lattice.levels[index]
    z = np.asarray(joint.increments(weights), dtype=np.float64) / joint.lattice.spacing
    up = np.einsum("a,sak->ks", joint.probabilities, np.maximum(z, 0.0)) * (index.T < levels - 1)
    down = np.einsum("a,sak->ks", joint.probabilities, np.maximum(-z, 0.0)) * (index.T > 0)
    return SingleSiteChain(up.reshape(-1, *shape), down.reshape(-1, *shape))
