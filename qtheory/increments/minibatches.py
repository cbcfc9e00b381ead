"""Laws of the minibatch gradients of a model, for one weight or for all together.

A minibatch gradient is the mean over B of the n examples. Its law has finitely many values: it is
enumerated (`joint_minibatches`; `qtheory.increments.minibatch_increments` for one weight), or,
where C(n, B) is too large, worked out exactly for gradients on a lattice of their own
(`lattice_minibatch_increments`): sums of whole numbers are few.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.increments.laws import MAX_MINIBATCH_SUMS, FiniteIncrements, Values
from qtheory.increments.losses import Gradients, Labels, Loss, Weights

ManyWeights = Float[ndarray, "states weights"]
"""All weights of a model in several states."""

ManyIncrements = Float[ndarray, "states atoms weights"]
"""Increments of all weights, for each state and each batch."""


def gradients_along(loss: Loss, weights: Weights, which: int) -> Callable[[float], Values]:
    """Gradients of all examples in one weight, as a function of that weight, the others held.

    For `qtheory.increments.minibatch_increments_at_levels`: the chain of one weight of a model.
    Raises ValueError if there is no such weight.

    >>> from qtheory.increments.losses import LinearRegression
    >>> line = LinearRegression(np.array([[1.0, 1.0], [2.0, 0.0]]), np.array([1.0, 1.0]))
    >>> gradients_along(line, np.array([0.0, 1.0]), 0)(2.0).tolist()
    [2.0, 6.0]
    """
    if not 0 <= which < loss.size:
        raise ValueError(f"a weight is in 0..{loss.size - 1}, got {which}")

    def at(weight: float) -> Values:
        moved = np.array(weights, dtype=np.float64)
        moved[which] = weight
        return loss.gradients(moved)[:, which]

    return at


class JointIncrements(NamedTuple):
    """Finitely many increments of all weights at once: values (atoms, weights), probabilities."""

    values: Float[ndarray, "atoms weights"]
    probabilities: Values


def joint_minibatches(
    gradients: Gradients, batch_size: int, learning_rate: float, *, replacement: bool = False
) -> JointIncrements:
    """Law of -learning_rate * (mean gradient of a random batch) for all weights together.

    One atom for each subset (or each sequence, with replacement), all alike; equal ones are not
    merged. Weights that share a batch move together: only given the batch are they independent.
    Raises ValueError if the batch size does not fit or there are more than 10**6 batches.

    >>> law = joint_minibatches(np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 2.0]]), 2, 0.5)
    >>> law.values.tolist(), law.probabilities.round(4).tolist()
    ([[-0.25, -0.5], [-0.5, -0.5], [-0.25, -1.0]], [0.3333, 0.3333, 0.3333])
    """
    batches = _batches(len(gradients), batch_size, replacement=replacement)
    values = -learning_rate * gradients[batches].mean(axis=1)
    return JointIncrements(values, np.full(len(batches), 1.0 / len(batches)))


def shared_minibatches(
    loss: Loss, batch_size: int, learning_rate: float, *, replacement: bool = False
) -> tuple[Callable[[ManyWeights], ManyIncrements], Values]:
    """The same law as a function of the weights, and the atoms' probabilities.

    The function takes (states, weights) to increments (states, atoms, weights), as a joint chain
    of weights that share a gradient wants it. Raises as `joint_minibatches`.

    >>> from qtheory.increments.losses import LinearRegression
    >>> line = LinearRegression(np.array([[1.0], [2.0]]), np.array([1.0, 1.0]))
    >>> increments, probabilities = shared_minibatches(line, 1, 0.5)
    >>> increments(np.array([[0.0], [2.0]])).tolist(), probabilities.tolist()
    ([[[0.5], [1.0]], [[-0.5], [-3.0]]], [0.5, 0.5])
    """
    examples = len(loss.losses(np.zeros(loss.size)))
    batches = _batches(examples, batch_size, replacement=replacement)

    def increments(weights: ManyWeights) -> ManyIncrements:
        return np.stack([-learning_rate * loss.gradients(w)[batches].mean(axis=1) for w in weights])

    return increments, np.full(len(batches), 1.0 / len(batches))


def _batches(examples: int, batch_size: int, *, replacement: bool) -> ndarray:
    """Every batch as a row of numbers of examples."""
    _check_batch(examples, batch_size, replacement=replacement)
    count = examples**batch_size if replacement else math.comb(examples, batch_size)
    if count > MAX_MINIBATCH_SUMS:
        raise ValueError(f"an enumerated law has at most {MAX_MINIBATCH_SUMS} batches, got {count}")
    some = product(range(examples), repeat=batch_size)
    return np.array(list(some if replacement else combinations(range(examples), batch_size)))


def _check_batch(examples: int, batch_size: int, *, replacement: bool) -> None:
    if batch_size < 1 or not (replacement or batch_size <= examples):
        most = "any number of" if replacement else examples
        raise ValueError(f"a batch has 1 to {most} examples, got {batch_size}")


def lattice_minibatch_increments(
    gradients: Values,
    batch_size: int,
    learning_rate: float,
    unit: float,
    *,
    replacement: bool = False,
) -> FiniteIncrements:
    """The minibatch law of gradients rounded to the nearest multiples of `unit`, ties to even.

    Rounding moves a batch's mean by at most unit / 2; for gradients that are multiples the law is
    exact. Every probability is a sum of products of non-negative numbers, 2 n of them with
    relative error 2**-53 each (n examples; with replacement B (values + 1)).
    Without replacement the examples are met in turn: the next is drawn with probability
    (B - drawn) / (n - met). Cost: n B**2 R, R the range of gradients in units.

    Raises ValueError if a gradient is not finite, the unit not positive, the batch size does not
    fit, or the law has more than 10**6 sums.

    >>> law = lattice_minibatch_increments(np.array([0.0, 0.0, 3.0]), 2, 1.0, 0.5)
    >>> law.values.tolist(), law.probabilities.round(6).tolist()
    ([-1.5, 0.0], [0.666667, 0.333333])
    """
    if gradients.ndim != 1 or gradients.size == 0 or not np.isfinite(gradients).all():
        raise ValueError(f"gradients are a list of finite numbers, at least one, got {gradients}")
    if not (math.isfinite(unit) and unit > 0):
        raise ValueError(f"the unit of gradients is positive and finite, got {unit}")
    _check_batch(gradients.size, batch_size, replacement=replacement)
    wholes = np.rint(gradients / unit).astype(np.int64)
    least = int(wholes.min())
    reach = int(wholes.max()) - least
    if batch_size * reach >= MAX_MINIBATCH_SUMS:
        raise ValueError(
            f"a minibatch law keeps at most {MAX_MINIBATCH_SUMS} sums, got {batch_size * reach}; "
            "a larger unit makes fewer"
        )
    above = wholes - least
    sums = (_with_replacement if replacement else _without_replacement)(above, batch_size)
    seen = np.flatnonzero(sums)[::-1]
    totals = seen + batch_size * least
    law = sums[seen]
    values = -learning_rate * unit * totals / batch_size + 0.0  # no minus zero
    return FiniteIncrements(values, law / law.sum())


def _with_replacement(above: Labels, batch_size: int) -> Values:
    """Probabilities of the sums 0, 1, ... of independent draws."""
    one = np.bincount(above) / above.size
    law = np.ones(1)
    for _ in range(batch_size):
        law = np.convolve(law, one)
    return law


def _without_replacement(above: Labels, batch_size: int) -> Values:
    """Probabilities of the sums 0, 1, ... of a random subset; row k of the table has drawn k."""
    width = batch_size * int(above.max()) + 1
    table = np.zeros((batch_size + 1, width))
    table[0, 0] = 1.0
    drawn = np.arange(batch_size + 1)[:, None]
    for met, gradient in enumerate(above.tolist()):
        left = above.size - met
        taken = table * ((batch_size - drawn) / left)
        table *= np.maximum(left - batch_size + drawn, 0) / left
        table[1:, gradient:] += taken[:-1, : width - gradient]
    return table[batch_size]
