"""Stairs as activations under additive noise [spallanzani2022]: x becomes x - mean - scale e.

With a_i = (x - mean - t_i) / scale, and F and f the distribution function and the density of e,

    uniform      F = (1 + a) / 2 within -1 .. 1        f = 1/2 for -1 <= a < 1, else 0
    triangular   F = (1 + a)**2 / 2 for -1 <= a < 0    f = max(0, 1 - |a|)
                 F = 1 - (1 - a)**2 / 2 for 0 <= a <= 1
    normal       F = erfc(-a / sqrt 2) / 2             f = exp(-a**2 / 2) / sqrt(2 pi)
    logistic     F = 1 / (1 + exp(-a))                 f = F (1 - F)

a forward pass hands on one of

    expectation   q_0 + sum_i d_i F(a_i)
    mode          the lowest of the most probable levels, P(level i) = F(a_i) - F(a_(i+1))
    random        level number #{i : word < floor(F(a_i) 2**32)}, one word for each element
    hard          the stair at x - mean, with its tie rule; all of them are this at scale 0

and, whichever it is, the backward slope in training is that of the expectation:

    in x       sum_i d_i f(a_i) / scale
    in mean    minus that
    in scale   -sum_i d_i a_i f(a_i) / scale

but 0 at scale 0. Sums are in float64, thresholds of a hard pass have the type of x, and so has what
is handed on. A NaN is handed on as NaN, with slope NaN where slopes are not 0.

An odd stair, as in GXNOR-Net [deng2018], has a hard pass only. If its lowest level is 0 it is given
for x >= 0 alone and stands for sign(x) q(|x|), and its windows are around |x| = t_i: one that
reaches over 0 ends there and loses area. Windows of uniform noise have both their ends. For order
N_2 >= 1 there are K = 2**(N_2 - 1) levels k / K above 0, so that N_2 = 1 is ternary, and a window
is, at half width a,

    rectangular   1 / (2 a K)                          for | |x| - t_k | <= a, else 0
    triangular    max(0, 1 - | |x| - t_k | / a) / (a K)

Order 0 is binary, +1 at 0: one window of area 2 around 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qreference.arrays import Real
from qtheory.arrays import Index, Thresholds, Words
from qtheory.stairs.stair import Stair

FAMILIES = ("uniform", "triangular", "normal", "logistic")
FORWARDS = ("expectation", "mode", "random", "hard")

Steps = Float[ndarray, "..."]
"""One number for each threshold, on the last axis."""


@dataclass(frozen=True, slots=True)
class NoisyStair:
    """A stair and its noise. scale >= 0 and mean in units of the pre-activation.

    scale: half width of uniform and triangular, standard deviation of normal, scale of logistic.
    odd: see the module.

    Raises ValueError if the family is not known, or scale or mean is not such a number, or an odd
    stair has another noise than uniform or triangular of scale > 0 and mean 0.
    """

    stair: Stair
    family: str = "uniform"
    scale: float = 0.5
    mean: float = 0.0
    odd: bool = False

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"a noise is one of {', '.join(FAMILIES)}, got {self.family!r}")
        if not (math.isfinite(self.scale) and self.scale >= 0):
            raise ValueError(f"a scale of noise is finite and >= 0, got {self.scale}")
        if not math.isfinite(self.mean):
            raise ValueError(f"the mean of a noise is finite, got {self.mean}")
        window = self.family in ("uniform", "triangular") and self.scale > 0 and self.mean == 0
        if self.odd and not window:
            raise ValueError(
                "an odd stair has uniform or triangular noise of scale > 0 and mean 0, got "
                f"{self.family}, {self.scale}, {self.mean}"
            )

    @property
    def half(self) -> bool:
        """Whether the stair is given for x >= 0 alone."""
        return self.odd and self.stair.levels[0] == 0


def multi_step(
    order: int = 1, threshold: float = 0.5, half_width: float = 0.5, window: str = "rectangular"
) -> NoisyStair:
    """The activation of GXNOR-Net and its surrogate derivative [deng2018].

    order: N_2 >= 0. threshold: r in [0, 1), half the width of the zone that gives 0; unused by
    order 0. half_width: a > 0. Both are in units of the pre-activation. window: "rectangular" or
    "triangular".

    >>> spec = multi_step(order=2)
    >>> activate(spec, np.array([-2.0, 0.5, 0.6, 0.8]), "hard").tolist()
    [-1.0, 0.0, 0.5, 1.0]
    >>> derivative(multi_step(half_width=0.25), np.array([-0.5, 0.0, 0.25, 0.8])).tolist()
    [2.0, 0.0, 2.0, 0.0]
    """
    if not (math.isfinite(half_width) and half_width > 0):
        raise ValueError(f"the half-width is positive and finite, got {half_width}")
    if window not in ("rectangular", "triangular"):
        raise ValueError(f"a window is rectangular or triangular, got {window!r}")
    family = "uniform" if window == "rectangular" else "triangular"
    return NoisyStair(Stair.multi_step(order, threshold), family, half_width, odd=True)


def activate(spec: NoisyStair, x: Real, forward: str, words: Words | None = None) -> Real:
    """What is handed on, in the type of x. words: of `random` only, in the shape of x.

    Raises ValueError if the forward pass is not known, or words are there when they should not be
    or the other way round.

    >>> spec = NoisyStair(Stair((-1.0, 0.0, 1.0), (-0.5, 0.5)))
    >>> x = np.array([-2.0, 0.25, 0.5])
    >>> activate(spec, x, "expectation").tolist(), activate(spec, x, "hard").tolist()
    ([-1.0, 0.25, 0.5], [-1.0, 0.0, 1.0])
    """
    if forward not in FORWARDS:
        raise ValueError(f"a forward pass is one of {', '.join(FORWARDS)}, got {forward!r}")
    if spec.odd and forward != "hard":
        raise ValueError(f"an odd stair has a hard pass, got {forward!r}")
    if (words is not None) != (forward == "random"):
        raise ValueError(f"words are for a random pass, and it needs them, got {forward!r}")
    levels = np.array(spec.stair.levels)
    if forward == "expectation" and spec.scale > 0:
        out = levels[0] + cumulative(spec, x) @ np.diff(levels)
    else:
        out = levels[index(spec, x, forward, words)]
    if spec.half:
        out = np.sign(x) * out
    return np.where(np.isnan(x), x, out).astype(x.dtype)


def index(spec: NoisyStair, x: Real, forward: str, words: Words | None = None) -> Index:
    """Position of the level of a pass that has one: mode, random or hard. A NaN counts as 0."""
    if spec.scale == 0 or forward == "hard":
        return _hard(spec, x)
    if words is not None:
        drawn = words[..., None] < below(spec, x)
        return drawn.sum(axis=-1).astype(np.int64)
    one, none = np.ones((*x.shape, 1)), np.zeros((*x.shape, 1))
    reached = np.concatenate([one, cumulative(spec, x), none], axis=-1)
    chances = reached[..., :-1] - reached[..., 1:]
    return np.nan_to_num(chances).argmax(axis=-1).astype(np.int64)


def _hard(spec: NoisyStair, x: Real) -> Index:
    """#{i : x - mean is past t_i}, where a tie is past by the tie rule."""
    at = _at(spec, x)
    passed = np.zeros(x.shape, np.int64)
    for t in np.array(spec.stair.thresholds).astype(x.dtype):
        up = {"up": True, "down": False, "away": t >= 0, "inward": t <= 0}[spec.stair.tie]
        passed += at >= t if up else at > t
    return passed


def _at(spec: NoisyStair, x: Real) -> Real:
    """Where the stair is read, float64: x - mean, or |x| for half a stair."""
    at = x.astype(np.float64) - spec.mean
    return np.abs(at) if spec.half else at


def _standard(spec: NoisyStair, x: Real) -> Steps:
    """a_i, float64, shape (..., T)."""
    return (_at(spec, x)[..., None] - np.array(spec.stair.thresholds)) / spec.scale


def cumulative(spec: NoisyStair, x: Real) -> Steps:
    """F(a_i), for scale > 0."""
    a = _standard(spec, x)
    match spec.family:
        case "uniform":
            return np.clip(0.5 * (1 + a), 0, 1)
        case "triangular":
            reach = np.maximum(1 - np.abs(a), 0)
            return np.where(a < 0, 0.5 * reach**2, 1 - 0.5 * reach**2)
        case "normal":
            return 0.5 * _each(math.erfc, -a / math.sqrt(2))
        case _:
            return _each(_sigmoid, a)


def density(spec: NoisyStair, x: Real) -> Steps:
    """f(a_i), for scale > 0."""
    a = _standard(spec, x)
    match spec.family:
        case "uniform":
            return 0.5 * ((-1 <= a) & ((a <= 1) if spec.odd else (a < 1)))
        case "triangular":
            return np.maximum(1 - np.abs(a), 0)
        case "normal":
            return np.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)
        case _:
            return _each(_sigmoid, a) * _each(_sigmoid, -a)


def below(spec: NoisyStair, x: Real) -> Thresholds:
    """floor(F(a_i) 2**32): a word below it is past threshold i. Of a NaN all are 0."""
    return np.floor(np.nan_to_num(cumulative(spec, x)) * 2.0**32).astype(np.uint64)


def derivative(spec: NoisyStair, x: Real) -> Real:
    """The slope in x, in the type of x.

    >>> spec = NoisyStair(Stair((-1.0, 0.0, 1.0), (-0.5, 0.5)))
    >>> derivative(spec, np.array([-1.0, 0.0, 1.0])).tolist()
    [1.0, 1.0, 0.0]
    """
    if spec.scale == 0:
        return np.zeros_like(x)
    slopes = density(spec, x) @ np.diff(spec.stair.levels) / spec.scale
    return slopes.astype(x.dtype)


def derivative_in_mean(spec: NoisyStair, x: Real) -> Real:
    """Minus the slope in x."""
    return -derivative(spec, x)


def derivative_in_scale(spec: NoisyStair, x: Real) -> Real:
    """The slope in the scale, in the type of x; a noise that is not reached contributes 0.

    Raises ValueError for an odd stair, whose scale is not learned.
    """
    if spec.odd:
        raise ValueError(f"the scale of an odd stair is not learned, got {spec}")
    if spec.scale == 0:
        return np.zeros_like(x)
    a, f = _standard(spec, x), density(spec, x)
    moments = np.where(f == 0, 0.0, np.where(f == 0, 0.0, a) * f)
    return (-moments @ np.diff(spec.stair.levels) / spec.scale).astype(x.dtype)


def _each(function: Any, a: Steps) -> Steps:
    """A function of one number, of every number."""
    return np.array([function(value) for value in a.ravel().tolist()]).reshape(a.shape)


def _sigmoid(a: float) -> float:
    """1 / (1 + exp(-a)), without overflow; NaN for NaN."""
    return 1 / (1 + math.exp(-a)) if not a < 0 else math.exp(a) / (1 + math.exp(a))
