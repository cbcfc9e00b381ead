"""Affine maps W x + b between layers, and the arrays that networks pass on.

Rows of an array are points, examples, or paths through a network; columns are features. The
parameters of a map are one vector: its weights row by row, then its bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.values import own_arrays, rebuilt

Features = Float[ndarray, "rows _features"]
"""One vector for each row: inputs, pre-activations, levels or outputs."""

Matrix = Float[ndarray, "_outputs _inputs"]
Bias = Float[ndarray, "_outputs"]
Parameters = Float[ndarray, "_parameters"]
Gradients = Float[ndarray, "rows _parameters"]


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """x -> W x + b. weights: shape (outputs, inputs). bias: shape (outputs,).

    Raises ValueError if the shapes do not fit or a number is not finite.
    """

    weights: Matrix
    bias: Bias

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        own_arrays(self)
        if self.weights.ndim != 2 or self.bias.shape != self.weights.shape[:1]:
            raise ValueError(
                "an affine map has a bias for each row of weights, got shapes "
                f"{self.bias.shape} and {self.weights.shape}"
            )
        if not (np.isfinite(self.weights).all() and np.isfinite(self.bias).all()):
            raise ValueError(f"weights and biases are finite, got {self.weights}, {self.bias}")

    def __call__(self, x: Features) -> Features:
        return x @ self.weights.T + self.bias

    @property
    def norm(self) -> float:
        """The largest sum of abs(w) over a row: the operator norm for max_i abs(x_i).

        >>> Affine(np.array([[1.0, -2.0], [0.5, 0.5]]), np.zeros(2)).norm
        3.0
        """
        return float(np.abs(self.weights).sum(axis=1).max())

    def vector(self) -> Parameters:
        """Weights row by row, then the bias."""
        return np.concatenate([self.weights.ravel(), self.bias])

    def with_vector(self, vector: Parameters) -> Affine:
        """The same shapes, other numbers."""
        count = self.weights.size
        return Affine(vector[:count].reshape(self.weights.shape), vector[count:].copy())


def check_widths(maps: Sequence[Affine]) -> None:
    """Raise ValueError unless there are maps and each takes what the one before gives."""
    shapes = [each.weights.shape for each in maps]
    if not shapes or any(after[1] != before[0] for before, after in pairwise(shapes)):
        raise ValueError(
            "a network has layers, each taking the units of the one before, got weights of shapes "
            f"{shapes}"
        )


def outer(slopes: Features, inputs: Features) -> Gradients:
    """Gradients in the parameters of an affine map, one for each row, from those in its values.

    >>> outer(np.array([[2.0, 1.0]]), np.array([[3.0, 4.0]])).tolist()
    [[6.0, 8.0, 3.0, 4.0, 2.0, 1.0]]
    """
    products = (slopes[:, :, None] * inputs[:, None, :]).reshape(len(slopes), -1)
    return np.concatenate([products, slopes], axis=1)
