"""The Perron root and vectors of a non-negative irreducible matrix, with a bracket of the root.

For any positive vector x, [collatz1942]

    min_i (A x)_i / x_i  <=  root  <=  max_i (A x)_i / x_i

so a vector proves how near it is. The matrix is squared again and again, scaled by powers of two:
k squarings are 2**k iterations of the power method, and products and sums of non-negative
numbers keep the digits of every entry, however small.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.chain.markov import Edges, reaching
from qtheory.chain.mixing import Bounds

NonNegative = Float[ndarray, "n n"]
"""A matrix of non-negative numbers."""

Vector = Float[ndarray, "n"]

MAX_SQUARINGS = 1100
"""Enough for two roots that differ by the smallest float; beyond it they are taken as one."""

LEAST = 2.0**-1000
"""The smallest entry of a vector, relative to the largest."""


class Perron(NamedTuple):
    """root: the spectral radius. left, right: positive vectors, each summing to one.
    bracket: what Collatz' bounds by the right vector give; it is wider by n + 2 roundings."""

    root: float
    left: Vector
    right: Vector
    bracket: Bounds


def perron(matrix: NonNegative) -> Perron:
    """Root and vectors of an irreducible matrix; the bracket bounds the error of the root.

    The vectors are those of a matrix whose entries differ by some n roundings: if another
    root is within n 2**-53 of the first, they are only as well defined as the entries. Entries
    below LEAST of the largest are set to it, and the bracket shows what that costs.
    Raises ValueError if the matrix is not square, has an entry that is negative or not finite, or
    is not irreducible.

    >>> perron(np.array([[0.0, 4.0], [1.0, 0.0]])).root
    2.0
    """
    right, bracket = right_vector(matrix)
    left, _ = right_vector(matrix.T)
    root = float(left @ (matrix @ (right / (left @ right))))
    return Perron(min(max(root, bracket.lower), bracket.upper), left, right, bracket)


def right_vector(matrix: NonNegative) -> tuple[Vector, Bounds]:
    """The right vector and the root's bracket only, at half the price. Raises as `perron` does."""
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"a root needs a square matrix, got shape {matrix.shape}")
    if not (np.isfinite(matrix).all() and (matrix >= 0).all()):
        raise ValueError(f"entries are finite and >= 0, got {matrix.min()}")
    if not irreducible(matrix > 0):
        raise ValueError("a Perron root needs an irreducible matrix, got one that is not")
    exponent = int(np.frexp(matrix.sum(axis=1).max())[1])
    scaled = np.ldexp(matrix, -exponent)
    right = _right(scaled)
    ratios = (scaled @ right) / right
    low, high = np.ldexp([ratios.min(), ratios.max()], exponent).tolist()
    slack = (len(matrix) + 2) * 2.0**-53
    return right, Bounds(low * (1 - slack), high * (1 + slack))


def irreducible(edges: Edges) -> bool:
    """Whether every state can be reached from state 0, and it from every state."""
    size = len(edges)
    first, everywhere = np.arange(size) == 0, np.ones(size, dtype=np.bool_)
    back = reaching(edges, first, everywhere)
    return bool(back.all() and reaching(edges.T, first, everywhere).all())


def _right(matrix: NonNegative) -> Vector:
    """The right vector x, and again for the matrix A_ij x_j / (root x_i), whose rows sum to one
    but for errors of x: what a spread of row sums made inexact is then mended. Not where that
    matrix would lose an entry to underflow."""
    right = _settled(matrix)
    for _ in range(2):
        balanced = matrix * right / right[:, None]
        if (balanced[matrix > 0] < 2.0**-1000).any():
            break
        right = right * _settled(balanced / balanced.sum(axis=1).max())
        right /= right.sum()
    return right


def _settled(matrix: NonNegative) -> Vector:
    """The heaviest column of a power that has become a product x y of two vectors, up to what
    underflows. Half of one on the diagonal, where row sums are at most one, ends oscillations."""
    size = len(matrix)
    power = matrix + 0.5 * np.eye(size)
    vector = np.ones(size)
    for _ in range(MAX_SQUARINGS):
        power = power @ power
        power = np.ldexp(power, -int(np.frexp(power.max())[1]))
        sums = power.sum(axis=0)
        vector = power[:, np.argmax(sums)] / sums.max()
        product = np.outer(vector, sums)
        if (np.abs(power - product) <= 8 * size * 2.0**-53 * product + 2.0**-1000).all():
            break
    return np.maximum(vector, LEAST)
