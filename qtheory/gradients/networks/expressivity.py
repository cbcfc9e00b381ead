"""Stair networks that approximate Lipschitz functions: built, counted and measured [leonardi2020].

Heaviside is H(z) = 1 if z >= 0, else 0 (tie rule: a pre-activation at its threshold fires).
For f on [0, 1)**d and N cells a side, the network is

    layer 1   d N neurons      h[j, k] = H(x[j] - k / N), k = 0 .. N - 1         weights 0, 1
    layer 2   N**d neurons     H(sum_j (h[j, c_j] - h[j, c_j + 1]) - (d - 1/2))  weights -1, 0, 1
              one per cell c; the second term is absent for c_j = N - 1
    output    sum over cells of f(centre of c), no bias

Exactly one neuron of layer 2 fires, that of the cell of x, so that

    sup abs(net - f) <= Lip sqrt(d) / (2 N)        Lip: Lipschitz constant in the Euclidean norm

and f(x) = sum_j x[j] / sqrt(d) attains it. Output weights rounded to a lattice of spacing a add
at most a / 2. The paper states an approximation theorem of this kind; this construction and its
constants are ours, not verified against the print.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int8
from numpy import ndarray

Inputs = Float[ndarray, "points inputs"]
Values = Float[ndarray, " points"]
Function: TypeAlias = Callable[[Inputs], Values]
"""A function on the cube, of many points at once."""

MOST_CELLS = 2**16


@dataclass(frozen=True, slots=True)
class CellNetwork:
    """Two hidden layers of Heaviside neurons and a linear output.

    first: 0 or 1, shape (d N, d); offsets: what layer 1 compares with, shape (d N,), in units of
    the input. second: -1, 0 or 1, shape (N**d, d N); it compares with d - 1/2. outputs: the output
    weights, shape (N**d,), in units of f.
    """

    cells: int
    first: Int8[ndarray, "neurons inputs"]
    offsets: Float[ndarray, " neurons"]
    second: Int8[ndarray, "cells neurons"]
    outputs: Float[ndarray, " cells"]

    @property
    def dimension(self) -> int:
        """Number of inputs."""
        return self.first.shape[1]

    @property
    def neurons(self) -> tuple[int, int]:
        """Neurons of the two hidden layers."""
        return self.first.shape[0], self.second.shape[0]

    @property
    def nonzeros(self) -> int:
        """Weights of layer 2 that are not 0: 2 d N**d - d N**(d - 1)."""
        return int(np.count_nonzero(self.second))

    def fired(self, points: Inputs) -> Int8[ndarray, "points cells"]:
        """Layer 2 at the points, by the two matrix products; one-hot on [0, 1)**d."""
        hidden = (points @ self.first.T >= self.offsets).astype(np.float32)
        sums = hidden @ self.second.T.astype(np.float32)
        return (sums >= self.dimension - 0.5).astype(np.int8)

    def __call__(self, points: Inputs) -> Values:
        """Output of the network at the points."""
        return self.fired(points) @ self.outputs


def build(f: Function, dimension: int, cells: int) -> CellNetwork:
    """The network of f. cells: N, on a side.

    Raises ValueError if a size is below 1 or there are more than 2**16 cells in all.

    >>> network = build(lambda x: x.sum(axis=1), dimension=2, cells=8)
    >>> network.neurons, network.nonzeros
    ((16, 64), 240)
    """
    if dimension < 1 or cells < 1:
        raise ValueError(f"a network has inputs and cells, got {dimension} and {cells}")
    if cells**dimension > MOST_CELLS:
        raise ValueError(f"a network has at most {MOST_CELLS} cells, got {cells**dimension}")
    corners = np.indices((cells,) * dimension).reshape(dimension, -1).T
    rows = np.arange(len(corners))
    second = np.zeros((len(corners), dimension * cells), dtype=np.int8)
    for j in range(dimension):
        here = j * cells + corners[:, j]
        inner = corners[:, j] < cells - 1
        second[rows, here] = 1
        second[rows[inner], here[inner] + 1] = -1
    return CellNetwork(
        cells=cells,
        first=np.repeat(np.eye(dimension, dtype=np.int8), cells, axis=0),
        offsets=np.tile(np.arange(cells) / cells, dimension),
        second=second,
        outputs=np.asarray(f((corners + 0.5) / cells), dtype=np.float64),
    )


def quantised(network: CellNetwork, spacing: float) -> CellNetwork:
    """The network with output weights rounded to multiples of the spacing (ties to even).

    Each moves by at most half a spacing and one of them is the output, so the error grows by at
    most half a spacing. Raises ValueError if the spacing is not positive and finite.
    """
    if not (math.isfinite(spacing) and spacing > 0):
        raise ValueError(f"a spacing is positive and finite, got {spacing}")
    return replace(network, outputs=np.rint(network.outputs / spacing) * spacing)


def bound(lipschitz: float, dimension: int, cells: int, spacing: float = 0.0) -> float:
    """Lip sqrt(d) / (2 N) + spacing / 2; spacing: of the output weights, 0 if they are real.

    >>> round(bound(1.0, 2, 8), 6), bound(1.0, 1, 8)
    (0.088388, 0.0625)
    """
    return 0.5 * lipschitz * math.sqrt(dimension) / cells + 0.5 * spacing


def cells_for(accuracy: float, lipschitz: float, dimension: int) -> int:
    """Least N whose bound is at most the accuracy: ceil(Lip sqrt(d) / (2 accuracy)).

    Raises ValueError if the accuracy is not positive.

    >>> cells_for(0.0625, 1.0, 1), cells_for(0.0625, 1.0, 2)
    (8, 12)
    """
    if not accuracy > 0:
        raise ValueError(f"an accuracy is positive, got {accuracy}")
    return math.ceil(lipschitz * math.sqrt(dimension) / (2 * accuracy))


def probes(network: CellNetwork, others: int, seed: int) -> Inputs:
    """Points to measure at: the lowest corner of every cell, where an increasing function is
    farthest from its value at the centre, and others drawn uniformly, from a seed."""
    corners = np.indices((network.cells,) * network.dimension).reshape(network.dimension, -1).T
    drawn = np.random.default_rng(seed).random((others, network.dimension))
    return np.concatenate([corners / network.cells, drawn])


def error(network: CellNetwork, f: Function, points: Inputs) -> float:
    """Largest abs(net - f) over the points."""
    return float(np.abs(network(points) - f(points)).max())


def extremal(points: Inputs) -> Values:
    """sum_j x[j] / sqrt(d): Lipschitz constant 1, and its network attains the bound."""
    return points.sum(axis=1) / math.sqrt(points.shape[1])


def cones(dimension: int, count: int, seed: int) -> Function:
    """A function of Lipschitz constant 1: the least of many cones, min_i (v_i + norm(x - a_i)).

    Apexes a_i uniform on the cube, values v_i uniform on [0, 1/2], from a seed.
    """
    draws = np.random.default_rng(seed)
    apexes, values = draws.random((count, dimension)), 0.5 * draws.random(count)

    def least(points: Inputs) -> Values:
        steps = points[:, None, :] - apexes
        return (values + np.sqrt((steps * steps).sum(axis=2))).min(axis=1)

    return least
