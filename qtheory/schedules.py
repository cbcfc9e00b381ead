"""Schedules: from an epoch to the scale, or the mean, of a layer's noise [spallanzani2022].

Layers are counted from the input, l = 0 to L - 1; layer l is a pair of weights and activations
with one clock. With a clipped share u = clip((end - t) / (end - begin), 0, 1) of a window left,

    bounded      first * u**power                        power 0 keeps the first value for ever
    unbounded    first * (t - begin + 1)**-power         0 once the factor is below a cut

Windows, P the period:   overlapped [0, P L]         partition [P l, P (l + 1)]
                         same start [0, P (l + 1)]   same end  [P (L - l - 1), P L]
Base powers: homogeneous 1, progressive L - l; a mean takes the base power, a scale twice that.
A reversed policy gives layer l what layer L - 1 - l has. Settings are those of public code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from qtheory.arrays import Numbers
from qtheory.noise import Points, Smoothing, quantile, scale_of
from qtheory.noise.families import check_positive
from qtheory.values import rebuilt

Schedule: TypeAlias = Callable[[Numbers], Points]
"""Epochs to values."""

INTERVALS = ("overlapped", "partition", "same start", "same end")
POWERS = ("homogeneous", "progressive")
FORWARDS = ("expectation", "mode", "random")
FIRST_MEAN, SCALE_POWER = -0.5, 2
STARTS_2019 = (0.0, 100.0, 150.0, 200.0, 250.0, 300.0, 350.0, 400.0, 450.0)
"""First epochs of the nine windows of 50 for CIFAR-10 in the public code of [spallanzani2019]."""


@dataclass(frozen=True, slots=True)
class Window:
    """A bounded schedule: first * clip((end - t) / (end - begin), 0, 1)**power.

    first: value up to `begin`, negative for a mean. begin, end: epochs. power: a whole number.
    Raises ValueError unless begin < end are finite and power >= 0.

    >>> Window(0.5, 0.0, 4.0, 2)(np.array([-1.0, 0.0, 2.0, 4.0, 9.0])).tolist()
    [0.5, 0.5, 0.125, 0.0, 0.0]
    >>> Window(0.5, 0.0, 4.0, 0)(np.array([9.0])).tolist()
    [0.5]
    """

    first: float
    begin: float
    end: float
    power: int

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if not (math.isfinite(self.first) and -math.inf < self.begin < self.end < math.inf):
            raise ValueError(
                "a window has a finite first value and finite begin < end, got "
                f"first {self.first}, begin {self.begin}, end {self.end}"
            )
        if self.power < 0:
            raise ValueError(f"the power of a window is >= 0, got {self.power}")

    def __call__(self, epoch: Numbers) -> Points:
        """Values at epochs, same shape."""
        left = (self.end - np.asarray(epoch, dtype=np.float64)) / (self.end - self.begin)
        return np.asarray(self.first * np.clip(left, 0.0, 1.0) ** self.power)

    def time_to(self, share: float) -> float:
        """The epoch with value share * first: begin + (end - begin) (1 - share**(1 / power)).

        Infinite for power 0. Raises ValueError unless 0 < share < 1.

        >>> Window(0.5, 10.0, 20.0, 2).time_to(0.25)
        15.0
        """
        if not 0 < share < 1:
            raise ValueError(f"a share is inside (0, 1), got {share}")
        if self.power == 0:
            return math.inf
        return self.begin + (self.end - self.begin) * (1.0 - share ** (1.0 / self.power))


@dataclass(frozen=True, slots=True)
class Unbounded:
    """first * (t - begin + 1)**-power from `begin` on, first before; 0 where the factor < cut.

    Raises ValueError unless first and begin are finite, power >= 0, 0 <= cut < 1.

    >>> Unbounded(0.5, 0.0, 1, 0.3)(np.array([-5.0, 0.0, 1.0, 3.0])).tolist()
    [0.5, 0.5, 0.25, 0.0]
    """

    first: float
    begin: float
    power: int
    cut: float

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        finite = math.isfinite(self.first) and math.isfinite(self.begin)
        if not (finite and self.power >= 0 and 0 <= self.cut < 1):
            raise ValueError(
                "an unbounded schedule has finite first and begin, power >= 0, 0 <= cut < 1, "
                f"got {self.first}, {self.begin}, {self.power}, {self.cut}"
            )

    def __call__(self, epoch: Numbers) -> Points:
        """Values at epochs, same shape."""
        age = np.maximum(np.asarray(epoch, dtype=np.float64) - self.begin, 0.0) + 1.0
        factor = age**-self.power
        return np.asarray(np.where(factor < self.cut, 0.0, self.first * factor))


@dataclass(frozen=True, slots=True)
class Policy:
    """Which windows and powers layers have. Raises ValueError for unknown names."""

    intervals: str
    powers: str = "homogeneous"
    reverse: bool = False

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if self.intervals not in INTERVALS:
            raise ValueError(f"intervals are one of {', '.join(INTERVALS)}, got {self.intervals!r}")
        if self.powers not in POWERS:
            raise ValueError(f"powers are one of {', '.join(POWERS)}, got {self.powers!r}")

    def windows(
        self, layers: int, period: float, first: float, times: int = SCALE_POWER
    ) -> tuple[Window, ...]:
        """Windows of the layers, input first. period: epochs. first: the first value of all.
        times: factor of the base power, 2 for a scale and 1 for a mean.

        Raises ValueError unless layers >= 1 and period > 0.

        >>> [(w.begin, w.end, w.power) for w in Policy("partition").windows(2, 50, 0.5)]
        [(0, 50, 2), (50, 100, 2)]
        >>> [w.power for w in Policy("overlapped", "progressive").windows(3, 50, 0.5)]
        [6, 4, 2]
        """
        if layers < 1 or not period > 0:
            raise ValueError(
                f"a policy has layers >= 1 and a period > 0, got {layers} and {period}"
            )
        found = tuple(self._window(k, layers, period, first, times) for k in range(layers))
        return found[::-1] if self.reverse else found

    def _window(self, layer: int, layers: int, period: float, first: float, times: int) -> Window:
        begin = {"partition": layer, "same end": layers - layer - 1}.get(self.intervals, 0)
        end = layers if self.intervals in ("overlapped", "same end") else layer + 1
        base = layers - layer if self.powers == "progressive" else 1
        return Window(first, period * begin, period * end, times * base)


def linear_2019(
    first: float = 0.5, starts: Sequence[float] = STARTS_2019, length: float = 50.0
) -> tuple[tuple[Window, ...], tuple[Window, ...]]:
    """The rule of the public code of [spallanzani2019]: linear forward scales in disjoint windows,
    input first, and backward scales that stay.

    Raises ValueError if windows overlap or are out of order.

    >>> forward, backward = linear_2019()
    >>> float(forward[1](125.0)), float(forward[1](150.0)), float(backward[1](999.0))
    (0.25, 0.0, 0.5)
    """
    if any(b < a + length for a, b in pairwise(starts)):
        raise ValueError(f"windows of {length} epochs are disjoint and in order, got {starts}")
    forward = tuple(Window(first, start, start + length, 1) for start in starts)
    return forward, tuple(Window(first, start, start + length, 0) for start in starts)


def gradient_reach(windows: Sequence[Window], epochs: int, share: float = 0.0) -> tuple[int, ...]:
    """Epochs, of 0 to epochs - 1, in which a gradient reaches the weights of each layer when the
    backward scale is the forward one: no layer from it upwards has a scale <= share of its first.
    A hard layer passes nothing; share > 0 calls a layer hard earlier.

    Raises ValueError unless there are windows, epochs >= 0 and 0 <= share < 1.

    >>> gradient_reach(Policy("partition").windows(3, 50, 0.5), 200)
    (50, 100, 150)
    >>> gradient_reach(Policy("partition", reverse=True).windows(3, 50, 0.5), 200)
    (50, 50, 50)
    """
    if not windows or epochs < 0 or not 0 <= share < 1:
        raise ValueError(
            "a reach has layers, epochs >= 0 and a share in [0, 1), "
            f"got {len(windows)} layers, {epochs} epochs, share {share}"
        )
    t = np.arange(epochs, dtype=np.float64)
    soft = np.array([np.abs(w(t)) > share * abs(w.first) for w in windows])
    above = np.logical_and.accumulate(soft[::-1])[::-1]
    return tuple(int(n) for n in above.sum(axis=1))


def scale_with_mass(noise: Smoothing, mass: float, half_width: float) -> float:
    """The scale at which noise of this family is within the half width with that probability.

    Raises ValueError unless 0 < mass < 1 and the half width is positive.

    >>> from qtheory.noise import Gaussian, Logistic
    >>> [round(scale_with_mass(n, 0.95, 0.5), 6) for n in (Gaussian(1.0), Logistic(1.0))]
    [0.255107, 0.136479]
    """
    if not 0 < mass < 1:
        raise ValueError(f"a mass is inside (0, 1), got {mass}")
    check_positive("a half width", half_width)
    reach = float(quantile(noise, np.array([0.5 + 0.5 * mass]))[0])
    return half_width * scale_of(noise) / reach


class Unit(NamedTuple):
    """One training run of a design: what is varied."""

    family: str
    forward: str
    moving_mean: bool
    moving_scale: bool
    policy: Policy | None  # None: nothing moves


def design(family: str, *, moving_means: Sequence[bool] = (False, True)) -> tuple[Unit, ...]:
    """The runs of one family: every forward strategy, moving mean, moving scale and, if something
    moves, policy. Left out: the expectation with a scale that stays, which is never tested as it
    is trained. As the public design, whose filters these are.

    >>> len(design("uniform")), len(design("uniform", moving_means=(False,)))
    (66, 26)
    """
    policies = tuple(Policy(i, p) for i, p in product(INTERVALS, POWERS))
    return tuple(
        Unit(family, forward, mean, scale, policy)
        for forward, mean, scale in product(FORWARDS, moving_means, (False, True))
        if scale or forward != "expectation"
        for policy in (policies if mean or scale else (None,))
    )


@dataclass(frozen=True, slots=True)
class Shares:
    """Share of a layer's weights that is quantised for good, in blocks [zhou2017]: a schedule of
    zeros and ones, one for each weight.

    epochs: when a block is quantised, increasing. shares: accumulated, increasing to 1 at most.
    Raises ValueError otherwise, or if they are not equally many.

    >>> shares = Shares((0.0, 10.0), (0.5, 1.0))
    >>> shares(np.array([-1.0, 0.0, 9.9, 10.0])).tolist()
    [0.0, 0.5, 0.5, 1.0]
    >>> shares.hard(0.6, np.array([9.0, 10.0])).tolist()
    [False, True]
    """

    epochs: tuple[float, ...]
    shares: tuple[float, ...]

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if len(self.epochs) != len(self.shares) or not self.epochs:
            raise ValueError(
                f"a share for each epoch, got {len(self.epochs)} epochs, {len(self.shares)} shares"
            )
        if not (np.diff(self.epochs) > 0).all():
            raise ValueError(f"the epochs of blocks increase, got {self.epochs}")
        if not (np.diff((0.0, *self.shares)) > 0).all() or self.shares[-1] > 1:
            raise ValueError(f"accumulated shares increase from 0 to 1, got {self.shares}")

    def __call__(self, epoch: Numbers) -> Points:
        """The share at epochs, same shape."""
        after = np.searchsorted(self.epochs, np.asarray(epoch, dtype=np.float64), side="right")
        return np.asarray(np.array((0.0, *self.shares))[after])

    def hard(self, rank: float, epoch: Numbers) -> Bool[ndarray, "..."]:
        """Whether a weight is quantised; rank in (0, 1]: share of weights up to it, in the order
        in which they are chosen, usually the largest magnitudes first."""
        return np.asarray(self(epoch) >= rank)


def sharpness(
    iteration: Numbers, factor: float = 1.02, every: int = 200, cap: float = 1e35
) -> Points:
    """The growing factor of mirror descent [ajanthan2021]: factor**floor(k / every), at most cap;
    beta of MD-tanh, 1 over it is a scale. Raises ValueError unless factor, every and cap are at
    least 1 and iterations at least 0.

    >>> round(float(sharpness(500 * 200)))
    19957
    """
    if factor < 1 or every < 1 or cap < 1:
        raise ValueError(f"factor, every, cap are at least 1, got {factor}, {every}, {cap}")
    k = np.asarray(iteration, dtype=np.float64)
    if not (k >= 0).all():
        raise ValueError(f"iterations are at least 0, got {iteration}")
    changes = np.floor(k / every)
    return np.asarray(np.exp(np.minimum(changes * math.log(factor), math.log(cap))))


def cooled(temperature: float, spread: float, rate: float, least: float = 0.5) -> float:
    """The next temperature T max(exp(-rate T / spread), least) [huang1986; from memory].

    spread: standard deviation of the energy at the temperature T, >= 0. As the mean energy of the
    law of Gibbs changes by spread**2 / T**2 with T, it then falls by rate standard deviations, if
    rate is small. Raises ValueError unless T and rate are positive, spread >= 0, 0 < least <= 1.

    >>> cooled(2.0, 4.0, 0.5) == 2.0 * math.exp(-0.25), cooled(2.0, 0.0, 0.5)
    (True, 1.0)
    """
    if not (temperature > 0 and rate > 0 and spread >= 0 and 0 < least <= 1):
        raise ValueError(
            "a temperature and a rate are positive, a spread is at least 0 and a least ratio "
            f"in (0, 1], got {temperature}, {rate}, {spread}, {least}"
        )
    ratio = math.exp(-rate * temperature / spread) if spread else 0.0
    return temperature * max(ratio, least)


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A schedule that stops falling at a floor."""

    schedule: Schedule
    floor: float

    def __call__(self, epoch: Numbers) -> Points:
        """Values at epochs, same shape."""
        return np.asarray(np.maximum(self.schedule(epoch), self.floor))


def input_first(
    layers: int, epochs: float, first: float = 0.5, soft: float = 0.7, floor: float = 0.25
) -> tuple[tuple[Window, ...], tuple[AtLeast, ...]]:
    """Quadratic windows, a rule of ours: layer l ends at soft * epochs * (l + 1) / L.

    All layers begin together and the first ends first. Backward scales are the same but at least
    floor * first, which keeps gradients alive. The learning rate is to drop after the last window.

    Raises ValueError unless layers >= 1, epochs > 0, 0 < soft <= 1 and 0 <= floor <= 1.

    >>> forward, backward = input_first(2, 100.0)
    >>> [w.end for w in forward], float(forward[0](70.0)), float(backward[0](70.0))
    ([35.0, 70.0], 0.0, 0.125)
    """
    if layers < 1 or not epochs > 0:
        raise ValueError(f"a schedule has layers >= 1 and epochs > 0, got {layers} and {epochs}")
    if not (0 < soft <= 1 and 0 <= floor <= 1):
        raise ValueError(f"soft is in (0, 1] and floor in [0, 1], got {soft} and {floor}")
    ends = [soft * epochs * (k + 1) / layers for k in range(layers)]
    forward = tuple(Window(first, 0.0, end, 2) for end in ends)
    return forward, tuple(AtLeast(window, floor * first) for window in forward)
