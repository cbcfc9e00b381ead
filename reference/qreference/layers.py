"""The layers of a small network, forward and backward, written out by hand.

Rows are examples. A linear layer is y = x W^T with W of shape (outputs, inputs), no bias.
Arrays keep the type they come in, so float64 arrays give gradients that finite differences
can check.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

Batch = Float[ndarray, "examples features"]
Inputs = Float[ndarray, "examples inputs"]
Outputs = Float[ndarray, "examples outputs"]
Weights = Float[ndarray, "outputs inputs"]
Features = Float[ndarray, "features"]
Labels = Int64[ndarray, "examples"]


class Normalised(NamedTuple):
    """Result of batch normalisation, and what its gradient and running averages need."""

    y: Batch
    standard: Batch  # (x - mean) / std
    inverse_std: Features  # 1 / sqrt(variance + epsilon)
    mean: Features
    variance: Features  # biased: divided by the number of examples


def linear(x: Inputs, weights: Weights) -> Outputs:
    """y = x W^T."""
    return x @ weights.T


def linear_gradients(x: Inputs, weights: Weights, dy: Outputs) -> tuple[Inputs, Weights]:
    """Gradients with respect to x and W, given the one with respect to y."""
    return dy @ weights, dy.T @ x


def batch_norm(x: Batch, gain: Features, bias: Features, epsilon: float) -> Normalised:
    """y = gain (x - mean) / sqrt(variance + epsilon) + bias, over the batch [ioffe2015].

    Raises ValueError if there are fewer than two examples.
    """
    if len(x) < 2:
        raise ValueError(f"batch normalisation needs at least two examples, got {len(x)}")
    mean = x.mean(axis=0)
    variance = np.square(x - mean).mean(axis=0)
    inverse_std = 1 / np.sqrt(variance + epsilon)
    standard = (x - mean) * inverse_std
    return Normalised(gain * standard + bias, standard, inverse_std, mean, variance)


def batch_norm_gradients(
    forward: Normalised, gain: Features, dy: Batch
) -> tuple[Batch, Features, Features]:
    """Gradients with respect to x, gain and bias, given the one with respect to y.

    With s the standardised x and g = gain dy, averages taken over the batch:
    dx = (g - mean(g) - s mean(g s)) / sqrt(variance + epsilon).
    """
    s = forward.standard
    g = gain * dy
    dx = forward.inverse_std * (g - g.mean(axis=0) - s * (g * s).mean(axis=0))
    return dx, (dy * s).sum(axis=0), dy.sum(axis=0)


def squared_hinge(scores: Batch, labels: Labels) -> tuple[float, Batch]:
    """L2-SVM loss and its gradient with respect to the scores [deng2018].

    The mean over examples and classes of max(0, 1 - t y)**2, t = +1 for the label's class
    and -1 for the others. Raises ValueError if a label is not the number of a class.

    >>> squared_hinge(np.array([[0.5, -3.0]]), np.array([0]))
    (0.125, array([[-0.5,  0. ]]))
    """
    classes = scores.shape[1]
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        raise ValueError(f"a label is in 0..{classes - 1}, got {wrong[0]}")
    t = 2 * np.eye(classes, dtype=scores.dtype)[labels] - 1
    margin = np.maximum(0, 1 - t * scores)
    return float(np.square(margin).mean()), -2 * t * margin / scores.size
