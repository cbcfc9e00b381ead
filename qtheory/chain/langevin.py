"""Discrete Langevin proposals, with and without the Metropolis test [zhang2022; not
verified against the print].

From a state x on a product of levels each coordinate is drawn by itself:

    q_k(y_k | x) ~ exp(-V_k'(x) (y_k - x_k) / (2 T) - (y_k - x_k)**2 / (2 a))

with V' the gradient of the energy and a the step. Accepted with the probability

    min(1, e^(-(V(y) - V(x)) / T) q(x | y) / q(y | x))

the law is that of Gibbs. If every proposal is taken, it is not: for a quadratic energy the error
vanishes as the step goes to 0, like exp(-spacing**2 / (2 a)); for others it does not vanish, as
half of V'(x) (y - x) + V'(y) (y - x) is then not V(y) - V(x).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.arrays import TransitionMatrix
from qtheory.chain.markov import MarkovChain

Points = Float[ndarray, "states dimension"]
"""Values of all coordinates in many states, in weight units."""

PerAxis = Float[ndarray, "per_axis"]
"""The levels of every coordinate, in weight units."""


def lattice_points(levels: PerAxis, dimension: int) -> Points:
    """All states of {levels}**dimension, the first coordinate slowest.

    >>> lattice_points(np.array([0.0, 1.0]), 2).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    grids = np.meshgrid(*[levels] * dimension, indexing="ij")
    return np.stack([grid.ravel() for grid in grids], axis=1)


def langevin_proposal(
    gradient: Callable[[Points], Points],
    levels: PerAxis,
    dimension: int,
    temperature: float,
    step: float,
) -> TransitionMatrix:
    """q(y | x) on {levels}**dimension, rows summing to one.

    gradient: of the energy, from states (states, dimension) to the same shape. step: a, in squared
    weight units. Off the diagonal entries are products of `dimension` normalised exponentials.
    Raises ValueError if temperature or step is not positive.

    >>> langevin_proposal(np.zeros_like, np.array([0.0, 1.0]), 1, 1.0, 0.5 / np.log(3)).round(12)
    array([[0.75, 0.25],
           [0.25, 0.75]])
    """
    for name, value in (("a temperature", temperature), ("a step", step)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} is positive and finite, got {value}")
    points = lattice_points(levels, dimension)
    slope = gradient(points)
    proposal = np.ones((len(points), 1))
    for k in range(dimension):
        move = levels[None, :] - points[:, k : k + 1]
        exponent = -slope[:, k : k + 1] * move / (2 * temperature) - move**2 / (2 * step)
        weight = np.exp(exponent - exponent.max(axis=1, keepdims=True))
        pmf = weight / weight.sum(axis=1, keepdims=True)
        proposal = (proposal[:, :, None] * pmf[:, None, :]).reshape(len(points), -1)
    return proposal


def unadjusted(proposal: TransitionMatrix) -> MarkovChain:
    """The chain that takes every proposal; `metropolis_hastings` of it has the law of Gibbs."""
    moves = proposal.copy()
    np.fill_diagonal(moves, 0.0)
    return MarkovChain(moves / np.maximum(moves.sum(axis=1, keepdims=True), 1.0))
