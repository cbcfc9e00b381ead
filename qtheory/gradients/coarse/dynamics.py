"""Gradient descent on the population with a coarse gradient for the filter [yin2019]."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.gradients.coarse.formulas import (
    Filter,
    Layer,
    Setting,
    between,
    geometry,
    loss,
    output_gradient,
)
from qtheory.gradients.coarse.landscape import spurious_minimum
from qtheory.gradients.coarse.surrogates import Surrogate, coarse_gradient
from qtheory.noise import Smoothing, with_scale
from qtheory.noise.families import check_positive

Rule: TypeAlias = Callable[[Setting], Filter]
"""What is used as gradient in w."""

Series = Float[ndarray, "iterations"]


class Path(NamedTuple):
    """Loss, length |w| and angle (radians) before each iteration and after the last; the end."""

    loss: Series
    length: Series
    angle: Series
    end: Setting


def fixed(surrogate: Surrogate) -> Rule:
    """One surrogate at all times."""
    return lambda at: coarse_gradient(at, surrogate)


def proportional(noise: Smoothing, ratio: float) -> Rule:
    """Noise of that family with scale ratio * |w|. Raises ValueError unless ratio > 0."""
    if not (math.isfinite(ratio) and ratio > 0):
        raise ValueError(f"the ratio of scale to filter is positive and finite, got {ratio}")

    def rule(at: Setting) -> Filter:
        length = float(np.linalg.norm(at.student.filter))
        return coarse_gradient(at, with_scale(noise, ratio * length))

    return rule


def tangential(rule: Rule) -> Rule:
    """A rule without its part along w. The loss does not see |w|, so nothing is lost; |w| grows a
    little, by Pythagoras."""

    def across(at: Setting) -> Filter:
        found, n = rule(at), geometry(at).n
        return found - (found @ n) * n

    return across


def descend(
    start: Setting,
    rule: Rule,
    learning_rate: float,
    iterations: int,
    *,
    normalised: bool = False,
) -> Path:
    """Steps v - rate d loss/dv, w - rate rule, both from the same point.

    normalised: divide w by its length after each. Raises ValueError unless the learning rate is
    positive and there is an iteration; or if w becomes 0.
    """
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"the learning rate is positive and finite, got {learning_rate}")
    if iterations < 1:
        raise ValueError(f"descent has one iteration at least, got {iterations}")
    at = start
    seen = [_seen(at)]
    for _ in range(iterations):
        v = at.student.output - learning_rate * output_gradient(at)
        w = at.student.filter - learning_rate * rule(at)
        at = Setting(at.teacher, Layer(v, w / np.linalg.norm(w) if normalised else w))
        seen.append(_seen(at))
    losses, lengths, angles = np.array(seen).T
    return Path(losses, lengths, angles, at)


def _seen(at: Setting) -> tuple[float, float, float]:
    g = geometry(at)
    return loss(at), g.length, g.angle


def lifetime(size: Callable[[float], float], learning_rate: float, length: float = 1.0) -> float:
    """Iterations until |w| falls from `length` to 0, when the coarse gradient is along w and its
    size is a function of |w|: the integral of d|w| / (rate size), for a rate that tends to 0.

    With K = 2 (m - 1) S**2 / (m + 1)**2 and |w| = 1, at the spurious minimum:

        identity              sqrt(2 pi) / (K rate)
        normal of std s       2 pi (s**2 + 1/3) / (s K rate)
        normal of std c |w|   pi (c + 1 / c) / (K rate).

    Raises ValueError unless rate, length and sizes are positive: else |w| does not reach 0.

    >>> lifetime(lambda length: 0.5, 0.01)
    200.0
    """
    check_positive("a learning rate", learning_rate)
    check_positive("the length of a filter", length)
    points, weights = between(np.array([0.0, length]), 20)
    sizes = [size(float(x)) for x in points]
    check_positive("the size of a gradient along w", min(sizes))
    found = sum(float(w) / s for w, s in zip(weights, sizes, strict=True))
    return round(found / learning_rate, 9)


def near_spurious(teacher: Layer, distance: float, seed: int, length: float = 1.0) -> Setting:
    """A point at a distance from the spurious minimum, in a random direction of (v, w)."""
    minimum = spurious_minimum(teacher, length).student
    away = np.random.default_rng(seed).standard_normal(minimum.output.size + minimum.filter.size)
    away *= distance / float(np.linalg.norm(away))
    v, w = np.split(away, [minimum.output.size])
    return Setting(teacher, Layer(minimum.output + v, minimum.filter + w))
