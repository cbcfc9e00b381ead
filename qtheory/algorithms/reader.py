"""What readers share: a real latent is read through a stair, and a method is a row of data.

A group of latents x (a filter, or a layer) has a unit a and a gain g. With the stair q, noise e,
the level z and the gradient G of what is seen,

    level      z = q(x / a), or q(x / a - e) drawn anew at each read with one word a weight
    visible    v = g z; of an "expectation" its mean over e, of a "mode" the likeliest level
    slope      w(x / a) c G in the latent, w the window and c the factor, and more if the gain
               is a function of the latents

so each threshold t of the stair is compared as t a, in weight units. The scales a and g are

    one         1
    mean        mean of |x|
    largest     largest |x|
    power       the power of two 2**floor(log2(4/3 max |x|))
    rank        the k-th smallest |x| of n, k = floor(zeros n + 1/2), and 0 for k = 0; a unit only
    survivors   mean of |x| over the weights whose level is not 0, or 0 if there are none
    step        a learned number, a = g
    threshold   a learned number; a unit only
    sides       two learned numbers, for levels above and below 0; a gain only
    fixed       as survivors, of numbers W that do not change, in place of x; a gain only

With signs "fixed" the latents s are scores of such numbers W, and x = |s| sign(W): a row with the
unit "rank" then keeps the signs of the W of largest scores. With an `order` a latent is seen as
v only where it is frozen, which the state says; elsewhere it is seen itself, with slope 1, and
where it is frozen the slope is 0. If the state has a unit, it is the unit.

With ends "cut" the noise is logistic with a learned scale r, in weight units, and is what is left
of it within half a spacing of the levels, renormalised [louizos2019]; else beyond an end level
there is only that level. The mean level of latents x is then M(x, a, r), the window dM/dx a.

Factors c are 1 ("straight"), g ("gain"), g and, where the level is 0, 1 ("sides"), or |W| with the
sign of d|s|/ds sign(W) ("fixed"). After a step a latent is stopped at -bound and bound, and what is
learned but for the gains of two sides at 2**-24: it is positive. The derivatives of the surrogate,
in v = g z:

    gain_slope "exact"     sign(x_i) / n sum_j G_j z_j, more in latent i of n; "printed" G_i / n
    step                   sum_j G_j (z_j - w_j x_j / a): the rounding error within the window,
                           the end beyond it [esser2020]; "steadied" by 1 / sqrt(n q), q the top;
                           with ends cut, sum_j G_j (z_j + a dM_j/da)
    scale                  sum_j G_j a dM_j/dr
    threshold              -sum_j G_j g_j x_j / a^2 over 1/2 <= |x_j / a| < 3/2: the stair of steps
                           at -1 and 1 under uniform noise of half width 1/2
    positive, negative     sum of G_j z_j over the levels of the side
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from qtheory.algorithms.base import Spec, contract
from qtheory.arrays import Pmf
from qtheory.gradients.stochastic import relaxed_quantization
from qtheory.noise import Logistic, Points, Smoothing
from qtheory.stairs import smoothing
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

State: TypeAlias = Mapping[str, np.ndarray]
"""The arrays of a reader beside its latent, by name: learned numbers, and perhaps a unit, one for
each group; "frozen", of truth values, and "fixed", of real numbers, in the shape of the latent."""

GROUPS = ("layer", "filter")
SCALES = ("one", "mean", "largest", "power", "step")
LEARNED: dict[str, dict[str, tuple[str, ...]]] = {
    "gain": {"step": ("step",), "sides": ("positive", "negative")},
    "unit": {"threshold": ("threshold",)},
    "ends": {"cut": ("scale",)},
}
"""Names of the numbers that a reading learns, by its words."""
POSITIVE, LEAST = ("step", "threshold", "scale"), 2.0**-24
"""Learned numbers that are stopped from below, and where."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which weights are frozen first. by_size: the largest, else those of the smallest words.

    keeps: a weight that is frozen stays so; else all are chosen anew.
    """

    by_size: bool
    keeps: bool


ORDERS = {
    "largest": Order(by_size=True, keeps=True),
    "random": Order(by_size=False, keeps=True),
    "resorted": Order(by_size=True, keeps=False),
    "redrawn": Order(by_size=False, keeps=False),
}
WORDS: dict[str, tuple[str, ...]] = {
    "unit": (*SCALES, "rank", "threshold"),
    "gain": (*SCALES, "survivors", "sides", "fixed"),
    "group": GROUPS,
    "shown": ("hard", "random", "mode", "expectation"),
    "factor": ("straight", "gain", "sides", "fixed"),
    "gain_slope": ("none", "exact", "printed"),
    "signs": ("own", "fixed"),
    "ends": ("open", "cut"),
    "order": ("none", *ORDERS),
}


@dataclass(frozen=True, slots=True)
class Clip:
    """A window: 1 between low and high, in units of the latent's, else 0.

    closed: whether the ends are inside. Raises ValueError unless low < high.
    """

    low: float
    high: float
    closed: bool = True

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"a window has low < high, got {self.low} and {self.high}")


Window: TypeAlias = Clip | Smoothing | None
"""The surrogate derivative of the stair: of a noise the slope it gives the stair; None is 1."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a reader learns for each group.

    start: its first value. of_mean: the start is a multiple of the mean of |x|.
    """

    name: str
    start: float
    of_mean: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """How a latent is read: a row of data.

    stair: levels in units of the gain, thresholds in those of the unit, and the rule for ties.
    noise: before the stair, in units of the unit, None for none. shown: the forward pass. group:
    what shares a unit and a gain; a filter is a place of the first axis, and a latent of one axis
    is one filter. steadied: the gradient of a learned step is divided by sqrt(n q).
    first_scale: of noise with ends cut, over the first step. zeros: the
    share of latents up to the unit "rank". The module says what the words mean.

    Raises ValueError if a word is not known, the bound is not positive, zeros are not in [0, 1], a
    noise and the pass do not belong together, or unit, gain, factor, signs, ends and order do not.
    """

    stair: Stair
    noise: Smoothing | None = None
    bound: float = math.inf
    shown: str = "hard"
    unit: str = "one"
    gain: str = "one"
    group: str = "layer"
    window: Window = None
    factor: str = "straight"
    gain_slope: str = "none"
    steadied: bool = False
    start: float = 1.0
    first_scale: float = 1.0
    signs: str = "own"
    zeros: float = 0.0
    ends: str = "open"
    order: str = "none"

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if not self.bound > 0:
            raise ValueError(f"the bound of a latent is positive, got {self.bound}")
        for field, words in WORDS.items():
            if (got := getattr(self, field)) not in words:
                raise ValueError(f"the {field} of a reading is one of {words}, got {got!r}")
        if (self.noise is None) != (self.shown == "hard"):
            raise ValueError(f"noise is for a pass that is not hard, got {self.shown!r}")
        if (self.unit == "step") != (self.gain == "step"):
            raise ValueError(
                f"a step is unit and gain at once, got unit {self.unit!r} and gain {self.gain!r}"
            )
        if self.gain_slope != "none" and self.gain != "mean":
            raise ValueError(f"the slope of a gain is that of the mean, got gain {self.gain!r}")
        if not self.start > 0:
            raise ValueError(f"the first value of a learned number is positive, got {self.start}")
        if self.gain in ("survivors", "fixed") and self.shown == "expectation":
            raise ValueError("survivors have a level, got the pass 'expectation'")
        if not 0 <= self.zeros <= 1 or (self.zeros > 0 and self.unit != "rank"):
            raise ValueError(
                f"a share of zeros in [0, 1] is of the unit 'rank', got {self.zeros}, {self.unit!r}"
            )
        if len({self.signs == "fixed", self.gain == "fixed", self.factor == "fixed"}) > 1:
            raise ValueError(
                "fixed numbers have signs, a gain and a factor, got "
                f"{self.signs!r}, {self.gain!r} and {self.factor!r}"
            )
        if self.order != "none" and self.noise is not None:
            raise ValueError(f"what is frozen has no noise, got {self.noise}")
        self._check_cut_ends()

    def _check_cut_ends(self) -> None:
        """Noise that is cut off is logistic, of scale 1 before it is learned, and of a layer."""
        right = self.noise == Logistic(1.0) and (self.unit, self.group) == ("step", "layer")
        if self.ends == "cut" and not (right and self.shown in ("random", "expectation")):
            raise ValueError(
                "ends are cut off logistic noise of scale 1 with a step of a layer, got "
                f"{self.noise}, {self.unit!r}, {self.group!r} and the pass {self.shown!r}"
            )
        jumps = np.diff(self.stair.levels)
        if self.ends == "cut" and not np.allclose(jumps, jumps[0], rtol=1e-12, atol=0.0):
            raise ValueError(f"cut ends are those of a lattice, got levels {self.stair.levels}")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What it learns beside its latent."""
        of_mean = self.gain == "step" or self.unit == "threshold"
        found = [Parameter(name, self.start, of_mean) for name in learned(self)]
        if self.ends == "cut":
            found[-1] = Parameter("scale", self.start * self.first_scale, of_mean)
        return tuple(found)


def learned(reading: Reading) -> tuple[str, ...]:
    """Names of the numbers that a reading learns, one for each group."""
    found = (names.get(getattr(reading, field), ()) for field, names in LEARNED.items())
    return tuple(name for names in found for name in names)


def planes(reading: Reading) -> tuple[str, ...]:
    """Names of the arrays that a reading keeps in the shape of its latent."""
    frozen = ("frozen",) if reading.order != "none" else ()
    return (*frozen, "fixed") if reading.signs == "fixed" else frozen


def taken(zeros: float, size: int) -> int:
    """floor(zeros size + 1/2): how many of so many weights a share is.

    >>> taken(0.3, 10), taken(0.25, 2), taken(1.0, 7)
    (3, 1, 7)
    """
    return math.floor(zeros * size + 0.5)


def group_shape(reading: Reading, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a number for each group, which broadcasts against latents of a shape.

    >>> group_shape(Reading(Stair.step(), group="filter"), (4, 3, 5, 5))
    (4, 1, 1, 1)
    """
    filters = reading.group == "filter" and len(shape) > 1
    return (shape[0] if filters else 1, *(1,) * (len(shape) - 1)) if shape else ()


def unit_of(reading: Reading, latent: Points, state: State) -> Points:
    """The unit of each group, float64, in the shape of `group_shape`."""
    x = np.abs(np.asarray(latent, np.float64))
    kept = group_shape(reading, x.shape)
    axes = tuple(range(1 if reading.group == "filter" and x.ndim > 1 else 0, x.ndim))
    if "unit" in state:
        return np.asarray(state["unit"], np.float64).reshape(kept)
    match reading.unit:
        case "step" | "threshold" as name:
            return np.asarray(state[name], np.float64).reshape(kept)
        case "rank":
            rows = np.sort(x.reshape(math.prod(kept), -1), axis=1)
            k = taken(reading.zeros, rows.shape[1])
            return (rows[:, k - 1] if k else np.zeros(len(rows))).reshape(kept)
        case "mean":
            return x.mean(axis=axes, keepdims=True)
        case "largest":
            return x.max(axis=axes, keepdims=True)
        case "power":
            return _power_of_two(x.max(axis=axes, keepdims=True))
        case _:
            return np.ones(kept)


def _power_of_two(largest: Points) -> Points:
    """2**floor(log2(4/3 s)): 2**(e - 1) or 2**e for s = f 2**e, as f < 3/4 or not; 0 for 0."""
    fraction, exponent = np.frexp(largest)
    return np.where(largest > 0, np.ldexp(1.0, exponent - (fraction < 0.75)), 0.0)


def reading_law(reading: Reading, latent: Points, state: State | None = None) -> Pmf:
    """Exact law of the level, shape (..., levels). Raises ValueError if a latent is NaN.

    Of an expectation it is the law of which the mean is shown.

    >>> from qtheory.noise import Uniform
    >>> random = Reading(Stair.step(-1.0), Uniform(1.0), shown="random")
    >>> reading_law(random, np.array([-2.0, 0.5])).tolist()
    [[1.0, 0.0], [0.25, 0.75]]
    """
    x = np.asarray(latent, dtype=np.float64)
    if np.isnan(x).any():
        raise ValueError("a stair takes numbers, got NaN")
    if reading.signs == "fixed":
        x = np.abs(x) * np.sign((state or {})["fixed"])
    unit, size = unit_of(reading, x, state or {}), len(reading.stair.levels)
    if reading.noise is None:
        index = np.zeros(x.shape, np.int64)
        for t in reading.stair.thresholds:
            index += x >= t * unit if reading.stair.reaches(t) else x > t * unit
        return np.eye(size)[index]
    if reading.ends == "cut":
        return relaxed_quantization.law(quantizer_of(reading, unit, state or {}), x / unit)
    pmf = smoothing.law(reading.stair, reading.noise, x / unit)
    return np.eye(size)[pmf.argmax(axis=-1)] if reading.shown == "mode" else pmf


def quantizer_of(
    reading: Reading, unit: Points, state: State
) -> relaxed_quantization.RelaxedQuantizer:
    """Levels and noise of a reading with ends cut, in units of its step."""
    levels, scale = reading.stair.levels, float(np.asarray(state["scale"]).item() / unit.item())
    return relaxed_quantization.RelaxedQuantizer(
        0, len(levels), levels[1] - levels[0], Logistic(scale), offset=levels[0]
    )


def reading_of(spec: Spec) -> Reading:
    """A reader's row. Raises TypeError if it is no reader."""
    own = contract(spec).reading
    if own is None:
        raise TypeError(f"a reader has a reading, got {type(spec).__name__}")
    return own(spec)


def reading_law_of(spec: Spec, latent: Points, state: State | None = None) -> Pmf:
    """The law of a reader's spec. Raises TypeError if it is no reader."""
    return reading_law(reading_of(spec), latent, state)
