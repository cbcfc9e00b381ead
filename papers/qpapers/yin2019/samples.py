"""Coarse gradients by Monte Carlo, from their definition, to check every formula [yin2019].

Letters are those of `coarse_gradient`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qpapers.extremes import least
from qtheory.gradients.coarse.formulas import Layer, Setting, loss, output_gradient
from qtheory.gradients.coarse.surrogates import Surrogate, coarse_gradient

CHUNK = 50_000
Row = Float[ndarray, "numbers"]


class Estimate(NamedTuple):
    """Means over independent samples, and their standard errors: the loss, then the gradient in v,
    then the coarse gradient in w of each surrogate."""

    mean: Row
    error: Row


def _samples(
    at: Setting, surrogates: Sequence[Surrogate], count: int, draws: np.random.Generator
) -> Float[ndarray, "count numbers"]:
    """One row for each sample Z, by the chain rule with m' in place of H'."""
    v, w = at.student.output, at.student.filter
    z = draws.standard_normal((count, v.size, w.size))
    seen = z @ w
    fires = (seen > 0) * 1.0
    wrong = fires @ v - ((z @ at.teacher.filter) > 0) @ at.teacher.output
    columns = [0.5 * wrong[:, None] ** 2, wrong[:, None] * fires]
    for surrogate in surrogates:
        back = wrong[:, None] * v * surrogate.density(seen)
        columns.append(np.einsum("sm,smn->sn", back, z))
    return np.concatenate(columns, axis=1)


def estimate(at: Setting, surrogates: Sequence[Surrogate], samples: int, seed: int) -> Estimate:
    """Estimates from so many samples. Raises ValueError unless there are two at least."""
    if samples < 2:
        raise ValueError(f"a standard error needs two samples, got {samples}")
    draws = np.random.default_rng(seed)
    centre = population(at, surrogates)
    sums, squares = np.zeros_like(centre), np.zeros_like(centre)
    for begin in range(0, samples, CHUNK):
        away = _samples(at, surrogates, least((CHUNK, samples - begin)), draws) - centre
        sums += away.sum(axis=0)
        squares += (away**2).sum(axis=0)
    spread = np.sqrt(np.maximum(squares / samples - (sums / samples) ** 2, 0.0))
    return Estimate(centre + sums / samples, spread / np.sqrt(samples - 1.0))


def population(at: Setting, surrogates: Sequence[Surrogate]) -> Row:
    """What is estimated, by the formulas, in the same order."""
    gradients = [coarse_gradient(at, surrogate) for surrogate in surrogates]
    return np.concatenate([[loss(at)], output_gradient(at), *gradients])


def deviations(
    at: Setting, surrogates: Sequence[Surrogate], samples: int, seed: int
) -> tuple[float, ...]:
    """Largest distance of formula and estimate, in standard errors: for the loss, for the gradient
    in v, and for each surrogate."""
    found = estimate(at, surrogates, samples, seed)
    distance = np.abs(found.mean - population(at, surrogates)) / found.error
    m, n = at.student.output.size, at.student.filter.size
    ends = [0, 1, 1 + m, *(1 + m + n * (i + 1) for i in range(len(surrogates)))]
    return tuple(float(distance[i:j].max()) for i, j in pairwise(ends))


INSTANCE = Setting(
    Layer(np.array([1.0, -1.0, 2.0, 0.5]), np.array([0.6, 0.8, 0.0])),
    Layer(np.array([0.5, -1.0, 1.5, 1.0]), np.array([1.0, 0.5, -0.5])),
)
"""The instance that ledger, tests and notebook share: v'v* = 5, cos t = 1 / sqrt(1.5)."""


def settings(count: int, seed: int) -> tuple[Setting, ...]:
    """Random ones: 1 to 6 patches of 2 to 5 pixels, weights normal, |w| from 0.1 to 10 times."""
    draws = np.random.default_rng(seed)

    def one() -> Setting:
        m, n = int(draws.integers(1, 7)), int(draws.integers(2, 6))
        teacher = Layer(draws.standard_normal(m), draws.standard_normal(n))
        scale = 10.0 ** draws.uniform(-1.0, 1.0)
        return Setting(teacher, Layer(draws.standard_normal(m), scale * draws.standard_normal(n)))

    return tuple(one() for _ in range(count))
