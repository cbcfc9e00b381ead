"""Continuous laws of gradient noise: symmetric about 0, with a density.

Each law gives, for a noise e and a point x,

    density(x)   of e
    tail(x)      P(e > x)
    excess(x)    E[(e - x)^+], the integral of the tail from x to infinity
    breaks()     points between which the density is smooth on the scale of the panel

Stochastic rounding needs no quadrature when the excess is known [li2017, Sec. 4].
Symmetry gives excess(-x) = excess(x) + x, so only x >= 0 is worked out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import scipy  # pyright: ignore[reportMissingTypeStubs]
from jaxtyping import Float
from numpy import ndarray

from qtheory.values import rebuilt

Points = Float[ndarray, "..."]
"""Real numbers, in the unit of the noise."""


def check_positive(name: str, value: float) -> None:
    """Raise ValueError unless the value is positive and finite."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is positive and finite, got {value}")


def _in_units(x: Points, scale: float) -> Points:
    """x / scale, beyond 1e100 set to 1e100: its square is finite, and densities there are 0."""
    return np.clip(x / scale, -1e100, 1e100)


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Normal noise. std: standard deviation, > 0."""

    std: float

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        check_positive("the std of a noise", self.std)

    def scaled(self, factor: float) -> Gaussian:
        """The law of factor * e; factor is not 0."""
        return Gaussian(abs(factor) * self.std)

    def density(self, x: Points) -> Points:
        """exp(-a**2 / 2) / (std sqrt(2 pi)), a = x / std."""
        return np.exp(-0.5 * _in_units(x, self.std) ** 2) / (self.std * math.sqrt(2 * math.pi))

    def tail(self, x: Points) -> Points:
        """erfc(a / sqrt 2) / 2."""
        return 0.5 * scipy.special.erfc(x / (self.std * math.sqrt(2)))

    def excess(self, x: Points) -> Points:
        """std (phi(a) - a P(e > x)) for a = x / std >= 0.

        The two terms cancel to 1 / a**2 of their size: relative error about a**2 2**-52.

        >>> Gaussian(2.0).excess(np.zeros(1)).round(6).tolist()
        [0.797885]
        """
        a = _in_units(np.abs(x), self.std)
        scaled = 1 / math.sqrt(2 * math.pi) - 0.5 * a * scipy.special.erfcx(a / math.sqrt(2))
        return self.std * np.exp(-0.5 * a * a) * scaled + np.maximum(-x, 0.0)

    def breaks(self) -> Points:
        """Whole stds up to 40, where the density is below 1e-347 of its peak."""
        return self.std * np.arange(-40.0, 41.0)


@dataclass(frozen=True, slots=True)
class StudentT:
    """Student's t times a scale: heavy tails. df: degrees of freedom, > 1 (else no mean)."""

    df: float
    scale: float

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if not (math.isfinite(self.df) and self.df > 1):
            raise ValueError(
                f"degrees of freedom are above 1, so that a mean exists; got {self.df}"
            )
        check_positive("the scale of a noise", self.scale)

    def scaled(self, factor: float) -> StudentT:
        """The law of factor * e; factor is not 0."""
        return StudentT(self.df, abs(factor) * self.scale)

    def density(self, x: Points) -> Points:
        """(1 + a**2 / df)**(-(df + 1) / 2) / (scale sqrt(df) B(df / 2, 1 / 2)), a = x / scale."""
        a = _in_units(x, self.scale)
        log_peak = -float(scipy.special.betaln(0.5 * self.df, 0.5)) - 0.5 * math.log(self.df)
        return np.exp(log_peak - 0.5 * (self.df + 1) * np.log1p(a * a / self.df)) / self.scale

    def tail(self, x: Points) -> Points:
        """I(df / (df + a**2); df / 2, 1 / 2) / 2 for a >= 0, by the incomplete beta function."""
        a = _in_units(x, self.scale)
        half: Points = 0.5 * scipy.special.betainc(0.5 * self.df, 0.5, self.df / (self.df + a * a))
        return np.where(a >= 0, half, 1.0 - half)

    def excess(self, x: Points) -> Points:
        """scale ((df + a**2) / (df - 1) f(a) - a P(e > x)) for a = x / scale >= 0, f the density
        at scale 1. The terms cancel to about 1 / df of their size.

        >>> StudentT(3.0, 1.0).excess(np.zeros(1)).round(6).tolist()
        [0.551329]
        """
        a = _in_units(np.abs(x), self.scale)
        first = (self.df + a * a) / (self.df - 1) * self.scale * self.density(np.abs(x))
        return self.scale * (first - a * self.tail(np.abs(x))) + np.maximum(-x, 0.0)

    def breaks(self) -> Points:
        """Whole scales up to 40, then factors of sqrt 2 up to 40 * 2**30."""
        right = np.concatenate([np.arange(1.0, 40.0), 40.0 * 2.0 ** (0.5 * np.arange(61.0))])
        return self.scale * np.concatenate([-right[::-1], [0.0], right])


@dataclass(frozen=True, slots=True)
class Uniform:
    """Uniform noise on [-half_width, half_width]. half_width > 0."""

    half_width: float

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        check_positive("the half width of a noise", self.half_width)

    def scaled(self, factor: float) -> Uniform:
        """The law of factor * e; factor is not 0."""
        return Uniform(abs(factor) * self.half_width)

    def density(self, x: Points) -> Points:
        """1 / (2 h) within the half width h, else 0."""
        return np.where(np.abs(x) <= self.half_width, 0.5 / self.half_width, 0.0)

    def tail(self, x: Points) -> Points:
        """(h - x) / (2 h), at least 0 and at most 1."""
        return np.clip(0.5 * (1.0 - x / self.half_width), 0.0, 1.0)

    def excess(self, x: Points) -> Points:
        """(h - x)**2 / (4 h) for 0 <= x <= h, else 0.

        >>> Uniform(2.0).excess(np.array([0.0, 1.0, 3.0, -3.0])).tolist()
        [0.5, 0.125, 0.0, 3.0]
        """
        reach = np.maximum(self.half_width - np.abs(x), 0.0)
        return reach * (0.25 * reach / self.half_width) + np.maximum(-x, 0.0)

    def breaks(self) -> Points:
        """The two ends."""
        return np.array([-self.half_width, self.half_width])


@dataclass(frozen=True, slots=True)
class Triangular:
    """Triangular noise on [-half_width, half_width]: half the sum of two uniform ones on it.

    Raises ValueError unless half_width > 0.
    """

    half_width: float

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        check_positive("the half width of a noise", self.half_width)

    @property
    def scale(self) -> float:
        """The half width."""
        return self.half_width

    @property
    def std(self) -> float:
        """half_width / sqrt 6.

        >>> round(Triangular(1.0).std, 5)
        0.40825
        """
        return self.half_width / math.sqrt(6)

    def scaled(self, factor: float) -> Triangular:
        """The law of factor * e; factor is not 0."""
        return Triangular(abs(factor) * self.half_width)

    def _reach(self, x: Points) -> Points:
        return np.maximum(1.0 - np.abs(x) / self.half_width, 0.0)

    def density(self, x: Points) -> Points:
        """(1 - abs(x) / h) / h within the half width h, else 0."""
        return self._reach(x) / self.half_width

    def tail(self, x: Points) -> Points:
        """(1 - x / h)**2 / 2 for 0 <= x <= h."""
        half = 0.5 * self._reach(x) ** 2
        return np.where(x >= 0, half, 1.0 - half)

    def excess(self, x: Points) -> Points:
        """h (1 - x / h)**3 / 6 for 0 <= x <= h, else 0.

        >>> Triangular(2.0).excess(np.array([0.0, 1.0, 3.0, -3.0])).round(6).tolist()
        [0.333333, 0.041667, 0.0, 3.0]
        """
        return self.half_width * self._reach(x) ** 3 / 6.0 + np.maximum(-x, 0.0)

    def breaks(self) -> Points:
        """The two ends and the middle."""
        return np.array([-self.half_width, 0.0, self.half_width])


@dataclass(frozen=True, slots=True)
class Logistic:
    """Logistic noise: P(e <= x) is the sigmoid of x / scale. Raises ValueError unless scale > 0."""

    scale: float

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        check_positive("the scale of a noise", self.scale)

    @property
    def std(self) -> float:
        """pi scale / sqrt 3.

        >>> round(Logistic(1.0).std, 5)
        1.8138
        """
        return math.pi * self.scale / math.sqrt(3)

    def scaled(self, factor: float) -> Logistic:
        """The law of factor * e; factor is not 0."""
        return Logistic(abs(factor) * self.scale)

    def density(self, x: Points) -> Points:
        """sigmoid(a) sigmoid(-a) / scale, a = x / scale."""
        sigmoid = scipy.special.expit
        return sigmoid(x / self.scale) * sigmoid(-x / self.scale) / self.scale

    def tail(self, x: Points) -> Points:
        """sigmoid(-a)."""
        return scipy.special.expit(-x / self.scale)

    def excess(self, x: Points) -> Points:
        """scale log(1 + exp(-a)).

        >>> Logistic(2.0).excess(np.array([0.0])).round(6).tolist()
        [1.386294]
        """
        return self.scale * np.logaddexp(0.0, -x / self.scale)

    def breaks(self) -> Points:
        """Whole scales up to 40, and 745 of them, where the density is below the least float."""
        right = np.concatenate([np.arange(1.0, 41.0), [80.0, 160.0, 320.0, 745.0]])
        return self.scale * np.concatenate([-right[::-1], [0.0], right])


@dataclass(frozen=True, slots=True)
class Cauchy:
    """Cauchy noise: no mean, so its excess and std are infinite.

    scale: half width at half of the peak, > 0, else ValueError.
    """

    scale: float

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        check_positive("the scale of a noise", self.scale)

    @property
    def std(self) -> float:
        """Infinite: no second moment exists."""
        return math.inf

    def scaled(self, factor: float) -> Cauchy:
        """The law of factor * e; factor is not 0."""
        return Cauchy(abs(factor) * self.scale)

    def density(self, x: Points) -> Points:
        """1 / (pi scale (1 + a**2)), a = x / scale."""
        a = np.clip(x / self.scale, -1e150, 1e150)
        return 1.0 / (math.pi * self.scale * (1.0 + a * a))

    def tail(self, x: Points) -> Points:
        """The angle of the point (a, 1) over pi.

        >>> Cauchy(1.0).tail(np.array([0.0, 1.0, -1.0])).tolist()
        [0.5, 0.25, 0.75]
        """
        return np.arctan2(1.0, x / self.scale) / math.pi

    def excess(self, x: Points) -> Points:
        """Infinite: the tail falls like 1 / x."""
        return np.full(np.shape(x), math.inf)

    def breaks(self) -> Points:
        """Whole scales up to 40, then factors of sqrt 2 up to 40 * 2**30."""
        right = np.concatenate([np.arange(1.0, 40.0), 40.0 * 2.0 ** (0.5 * np.arange(61.0))])
        return self.scale * np.concatenate([-right[::-1], [0.0], right])


Noise: TypeAlias = Gaussian | StudentT | Uniform | Triangular | Logistic
"""The laws that have a mean, so that an excess is finite."""

Smoothing: TypeAlias = Noise | Cauchy
"""The laws a stair is smoothed by."""

EXAMPLES: dict[str, Smoothing] = {
    "uniform": Uniform(0.7),
    "triangular": Triangular(0.7),
    "normal": Gaussian(0.4),
    "logistic": Logistic(0.2),
    "student": StudentT(3.0, 0.3),
    "cauchy": Cauchy(0.2),
}
"""One noise of every law, about as wide as each other, the heaviest tails last."""
