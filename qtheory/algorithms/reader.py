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
    survivors   mean of |x| over the weights whose level is not 0, or 0 if there are none
    step        a learned number, a = g
    sides       two learned numbers, for levels above and below 0; a gain only

Factors c are 1 ("straight"), g ("gain"), or g and, where the level is 0, 1 ("sides"). After a step
a latent is stopped at -bound and bound. The derivatives of the surrogate, in v = g z:

    gain_slope "exact"     sign(x_i) / n sum_j G_j z_j, more in latent i of n; "printed" G_i / n
    step                   sum_j G_j (z_j - w_j x_j / a): the rounding error within the window,
                           the end beyond it [esser2020]; "steadied" by 1 / sqrt(n q), q the top
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
from qtheory.noise import Points, Smoothing
from qtheory.stairs import smoothing
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

State: TypeAlias = Mapping[str, Points]
"""The arrays of a reader beside its latent, by name: learned numbers, one for each group."""

GROUPS = ("layer", "filter")
UNITS = ("one", "mean", "largest", "power", "step")
LEARNED = {"step": ("step",), "sides": ("positive", "negative")}
"""Names of the numbers that a gain learns."""
WORDS: dict[str, tuple[str, ...]] = {
    "unit": UNITS,
    "gain": (*UNITS, "survivors", "sides"),
    "group": GROUPS,
    "shown": ("hard", "random", "mode", "expectation"),
    "factor": ("straight", "gain", "sides"),
    "gain_slope": ("none", "exact", "printed"),
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

    Raises ValueError if a word is not known, the bound is not positive, a noise and the pass do not
    belong together, or unit, gain, factor and slope of the gain do not.
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
        if self.gain == "survivors" and self.shown == "expectation":
            raise ValueError("survivors have a level, got the pass 'expectation'")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What it learns beside its latent."""
        names, of_mean = LEARNED.get(self.gain, ()), self.gain == "step"
        return tuple(Parameter(name, self.start, of_mean) for name in names)


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
    match reading.unit:
        case "step":
            return np.asarray(state["step"], np.float64).reshape(kept)
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
    unit, size = unit_of(reading, x, state or {}), len(reading.stair.levels)
    if reading.noise is None:
        index = np.zeros(x.shape, np.int64)
        for t in reading.stair.thresholds:
            index += x >= t * unit if reading.stair.reaches(t) else x > t * unit
        return np.eye(size)[index]
    pmf = smoothing.law(reading.stair, reading.noise, x / unit)
    return np.eye(size)[pmf.argmax(axis=-1)] if reading.shown == "mode" else pmf


def reading_of(spec: Spec) -> Reading:
    """A reader's row. Raises TypeError if it is no reader."""
    own = contract(spec).reading
    if own is None:
        raise TypeError(f"a reader has a reading, got {type(spec).__name__}")
    return own(spec)


def reading_law_of(spec: Spec, latent: Points, state: State | None = None) -> Pmf:
    """The law of a reader's spec. Raises TypeError if it is no reader."""
    return reading_law(reading_of(spec), latent, state)
