"""Losses of real models with one gradient for each example, and the laws of their minibatches.

    LinearRegression     F_i(w) = (x_i w - y_i)**2 / 2
    LogisticRegression   F_i(w) = ln(1 + exp(-y_i x_i w)),  y_i = -1 or +1
    TanhNetwork          F_i(w) = -ln softmax(V tanh(U x_i))_(y_i),  w = (U, V) row by row

The laws of their minibatches are in `qtheory.increments.minibatches`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from qtheory.values import own_arrays, rebuilt

Inputs = Float[ndarray, "examples inputs"]
"""One row for each example."""

PerExample = Float[ndarray, "examples"]
"""One real number for each example."""

Weights = Float[ndarray, "weights"]
"""All weights of a model in a row."""

Gradients = Float[ndarray, "examples weights"]
"""Gradient of each example's loss, in loss per weight unit."""

Rows = Int64[ndarray, "rows"]
"""Numbers of examples."""

Labels = Int64[ndarray, "examples"]
"""A whole number for each example, such as its class."""


@runtime_checkable
class Loss(Protocol):
    """A mean of losses, one for each example."""

    @property
    def size(self) -> int:
        """Number of weights."""
        ...

    def losses(self, weights: Weights) -> PerExample:
        """F_i(w)."""
        ...

    def gradients(self, weights: Weights) -> Gradients:
        """The gradient of each F_i at w."""
        ...

    def mean_gradient(self, weights: Weights, rows: Rows) -> Weights:
        """The mean of the gradients of these examples at w, repeated ones counted as often."""
        ...


def _check_examples(inputs: ndarray, answers: ndarray) -> None:
    if inputs.ndim != 2 or inputs.size == 0 or answers.shape != inputs.shape[:1]:
        raise ValueError(
            "examples are a table of inputs and one answer for each row, got shapes "
            f"{inputs.shape} and {answers.shape}"
        )
    if not (np.isfinite(inputs).all() and np.isfinite(answers).all()):
        raise ValueError("inputs and answers are finite, got NaN or infinity")


@dataclass(frozen=True, slots=True, eq=False)
class LinearRegression:
    """Half squared errors. inputs: (n, d); targets: (n,). Raises ValueError if they do not fit."""

    inputs: Inputs
    targets: PerExample

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        own_arrays(self)
        _check_examples(self.inputs, self.targets)

    @property
    def size(self) -> int:
        """d."""
        return self.inputs.shape[1]

    def losses(self, weights: Weights) -> PerExample:
        """(x_i w - y_i)**2 / 2."""
        return 0.5 * (self.inputs @ weights - self.targets) ** 2

    def gradients(self, weights: Weights) -> Gradients:
        """(x_i w - y_i) x_i."""
        return (self.inputs @ weights - self.targets)[:, None] * self.inputs

    def mean_gradient(self, weights: Weights, rows: Rows) -> Weights:
        """Mean of (x_i w - y_i) x_i over the rows."""
        x = self.inputs[rows]
        return (x @ weights - self.targets[rows]) @ x / len(rows)


@dataclass(frozen=True, slots=True, eq=False)
class LogisticRegression:
    """Two classes. inputs: (n, d); signs: (n,), -1 or +1. Raises ValueError if they do not fit."""

    inputs: Inputs
    signs: PerExample

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        own_arrays(self)
        _check_examples(self.inputs, self.signs)
        if not (np.abs(self.signs) == 1).all():
            raise ValueError(f"the sign of a class is -1 or +1, got {np.unique(self.signs)}")

    @property
    def size(self) -> int:
        """d."""
        return self.inputs.shape[1]

    def losses(self, weights: Weights) -> PerExample:
        """ln(1 + exp(-y_i x_i w))."""
        return np.logaddexp(0.0, -self.signs * (self.inputs @ weights))

    def gradients(self, weights: Weights) -> Gradients:
        """-y_i x_i / (1 + exp(y_i x_i w))."""
        margin = self.signs * (self.inputs @ weights)
        return (-self.signs * special.expit(-margin))[:, None] * self.inputs

    def mean_gradient(self, weights: Weights, rows: Rows) -> Weights:
        """Mean of -y_i x_i / (1 + exp(y_i x_i w)) over the rows."""
        x, y = self.inputs[rows], self.signs[rows]
        return (-y * special.expit(-y * (x @ weights))) @ x / len(rows)


@dataclass(frozen=True, slots=True, eq=False)
class TanhNetwork:
    """One hidden layer of tanh units and softmax, without biases (give a constant input for one).

    inputs: (n, d); labels: (n,), 0..classes-1. Weights are U (hidden, d), then V (classes,
    hidden), row by row. Raises ValueError if the examples do not fit, a label is not a class, or
    there is no hidden unit.
    """

    inputs: Inputs
    labels: Labels
    hidden: int
    classes: int

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        own_arrays(self)
        _check_examples(self.inputs, self.labels)
        if self.hidden < 1:
            raise ValueError(f"a network has at least one hidden unit, got {self.hidden}")
        if self.labels.min() < 0 or self.labels.max() >= self.classes:
            raise ValueError(
                f"a label is in 0..{self.classes - 1}, got {self.labels.min()}..{self.labels.max()}"
            )

    @property
    def size(self) -> int:
        """hidden (d + classes)."""
        return self.hidden * (self.inputs.shape[1] + self.classes)

    def _layers(self, weights: Weights) -> tuple[ndarray, ndarray]:
        first = self.hidden * self.inputs.shape[1]
        return weights[:first].reshape(self.hidden, -1), weights[first:].reshape(self.classes, -1)

    def logits(self, weights: Weights) -> ndarray:
        """V tanh(U x_i), shape (examples, classes)."""
        first, second = self._layers(weights)
        return np.tanh(self.inputs @ first.T) @ second.T

    def losses(self, weights: Weights) -> PerExample:
        """-ln softmax(logits) at the label."""
        logits = self.logits(weights)
        own = np.take_along_axis(logits, self.labels[:, None], axis=1)[:, 0]
        return np.logaddexp.reduce(logits, axis=1) - own

    def gradients(self, weights: Weights) -> Gradients:
        """By back-propagation: e = softmax - one_hot; e h' for V, (V' e)(1 - h**2) x' for U."""
        h, e, back = self._signals(weights, np.arange(len(self.labels)))
        of_first = back[:, :, None] * self.inputs[:, None, :]
        of_second = e[:, :, None] * h[:, None, :]
        return np.concatenate([of_first.reshape(len(e), -1), of_second.reshape(len(e), -1)], axis=1)

    def mean_gradient(self, weights: Weights, rows: Rows) -> Weights:
        """The same, averaged over the rows by two matrix products."""
        h, e, back = self._signals(weights, rows)
        return np.concatenate([(back.T @ self.inputs[rows]).ravel(), (e.T @ h).ravel()]) / len(rows)

    def _signals(self, weights: Weights, rows: Rows) -> tuple[ndarray, ndarray, ndarray]:
        """Hidden units, errors of the outputs, and errors of the hidden units."""
        first, second = self._layers(weights)
        h = np.tanh(self.inputs[rows] @ first.T)
        logits = h @ second.T
        e = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
        e[np.arange(len(e)), self.labels[rows]] -= 1.0
        return h, e, (e @ second) * (1.0 - h * h)
