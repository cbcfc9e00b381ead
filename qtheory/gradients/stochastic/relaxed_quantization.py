"""Relaxed quantisation (RQ): noise, bins, and a relaxed draw of a level [louizos2019].

Levels g_i = spacing n_i + offset, n_i = lowest, lowest + 1, ...: K of them. With noise e of
distribution function F, each bin of width `spacing` about a level has the mass

    m_i = F(g_i + spacing / 2 - x) - F(g_i - spacing / 2 - x)

and the law of the level is p_i = (m_i + fuzz) / sum_j (m_j + fuzz): the noise is truncated to the
bins, where a stair under noise gives the tails to its end levels (`qtheory.stairs.smoothing.law`).
Noise is logistic in the paper; its parameter is called a standard deviation there and is the scale.

    draw     argmax_i of l_i + u_i, l_i = log(m_i + fuzz), u_i = -log(-log(uniform)): has the law
    relaxed  sum_i z_i g_i with z = softmax((l + u) / temperature)
    rounded  the nearest level, what is used after training; ties to even n, as usual routines do

RQ trains on relaxed values; RQ straight-through on draws, with the slope of the relaxed value. A
local lattice keeps only levels within a reach of the nearest one, and renormalises over these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from qtheory.arrays import Index, Levels, Pmf
from qtheory.gradients.stochastic.categorical import softmax
from qtheory.noise import Logistic, Points, Smoothing, scale_of
from qtheory.noise.families import check_positive
from qtheory.stairs.smoothing import density_from_the_right
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

Uniforms = Float[ndarray, "... levels"]
"""Numbers inside (0, 1), one for each level."""

Kept = Bool[ndarray, "... levels"]
"""Whether a level is in the local lattice."""


@dataclass(frozen=True, slots=True)
class RelaxedQuantizer:
    """lowest: n_0. size: K >= 2. spacing, offset: in units of x. fuzz: probability units, >= 0.

    Raises ValueError if a rule is broken or a number is not finite.
    """

    lowest: int
    size: int
    spacing: float
    noise: Smoothing
    offset: float = 0.0
    fuzz: float = 0.0

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ValueError(f"a relaxed quantizer has two levels or more, got {self.size}")
        check_positive("the spacing of a relaxed quantizer", self.spacing)
        if not (math.isfinite(self.fuzz) and self.fuzz >= 0 and math.isfinite(self.offset)):
            raise ValueError(
                "a relaxed quantizer has a finite offset and a finite fuzz >= 0, got "
                f"{self.offset}, {self.fuzz}"
            )

    @classmethod
    def of_bits(
        cls, bits: int, spacing: float, noise: Smoothing, *, signed: bool, fuzz: float = 0.0
    ) -> RelaxedQuantizer:
        """n from -2**(bits - 1) to 2**(bits - 1) - 1 if signed, else from 0 to 2**bits - 1.

        Raises ValueError if bits < 1.

        >>> RelaxedQuantizer.of_bits(2, 0.5, Logistic(0.1), signed=True).levels.tolist()
        [-1.0, -0.5, 0.0, 0.5]
        """
        if bits < 1:
            raise ValueError(f"a relaxed quantizer has bits >= 1, got {bits}")
        return cls(-(2 ** (bits - 1)) if signed else 0, 1 << bits, spacing, noise, fuzz=fuzz)

    @property
    def whole(self) -> Levels:
        """n_i."""
        return self.lowest + np.arange(float(self.size))

    @property
    def levels(self) -> Levels:
        """g_i."""
        return self.spacing * self.whole + self.offset

    def stair(self, tie: str = "up") -> Stair:
        """The stair of the same levels, thresholds halfway, with one of our tie rules."""
        halfway = self.spacing * (self.whole[:-1] + 0.5) + self.offset
        return Stair(tuple(map(float, self.levels)), tuple(map(float, halfway)), tie)


class Slopes(NamedTuple):
    """Derivatives in x, in the spacing at fixed n and offset, and in the scale of the noise."""

    x: Points
    spacing: Points
    scale: Points


def _sides(spec: RelaxedQuantizer, x: Points) -> tuple[Points, Points]:
    """Ends of the bins as seen from x: below and above, shape (..., K)."""
    centre = spec.levels - np.asarray(x)[..., None]
    return centre - 0.5 * spec.spacing, centre + 0.5 * spec.spacing


def log_masses(spec: RelaxedQuantizer, x: Points) -> Points:
    """log m_i, -inf where the noise does not reach, shape (..., K).

    For logistic noise m_i = S(b) S(-a) (1 - exp(-spacing / scale)), S the sigmoid of the ends a
    and b of a bin over the scale: no digit is lost however far x is.
    """
    a, b = _sides(spec, x)
    if isinstance(spec.noise, Logistic):
        s = spec.noise.scale
        width = math.log(-math.expm1(-spec.spacing / s))
        return width - np.logaddexp(0.0, -b / s) - np.logaddexp(0.0, a / s)
    over, under = spec.noise.tail(a) - spec.noise.tail(b), spec.noise.tail(-b) - spec.noise.tail(-a)
    with np.errstate(divide="ignore"):
        return np.log(np.where(a + b > 0, over, under))


def kept(spec: RelaxedQuantizer, x: Points, reach: float) -> Kept:
    """Levels no farther than `reach` from the one nearest to x, to 1e-9 spacings.

    Raises ValueError unless the reach is at least 0 and every x is a number.
    """
    if not reach >= 0 or np.isnan(x).any():
        raise ValueError(f"a reach is at least 0 and x a number, got {reach} and {x}")
    near = rounded(spec, x)[..., None]
    return np.abs(spec.levels - near) <= reach + 1e-9 * spec.spacing


def logits(spec: RelaxedQuantizer, x: Points, reach: float = math.inf) -> Points:
    """l_i = log(m_i + fuzz), -inf for levels that are not kept.

    Raises ValueError if an x has no mass on any level kept: out of the reach of a bounded noise.
    """
    near, found = kept(spec, x, reach), log_masses(spec, x)
    if spec.fuzz > 0:
        found = np.logaddexp(found, math.log(spec.fuzz))
    found = np.where(near, found, -np.inf)
    if (found.max(axis=-1) == -np.inf).any():
        raise ValueError(f"noise takes x to some bin, or there is fuzz, got {spec.noise}, x {x}")
    return found


def law(spec: RelaxedQuantizer, x: Points, reach: float = math.inf) -> Pmf:
    """p_i.

    >>> from qtheory.noise import Uniform
    >>> law(RelaxedQuantizer(0, 3, 1.0, Uniform(0.5)), np.array([0.25])).round(12).tolist()
    [[0.75, 0.25, 0.0]]
    """
    return softmax(logits(spec, x, reach))


def mean(spec: RelaxedQuantizer, x: Points, reach: float = math.inf) -> Points:
    """E of a draw, sum_i p_i g_i."""
    return law(spec, x, reach) @ spec.levels


def log_slopes(spec: RelaxedQuantizer, x: Points) -> Slopes:
    """Derivatives of l_i, shape (..., K). With u_i the ends of a bin, dm = f(b) db - f(a) da and
    du = -dx, (n +- 1/2) dspacing, -u dscale / scale; and dl = dm / (m + fuzz), 0 if m is 0.
    """
    a, b = _sides(spec, x)
    logs, scale = log_masses(spec, x), scale_of(spec.noise)
    share = np.exp(logs - np.logaddexp(logs, np.log(spec.fuzz))) if spec.fuzz > 0 else 1.0
    if isinstance(spec.noise, Logistic):
        lower = np.exp(-np.logaddexp(0.0, -a / scale)) / scale
        upper = np.exp(-np.logaddexp(0.0, b / scale)) / scale
        rise = 1.0 / (scale * math.expm1(spec.spacing / scale))
        lower, upper = lower + rise, upper + rise
    else:
        weight = np.where(np.isneginf(logs), 0.0, np.exp(-np.maximum(logs, -700.0)))
        lower = density_from_the_right(spec.noise, a) * weight
        upper = density_from_the_right(spec.noise, b) * weight
    return Slopes(
        share * (lower - upper),
        share * (upper * (spec.whole + 0.5) - lower * (spec.whole - 0.5)),
        share * (lower * a - upper * b) / scale,
    )


def mean_slopes(spec: RelaxedQuantizer, x: Points, reach: float = math.inf) -> Slopes:
    """Derivatives of the mean: sum_i p_i (g_i - mean) dl_i + p_i dg_i."""
    return _slopes(spec, law(spec, x, reach), log_slopes(spec, x), 1.0)


def _slopes(spec: RelaxedQuantizer, z: Points, logs: Slopes, temperature: float) -> Slopes:
    """Derivatives of sum_i z_i g_i where z is the softmax of l over the temperature."""
    levels = np.asarray(z @ spec.levels)[..., None]
    tilt = z * (spec.levels - levels) / temperature
    by_x, by_spacing, by_scale = ((tilt * slope).sum(axis=-1) for slope in logs)
    return Slopes(by_x, by_spacing + z @ spec.whole, by_scale)


def gumbel(uniforms: Uniforms) -> Points:
    """-log(-log u). Raises ValueError if a u is not inside (0, 1).

    >>> gumbel(np.array([np.exp(-1)])).tolist()
    [-0.0]
    """
    if not ((uniforms > 0) & (uniforms < 1)).all():
        raise ValueError(f"uniforms of a relaxed draw are inside (0, 1), got {uniforms}")
    return -np.log(-np.log(uniforms))


def _noisy(spec: RelaxedQuantizer, x: Points, uniforms: Uniforms, reach: float) -> Points:
    """l_i + u_i. Raises ValueError unless there is a uniform for each x and level."""
    if np.shape(uniforms) != (*np.shape(x), spec.size):
        raise ValueError(
            f"a relaxed draw takes a uniform for each x and level, {(*np.shape(x), spec.size)}, "
            f"got shape {np.shape(uniforms)}"
        )
    return logits(spec, x, reach) + gumbel(uniforms)


def concrete(
    spec: RelaxedQuantizer,
    x: Points,
    uniforms: Uniforms,
    temperature: float,
    reach: float = math.inf,
) -> Pmf:
    """z, a point of the simplex. Raises ValueError unless the temperature is positive and there is
    a uniform for each x and level."""
    check_positive("a temperature", temperature)
    return softmax(_noisy(spec, x, uniforms, reach) / temperature)


def relaxed(
    spec: RelaxedQuantizer,
    x: Points,
    uniforms: Uniforms,
    temperature: float,
    reach: float = math.inf,
) -> Points:
    """sum_i z_i g_i."""
    return concrete(spec, x, uniforms, temperature, reach) @ spec.levels


def relaxed_slopes(
    spec: RelaxedQuantizer,
    x: Points,
    uniforms: Uniforms,
    temperature: float,
    reach: float = math.inf,
) -> Slopes:
    """Derivatives of the relaxed value with the uniforms fixed: backward in RQ, and in RQ
    straight-through."""
    z = concrete(spec, x, uniforms, temperature, reach)
    return _slopes(spec, z, log_slopes(spec, x), temperature)


def draw(spec: RelaxedQuantizer, x: Points, uniforms: Uniforms, reach: float = math.inf) -> Index:
    """Positions of levels, drawn with the law: where the concrete draw is largest.

    Raises ValueError unless there is a uniform for each x and level.
    """
    largest = np.argmax(_noisy(spec, x, uniforms, reach), axis=-1)
    return np.asarray(largest, dtype=np.int64)


def rounded(spec: RelaxedQuantizer, x: Points) -> Points:
    """spacing round((x - offset) / spacing) + offset, halves to even, kept between the ends.

    >>> rounded(RelaxedQuantizer(-2, 4, 1.0, Logistic(1.0)), np.array([-1.5, 0.5, 9.0])).tolist()
    [-2.0, 0.0, 1.0]
    """
    n = np.rint((np.asarray(x) - spec.offset) / spec.spacing)
    return spec.spacing * np.clip(n, spec.lowest, spec.lowest + spec.size - 1) + spec.offset
