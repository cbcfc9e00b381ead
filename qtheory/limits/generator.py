"""The limit law of stochastic rounding as the learning rate falls [li2017, Theorem 5].

With g the stochastic gradient at x, s the spacing and T_a the transition matrix at learning rate a,

    (T_a - I) / a  ->  A,    A(x, x + s) = E[(-g_k)^+] / s,    A(x, x - s) = E[g_k^+] / s

in each coordinate k: the generator of a process that moves one coordinate by one level at a time.
The stationary law of T_a tends to that of A, which in one dimension is

    pi(x + s) / pi(x) = E[(-g_x)^+] / E[(g_(x+s))^+].

Quoted from memory, [li2017, Eq. 9] has the two integrals exchanged unless p there is the law of
the step -g: a move up needs a negative gradient (`exchanged=True` gives that form).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.algorithms.base import Spec, law
from qtheory.arrays import Index, Pmf
from qtheory.chain import MarkovChain, OffDiagonal, stationary_distribution
from qtheory.lattice import Lattice
from qtheory.noise import Noise, Points

States = Float[ndarray, "states coordinates"]
"""Points of a product of lattices, the last coordinate running fastest."""

Atoms = Float[ndarray, "atoms coordinates"]
"""Values of a gradient noise, all equally likely, one row for each."""


def generator(
    gradient: Callable[[Points], Points], noise: Noise, lattice: Lattice, *, exchanged: bool = False
) -> OffDiagonal:
    """A off the diagonal, for one weight: rates per unit of learning rate, shape (levels, levels).

    gradient: mean gradient of an array of weights. Moves that leave the lattice are no moves.
    """
    g = gradient(lattice.levels)
    up, down = noise.excess(g) / lattice.spacing, noise.excess(-g) / lattice.spacing
    if exchanged:
        up, down = down, up
    return np.diag(up[:-1], 1) + np.diag(down[1:], -1)


def slowed(rates: OffDiagonal, share: float = 1.0) -> MarkovChain:
    """I + a A with a the given share of the largest learning rate that keeps it non-negative.

    Its stationary law does not depend on the share. Raises ValueError if it is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share of the largest learning rate is in (0, 1], got {share}")
    return MarkovChain(rates * (share / rates.sum(axis=1).max()))


def limit_law(
    gradient: Callable[[Points], Points], noise: Noise, lattice: Lattice, *, exchanged: bool = False
) -> Pmf:
    """The stationary law of A for one weight.

    >>> from qtheory.noise import Uniform
    >>> limit_law(lambda w: 2 * w, Uniform(6.0), Lattice.ternary()).round(6).tolist()
    [0.264706, 0.470588, 0.264706]
    """
    return stationary_distribution(slowed(generator(gradient, noise, lattice, exchanged=exchanged)))


# Several weights that share a gradient


def states_of_product(lattice: Lattice, dimensions: int) -> States:
    """Every point of a product of lattices, shape (size**dimensions, dimensions)."""
    return np.array(list(product(lattice.levels.tolist(), repeat=dimensions)))


def joint_generator(
    gradient: Callable[[States], States], noises: Sequence[Noise], lattice: Lattice
) -> OffDiagonal:
    """A off the diagonal for as many weights as there are noises; only their marginals matter.

    gradient: mean gradient at each state, shapes (states, coordinates).
    """
    g = gradient(states_of_product(lattice, len(noises)))
    falling = [noise.excess(g[:, k]) for k, noise in enumerate(noises)]  # E[(-g)^+]
    rising = [noise.excess(-g[:, k]) for k, noise in enumerate(noises)]
    return _neighbours(np.stack(falling, axis=1), np.stack(rising, axis=1), lattice)


def joint_generator_of_atoms(
    gradient: Callable[[States], States], atoms: Atoms, lattice: Lattice
) -> OffDiagonal:
    """A off the diagonal for a gradient that is its mean plus one of the atoms."""
    g = gradient(states_of_product(lattice, atoms.shape[1]))[:, None, :] + atoms
    return _neighbours(np.maximum(-g, 0.0).mean(axis=1), np.maximum(g, 0.0).mean(axis=1), lattice)


def _neighbours(falling: States, rising: States, lattice: Lattice) -> OffDiagonal:
    """Rates falling / s to the level above and rising / s to that below, in each coordinate."""
    count, dimensions = falling.shape
    rates = np.zeros((count, count))
    state: Index = np.arange(count, dtype=np.int64)
    for k in range(dimensions):
        stride = lattice.size ** (dimensions - 1 - k)
        position = state // stride % lattice.size
        up, down = state[position < lattice.size - 1], state[position > 0]
        rates[up, up + stride] = falling[up, k] / lattice.spacing
        rates[down, down - stride] = rising[down, k] / lattice.spacing
    return rates


def joint_chain(
    gradient: Callable[[States], States], atoms: Atoms, spec: Spec, learning_rate: float
) -> MarkovChain:
    """The exact chain of weights that a spec moves at once, as a dense matrix.

    The gradient is its mean plus one of the atoms; given it, coordinates move independently.
    """
    dimensions = atoms.shape[1]
    points = states_of_product(spec.lattice, dimensions)
    indices = spec.lattice.nearest(points)
    moves = np.zeros((len(points), len(points)))
    mean = gradient(points)
    for state, index in enumerate(indices):
        for atom in atoms:
            row = np.ones(1)
            for k in range(dimensions):
                increment = -learning_rate * float(mean[state, k] + atom[k])
                row = np.multiply.outer(row, law(spec, int(index[k]), increment)).ravel()
            moves[state] += row / len(atoms)
    np.fill_diagonal(moves, 0.0)
    return MarkovChain(moves / np.maximum(moves.sum(axis=1, keepdims=True), 1.0))
