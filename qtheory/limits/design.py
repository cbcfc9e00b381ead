"""A design rule: learning rate, batch size and nonlinearity from the exact law of the minibatch.

A weight with curvature V, moved by a walker under minibatch gradients, relaxes at the rate
2 V v an iteration (its squared distance), v = gain lr its speed, and settles at the temperature T
of `qtheory.limits.diffusion`; a quadratic loss then has V <w**2> / 2 = T / 2 for each weight.
After N examples in batches of B, that is N / B iterations, the expected excess loss of d weights
is about

    E(N) = d T / 2 + (E(0) - d T / 2) exp(-2 V v N / B).

Only the exact law of the minibatch gradient enters T and v: no shape of the noise is assumed.
Rounding at small steps has T = s E|e_B| / 2 ~ B**(-1/2) and v = lr whatever the noise, so

    the learning rate is free up to lr |e| ~ s: take it as large as that,
    the batch is what anneals: B as large as N / B iterations at that speed still forget the start,
    the nonlinearity pays where gradients have heavy tails (small batches): equal speed at a lower
    temperature.

Our rule; no paper states it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from qtheory.algorithms.base import Spec, law, steepness
from qtheory.increments import FiniteIncrements
from qtheory.increments.losses import Gradients
from qtheory.increments.minibatches import lattice_minibatch_increments
from qtheory.limits.diffusion import REACH, unbounded

SMOOTHING = 0.02
"""Most shift of the mean, in spacings, over which a finite law's gain is measured."""


class Motion(NamedTuple):
    """What a walker makes of a law of gradients."""

    speed: float  # gain lr: weight units an iteration for each unit of mean gradient
    temperature: float  # in units of the loss


class Choice(NamedTuple):
    """A way to train, and the excess loss that is expected of it."""

    spec: Spec
    learning_rate: float
    batch_size: int
    loss: float


def motion(spec: Spec, increments: FiniteIncrements, learning_rate: float) -> Motion:
    """Speed and temperature under a finite law of increments, its mean taken out.

    increments: of learning rate 1, minus the gradients; learning_rate: > 0. The gain is a central
    difference over h = min(0.02, 0.1 / m) spacings to either side: of tanh(m f) it is off by less
    than (m h)**2 / 3 = 0.3 %, and atoms nearer than h to a whole spacing count as smeared over h.
    The temperature is infinite if the gain is not positive.
    Raises ValueError if the learning rate is not positive and finite.

    >>> from qtheory import Lattice, StochasticRounding
    >>> coin = FiniteIncrements(np.array([-1.0, 1.0]), np.array([0.5, 0.5]))
    >>> got = motion(StochasticRounding(Lattice.ternary()), coin, 0.1)
    >>> round(got.speed, 12), round(got.temperature, 12)
    (0.1, 0.5)
    """
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"a learning rate is positive and finite here, got {learning_rate}")
    spacing = spec.lattice.spacing
    centred = increments.values - increments.probabilities @ increments.values
    walker, k = unbounded(spec), np.arange(-REACH, REACH + 1.0)

    def moments(shift: float) -> tuple[float, float]:
        laws = law(walker, REACH, learning_rate * centred + shift * spacing)
        moves = increments.probabilities @ laws
        return float(moves @ k), float(moves @ k**2)

    h = min(SMOOTHING, 0.1 / steepness(spec))
    slope = (moments(h)[0] - moments(-h)[0]) / (2.0 * h)
    speed = slope * learning_rate
    square = spacing**2 * moments(0.0)[1]
    return Motion(speed, square / (2.0 * speed) if speed > 0 else math.inf)


def expected_excess(
    motions: Iterable[Motion], curvature: float, start: float, iterations: float
) -> float:
    """E after so many iterations for weights with these motions, sharing start and curvature.

    start: E(0), of all weights together. A weight without a finite temperature keeps its share.
    Raises ValueError if there is no weight.

    >>> expected_excess([Motion(0.1, 0.5), Motion(0.1, 0.5)], 1.0, 3.0, 1e9)
    0.5
    """
    total, each = 0.0, list(motions)
    if not each:
        raise ValueError("an excess loss is that of at least one weight, got none")
    for speed, temperature in each:
        left = math.exp(-2.0 * curvature * max(speed, 0.0) * iterations)
        floor = 0.5 * temperature if math.isfinite(temperature) else 0.0
        total += floor * (1.0 - left) + start / len(each) * left
    return total


def rank(
    gradients: Gradients,
    candidates: Iterable[tuple[Spec, float, int]],
    curvature: float,
    start: float,
    examples: float,
) -> list[Choice]:
    """Candidates (spec, learning rate, batch size), the least expected excess loss first.

    gradients: of every example in some weights, (n, weights), at a typical point of training.
    curvature: of the mean loss along a weight; start: E(0), the share of these weights; examples:
    N, drawn with replacement. The law of each weight's minibatch is that of gradients rounded to
    1/100 of their range. Weights whose gradient is always 0 are left out.
    Raises ValueError if a learning rate or a batch does not fit, or nothing is left.
    """
    columns = [g for g in gradients.T if np.ptp(g) > 0]
    laws: dict[int, list[FiniteIncrements]] = {}
    choices: list[Choice] = []
    for spec, learning_rate, batch in candidates:
        if batch not in laws:
            laws[batch] = [
                lattice_minibatch_increments(
                    g, batch, 1.0, float(np.ptp(g)) / 100, replacement=True
                )
                for g in columns
            ]
        motions = [motion(spec, each, learning_rate) for each in laws[batch]]
        excess = expected_excess(motions, curvature, start, examples / batch)
        choices.append(Choice(spec, learning_rate, batch, excess))
    return sorted(choices, key=lambda choice: choice.loss)


def largest_batch(
    examples: float, spacing: float, curvature: float, std: float, ratio: float, load: float = 0.5
) -> float:
    """The largest batch that still forgets the start, (2 V x s N / (std ln(ratio)))**2.

    The learning rate is taken at the load x: lr std / sqrt(B) = x s. Then the exponent above is
    2 V x s N / (std sqrt(B)), and a start `ratio` times above the floor needs ln(ratio) of it. So
    the batch grows with the square of the number of examples N, and the floor falls like 1 / N.
    curvature: V; std: of one example's gradient; ratio: > 1, E(0) over the floor.
    Raises ValueError if the ratio is not above one.

    >>> round(largest_batch(1e4, 0.1, 0.5, 5.0, math.exp(2.0)), 6)
    2500.0
    """
    if not ratio > 1:
        raise ValueError(f"a start is above the floor by a ratio > 1, got {ratio}")
    return (2.0 * curvature * load * spacing * examples / (std * math.log(ratio))) ** 2
