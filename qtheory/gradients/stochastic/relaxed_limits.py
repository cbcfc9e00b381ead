"""Closed forms about relaxed quantisation: far inputs, two points, masses left out [louizos2019].

Derived here; the paper has none of them.
"""

from __future__ import annotations

import numpy as np

from qtheory.arrays import Pmf
from qtheory.gradients.stochastic.categorical import softmax
from qtheory.gradients.stochastic.relaxed_quantization import RelaxedQuantizer
from qtheory.noise import Logistic, Points, Smoothing
from qtheory.noise.families import check_positive

NEAR_ONE = 0.02
REACH, SPACING = 45.0, 0.02


def far_law(spec: RelaxedQuantizer) -> Pmf:
    """The law for x to plus infinity, logistic noise: exp(g_i / scale) / sum_j exp(g_j / scale),
    uniform if there is any fuzz. Not the end level alone.

    Why: S(b) S(-a) of a bin tends to exp(b / scale), whose sum over bins falls below any fuzz. At
    minus infinity, likewise, exp(-g_i / scale).
    Raises ValueError unless the noise is logistic.

    >>> far_law(RelaxedQuantizer(0, 2, np.log(3.0), Logistic(1.0))).round(12).tolist()
    [0.25, 0.75]
    """
    if not isinstance(spec.noise, Logistic):
        raise ValueError(f"the far law is that of logistic noise, got {spec.noise}")
    if spec.fuzz > 0:
        return np.full(spec.size, 1.0 / spec.size)
    return softmax(spec.levels / spec.noise.scale)


def two_point_mean(p: Points, temperature: float) -> Points:
    """E z of the first of two points with law p, 1 - p: z is the sigmoid of (d + L) / temperature,
    d = log(p / (1 - p)), L logistic.

    At temperature 1, with c = p / (1 - p): c / (c - 1) - c log c / (c - 1)**2, by its series
    1/2 + d/6 - d**3/180 near c = 1. Else a trapezium sum over L, 0.02 apart up to 45, which errs
    by exp(-2 pi**2 min(1, temperature) / 0.02) and exp(-45). Raises ValueError unless p is inside
    (0, 1) and the temperature at least 0.05.

    >>> two_point_mean(np.array([0.5, 0.9]), 1.0).round(4).tolist()
    [0.5, 0.816]
    """
    d = _log_odds(p, temperature)
    if temperature == 1.0:
        safe = np.where(np.abs(d) < NEAR_ONE, 1.0, d)
        less = np.expm1(-safe)  # 1 / c - 1
        closed = -1.0 / less - safe * np.exp(-safe) / less**2
        return np.where(np.abs(d) < NEAR_ONE, 0.5 + d / 6 - d**3 / 180, closed)
    noise, density = _logistic()
    return Logistic(1.0).tail(-(d[..., None] + noise) / temperature) @ density


def two_point_bias(p: Points, temperature: float) -> Points:
    """The leading part of E z - p for small temperatures, temperature**2 pi**2 / 6 times
    p (1 - p) (1 - 2 p).

    Why: E z = P(d + L > temperature L') = E F(d - temperature L'), L' another logistic variable,
    of variance pi**2 / 3, and F'' = p (1 - p) (1 - 2 p).

    >>> two_point_bias(np.array([0.5, 0.9]), 0.1).round(6).tolist()
    [0.0, -0.001184]
    """
    return temperature**2 * np.pi**2 / 6.0 * p * (1.0 - p) * (1.0 - 2.0 * p)


def two_point_slope_square(p: Points, temperature: float) -> Points:
    """E (dz/dd)**2, the second moment of the slope that leads back, d the log odds; the same in RQ
    and RQ straight-through. For small temperatures p (1 - p) / (6 temperature): the roughness of
    logistic noise of that scale, times the density at d. Raises as `two_point_mean`.

    >>> float(two_point_slope_square(np.array([0.9]), 0.05)[0].round(3)), round(0.09 / 0.3, 3)
    (0.3, 0.3)
    """
    d = _log_odds(p, temperature)
    noise, density = _logistic()
    slopes = Logistic(temperature).density(d[..., None] + noise)
    return slopes**2 @ density


def _log_odds(p: Points, temperature: float) -> Points:
    check_positive("a temperature", temperature)
    if not ((p > 0) & (p < 1)).all() or temperature < 0.05:
        raise ValueError(
            f"two points have p inside (0, 1), a temperature of 0.05 or more, got {p}, "
            f"{temperature}"
        )
    return np.log(p) - np.log1p(-p)


def _logistic() -> tuple[Points, Points]:
    """Points 0.02 apart and their weights under the standard logistic law."""
    noise = np.arange(-REACH, REACH + SPACING / 2, SPACING)
    return noise, Logistic(1.0).density(noise) * SPACING


def neglected(noise: Smoothing, reach: float) -> float:
    """P(abs(e) > reach). A local lattice whose last level is `reach` from the one nearest to x
    leaves out at most that mass, and at least that beyond h = reach + spacing / 2: with d the
    distance from x to the nearest level, it is P(e > h - d) + P(e > h + d), which grows with d
    for a unimodal noise.

    Raises ValueError unless reach > 0.

    >>> round(neglected(Logistic(1.0), 3.0), 4), round(neglected(Logistic(1.0), 3 * 1.8138), 4)
    (0.0949, 0.0086)
    """
    check_positive("a reach", reach)
    return 2.0 * float(noise.tail(np.array([reach]))[0])
