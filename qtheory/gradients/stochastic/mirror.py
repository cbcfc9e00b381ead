"""Latent weights as mirror descent over probabilities [shekhovtsov2021] [ajanthan2021].

A mirror step from m against a gradient g is argmin_m' of g m' + D(m', m) / learning_rate, with the
relative entropy as distance D. On a mean in (0, 1), on a mean w in (-1, 1) of a unit -1 or +1, and
on a pmf p that is

    m' = sigmoid(logit m - rate g),   w' = tanh(artanh w - rate g),   p' ~ p exp(-rate g)

(dE/dw = (dE/dm) / 2, so the second is the first). MD-tanh puts a factor beta into it,

    w' = (E - 1) / (E + 1),   E = (1 + w) / (1 - w) exp(-2 beta rate g)
       = tanh(artanh w - beta rate g)

The dual form keeps u with w = 2 F(u) - 1 for a noise of distribution function F with a positive
density, w = tanh(beta u) being logistic noise of scale 1 / (2 beta). Its step u' = u - rate g
takes the gradient of w for that of u: straight-through with a soft projection. The two forms are
one as long as w is not rounded to -1 or +1.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from qtheory.gradients.stochastic.categorical import softmax
from qtheory.noise import Points, Smoothing, Triangular, Uniform, quantile
from qtheory.noise.families import check_positive

Masses = Float[ndarray, "... categories"]
"""Probabilities of categories, or one number for each."""


def _check_rate(learning_rate: float) -> None:
    check_positive("the learning rate of a mirror step", learning_rate)


def _check_inside(name: str, values: Points, low: float) -> None:
    if not ((values > low) & (values < 1)).all():
        raise ValueError(f"{name} of a mirror step is inside ({low:g}, 1), got {values}")


def relative_entropy(p: Points, q: Points) -> Points:
    """KL of Bernoulli means p in [0, 1] from q: p log(p / q) + (1 - p) log((1 - p) / (1 - q)).

    >>> relative_entropy(np.array([0.5, 1.0]), np.array([0.5, 0.5])).round(6).tolist()
    [0.0, 0.693147]
    """
    return np.asarray(special.rel_entr(p, q) + special.rel_entr(1.0 - p, 1.0 - q))


def bernoulli_step(mean: Points, gradient: Points, learning_rate: float) -> Points:
    """sigmoid(logit m - rate g), for means of units 0 or 1.

    Raises ValueError unless means are inside (0, 1) and the rate is positive.

    >>> bernoulli_step(np.array([0.5]), np.array([np.log(3)]), 1.0).round(12).tolist()
    [0.25]
    """
    _check_rate(learning_rate)
    _check_inside("a mean", mean, 0.0)
    return special.expit(special.logit(mean) - learning_rate * gradient)


def tanh_step(w: Points, gradient: Points, learning_rate: float, beta: float = 1.0) -> Points:
    """MD-tanh as it is written with E, for w inside (-1, 1).

    Raises ValueError unless w is inside, and the rate and beta are positive.

    >>> tanh_step(np.array([0.0]), np.array([-1.0]), 1.0).round(6).tolist()
    [0.761594]
    """
    _check_rate(learning_rate)
    check_positive("the beta of a mirror step", beta)
    _check_inside("a mean", w, -1.0)
    e = (1.0 + w) / (1.0 - w) * np.exp(-2.0 * beta * learning_rate * gradient)
    return np.asarray((e - 1.0) / (e + 1.0))


def entropic_step(p: Masses, gradient: Masses, learning_rate: float) -> Masses:
    """p_i exp(-rate g_i) / sum_j p_j exp(-rate g_j), along the last axis.

    Raises ValueError unless all p are positive and sum to 1 to 1e-9, and the rate is positive.

    >>> entropic_step(np.array([0.5, 0.5]), np.array([0.0, np.log(3)]), 1.0).round(12).tolist()
    [0.75, 0.25]
    """
    _check_rate(learning_rate)
    if not ((p > 0).all() and (np.abs(p.sum(axis=-1) - 1.0) <= 1e-9).all()):
        raise ValueError(f"a pmf of an entropic step is positive and sums to 1, got {p}")
    return softmax(np.log(p) - learning_rate * gradient)


def project(noise: Smoothing, u: Points) -> Points:
    """The soft projection 2 F(u) - 1.

    >>> from qtheory.noise import Logistic
    >>> project(Logistic(0.5), np.array([0.3])).round(6).tolist(), round(float(np.tanh(0.3)), 6)
    ([0.291313], 0.291313)
    """
    return noise.tail(-u) - noise.tail(u)


def lift(noise: Smoothing, w: Points) -> Points:
    """The mirror map: the u whose projection is w in (-1, 1).

    Raises ValueError if the noise is bounded, for the projection is flat beyond its ends and has
    no inverse there; or if w is not inside.
    """
    if isinstance(noise, Uniform | Triangular):
        raise ValueError(f"a mirror map takes a noise with a positive density, got {noise}")
    _check_inside("a mean", w, -1.0)
    return quantile(noise, 0.5 * (1.0 + w))


def dual_step(u: Points, gradient: Points, learning_rate: float) -> Points:
    """u - rate g, g the gradient in w = project(u)."""
    _check_rate(learning_rate)
    return u - learning_rate * gradient


def mirror_step(noise: Smoothing, w: Points, gradient: Points, learning_rate: float) -> Points:
    """The dual step, written as a step of w: project(dual_step(lift(w)))."""
    return project(noise, dual_step(lift(noise, w), gradient, learning_rate))
