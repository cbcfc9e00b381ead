"""Laws of the increment that gradient descent proposes at a level: -learning_rate * gradient.

FiniteIncrements       finitely many values, as of minibatches drawn from finitely many examples
ContinuousIncrements   a mean plus symmetric noise with a density

A chain on a lattice needs one law for each level; the `..._at_levels` functions make them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.lattice import Lattice
from qtheory.noise import Noise, Points
from qtheory.values import rebuilt

Values = Float[ndarray, "values"]
"""Finitely many real numbers or their probabilities."""

MAX_MINIBATCH_SUMS = 10**6
"""Most partial sums that an exact minibatch law may keep."""


@dataclass(frozen=True, slots=True, eq=False)
class FiniteIncrements:
    """A law with finitely many values.

    values: increments in weight units; NaN and infinities are allowed, as a law gives them a
    meaning. probabilities: of the same shape, >= 0, summing to one.

    Raises ValueError if the shapes differ or are not (n,) with n >= 1, a probability is negative
    or not finite, or their sum is further from one than n + 1 roundings.
    """

    values: Values
    probabilities: Values

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        probabilities = np.array(self.probabilities, dtype=np.float64)
        if values.ndim != 1 or values.size == 0 or values.shape != probabilities.shape:
            raise ValueError(
                "values and probabilities are two lists of one length >= 1, got shapes "
                f"{values.shape} and {probabilities.shape}"
            )
        if not (np.isfinite(probabilities).all() and (probabilities >= 0).all()):
            raise ValueError(f"probabilities are finite and >= 0, got {probabilities.min()}")
        total = math.fsum(probabilities)
        if abs(total - 1.0) > (values.size + 1) * 2.0**-52:
            raise ValueError(f"probabilities sum to one, got {total!r}")
        values.setflags(write=False)
        probabilities.setflags(write=False)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "probabilities", probabilities)


@dataclass(frozen=True, slots=True)
class ContinuousIncrements:
    """mean + noise. mean: finite, in weight units. noise: a symmetric law in weight units."""

    mean: float
    noise: Noise

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean):
            raise ValueError(f"a mean increment is finite, got {self.mean}")

    def mirrored(self) -> ContinuousIncrements:
        """The law of minus the increment."""
        return ContinuousIncrements(-self.mean, self.noise)

    def density(self, x: Points) -> Points:
        """Density of the increment."""
        return self.noise.density(x - self.mean)

    def above(self, x: Points) -> Points:
        """P(increment > x)."""
        return self.noise.tail(x - self.mean)

    def excess(self, x: Points) -> Points:
        """E[(increment - x)^+]."""
        return self.noise.excess(x - self.mean)

    def deficit(self, x: Points) -> Points:
        """E[(x - increment)^+]."""
        return self.noise.excess(self.mean - x)


Increments: TypeAlias = FiniteIncrements | ContinuousIncrements


def certain(increment: float) -> FiniteIncrements:
    """The law of an increment without noise.

    >>> certain(-0.5).values.tolist()
    [-0.5]
    """
    return FiniteIncrements(np.array([increment]), np.ones(1))


def noisy_increments(gradient: float, learning_rate: float, noise: Noise | None) -> Increments:
    """Law of -learning_rate * (gradient + noise). Without noise, or with learning rate 0, certain.

    gradient: loss per weight unit. noise: of the gradient, in the same unit.
    Raises ValueError if the learning rate is negative or not finite.
    """
    _check_learning_rate(learning_rate)
    if noise is None or learning_rate == 0:
        return certain(-learning_rate * gradient)
    return ContinuousIncrements(-learning_rate * gradient, noise.scaled(learning_rate))


def noisy_increments_at_levels(
    gradient: Callable[[float], float],
    lattice: Lattice,
    learning_rate: float,
    noise: Noise | None = None,
) -> tuple[Increments, ...]:
    """The law of the increment at each level, from the gradient of a loss as a function.

    >>> laws = noisy_increments_at_levels(lambda w: 2 * w, Lattice.ternary(), 0.25)
    >>> [law.values.tolist() for law in laws]
    [[0.5], [-0.0], [-0.5]]
    """
    return tuple(
        noisy_increments(gradient(float(level)), learning_rate, noise) for level in lattice.levels
    )


def minibatch_increments(
    gradients: Values, batch_size: int, learning_rate: float, *, replacement: bool = False
) -> FiniteIncrements:
    """Exact law of -learning_rate * (mean gradient of a random batch), values in increasing order.

    gradients: one for each example, finite. Batches are drawn uniformly, without replacement
    (every subset alike) or with it (every sequence alike). Sums and numbers of batches are whole
    numbers, so batches of equal mean are merged exactly; each value and each probability is
    rounded once.

    Raises ValueError if the batch size does not fit, a gradient is not finite, or the law needs
    more than MAX_MINIBATCH_SUMS partial sums.

    >>> law = minibatch_increments(np.array([0.0, 0.0, 3.0]), 2, 1.0)
    >>> law.values.tolist(), law.probabilities.round(6).tolist()
    ([-1.5, 0.0], [0.666667, 0.333333])
    """
    _check_learning_rate(learning_rate)
    gradients = np.asarray(gradients, dtype=np.float64)
    if gradients.ndim != 1 or gradients.size == 0 or not np.isfinite(gradients).all():
        raise ValueError(f"gradients are a list of finite numbers, at least one, got {gradients}")
    most = None if replacement else gradients.size
    if batch_size < 1 or (most is not None and batch_size > most):
        raise ValueError(f"a batch has 1 to {most or 'any number of'} examples, got {batch_size}")
    unit = _common_unit(gradients)
    ways = _sums(
        [int(Fraction(float(g)) / unit) for g in gradients], batch_size, replacement=replacement
    )
    batches = gradients.size**batch_size if replacement else math.comb(gradients.size, batch_size)
    step = Fraction(learning_rate) * unit / batch_size
    merged: dict[float, int] = {}
    for total, count in ways.items():
        value = float(-step * total)
        merged[value] = merged.get(value, 0) + count
    values = sorted(merged)
    return FiniteIncrements(np.array(values), np.array([merged[v] / batches for v in values]))


def minibatch_increments_at_levels(
    gradients: Callable[[float], Values],
    lattice: Lattice,
    batch_size: int,
    learning_rate: float,
    *,
    replacement: bool = False,
) -> tuple[FiniteIncrements, ...]:
    """The minibatch law at each level; gradients(w) are those of all examples at weight w."""
    return tuple(
        minibatch_increments(
            gradients(float(level)), batch_size, learning_rate, replacement=replacement
        )
        for level in lattice.levels
    )


def _check_learning_rate(learning_rate: float) -> None:
    if not (math.isfinite(learning_rate) and learning_rate >= 0):
        raise ValueError(f"a learning rate is finite and >= 0, got {learning_rate}")


def _common_unit(gradients: Values) -> Fraction:
    """A number of which every gradient is a whole multiple: a power of two, as floats are."""
    return Fraction(1, max(Fraction(float(g)).denominator for g in gradients))


def _sums(gradients: list[int], batch_size: int, *, replacement: bool) -> dict[int, int]:
    """How many batches have each sum of gradients.

    Distinct gradients are taken one after the other. A table at (number drawn, sum) counts the
    ways so far: choosing k of the c examples that share a gradient multiplies them by C(c, k);
    with replacement, k more places in the sequence, each any of the c, by C(drawn + k, k) c**k.
    """
    table: dict[tuple[int, int], int] = {(0, 0): 1}
    for gradient in sorted(set(gradients)):
        shared = gradients.count(gradient)
        after: dict[tuple[int, int], int] = {}
        for (drawn, total), ways in table.items():
            room = batch_size - drawn
            for k in range((room if replacement else min(room, shared)) + 1):
                more = math.comb(drawn + k, k) * shared**k if replacement else math.comb(shared, k)
                key = (drawn + k, total + k * gradient)
                after[key] = after.get(key, 0) + ways * more
            if len(after) > MAX_MINIBATCH_SUMS:
                raise ValueError(
                    f"an exact minibatch law keeps at most {MAX_MINIBATCH_SUMS} sums; batches of "
                    f"{batch_size} from {len(gradients)} examples have more"
                )
        table = after
    return {total: ways for (drawn, total), ways in table.items() if drawn == batch_size}
