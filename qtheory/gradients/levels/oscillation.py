"""One weight at a threshold: the rotation of straight-through descent, noise, and two cures.

Levels are the whole multiples of a spacing D, q(w) the nearest (a tie goes up), and the loss is
(q(w) - w*)**2 / 2. Straight-through descent with learning rate r moves the latent w by

    w <- w - r (q(w) - w*),    w* = (k + a) D,  0 < a < 1,

up by r a D below the threshold t = (k + 1/2) D and down by r (1 - a) D from it on. With
y = (w - t) / (r D) + 1 - a that is a rotation of the circle of length 1, if r max(a, 1 - a) <= 1:

    y <- y + a  if y < 1 - a,  else  y + a - 1:   y_n = (y_0 + n a) mod 1.

So, for every such learning rate: the visible weight averages w*, over n iterations to within D / n;
it goes up min(a, 1 - a) times an iteration, as often down; the latent stays in
[t - (1 - a) r D, t + a r D); and if a = p / d in lowest terms the orbit is d points r D / d apart,
so its range is r D (1 - 1 / d). The mean loss is a (1 - a) D**2 / 2.
Frequencies of oscillating weights were observed, and cured as below, by [nagel2022].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from qtheory.arrays import Pmf
from qtheory.chain import BandedChain, stationary_distribution
from qtheory.values import rebuilt


def nearest(w: Fraction, spacing: Fraction) -> Fraction:
    """The nearest multiple of the spacing; a tie goes up.

    >>> nearest(Fraction(-1, 2), Fraction(1)), nearest(Fraction(5, 4), Fraction(1, 2))
    (Fraction(0, 1), Fraction(3, 2))
    """
    return spacing * math.floor(w / spacing + Fraction(1, 2))


@dataclass(frozen=True, slots=True)
class OneWeight:
    """A weight and its target, in exact numbers. spacing: D > 0. target: w*, not a level.
    learning_rate: r > 0 with r max(a, 1 - a) <= 1, so that no move crosses a whole cell.

    Raises ValueError otherwise.
    """

    target: Fraction
    learning_rate: Fraction
    spacing: Fraction = Fraction(1)

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if self.spacing <= 0:
            raise ValueError(f"a spacing is positive, got {self.spacing}")
        a = self.fraction
        if a == 0:
            raise ValueError(f"a target is between two levels, got {self.target}")
        if not 0 < self.learning_rate * max(a, 1 - a) <= 1:
            raise ValueError(
                "a learning rate is positive and moves less than a spacing, got "
                f"{self.learning_rate}"
            )

    @property
    def fraction(self) -> Fraction:
        """a: the place of the target between its two levels."""
        return self.target / self.spacing % 1

    @property
    def threshold(self) -> Fraction:
        """t, between the levels beside the target."""
        return self.spacing * (math.floor(self.target / self.spacing) + Fraction(1, 2))

    def in_orbit(self, w: Fraction) -> bool:
        """Whether a latent is in the interval of the rotation."""
        reach, a = self.learning_rate * self.spacing, self.fraction
        return -(1 - a) * reach <= w - self.threshold < a * reach


class Orbit(NamedTuple):
    """Latent and visible weights, one each per iteration, in weight units."""

    latent: tuple[Fraction, ...]
    visible: tuple[Fraction, ...]


def straight_through(weight: OneWeight, start: Fraction, iterations: int) -> Orbit:
    """Iterate w <- w - r (q(w) - w*), exactly. The start is the first entry.

    >>> third = OneWeight(Fraction(1, 3), Fraction(1, 10))
    >>> [str(q) for q in straight_through(third, third.threshold, 6).visible]
    ['1', '0', '0', '1', '0', '0']
    """
    return windowed(weight, start, iterations, None)


def windowed(
    weight: OneWeight, start: Fraction, iterations: int, half_width: Fraction | None
) -> Orbit:
    """The same with the gradient times the slope of the stair under uniform noise of half width s:
    D / (2 s) for each threshold t_i with -s <= w - t_i < s. None stands for the slope 1.

    s = D / 2 is the slope 1. If s < D / 2 a weight outside the windows rests for ever; one inside
    rotates with rate r D / (2 s) if all of that orbit is in the window, for which
    r D**2 max(a, 1 - a) <= 2 s**2 is enough, and otherwise comes to rest, if no move is long
    enough to end in another window. Raises ValueError unless 0 < s <= D / 2.
    """
    if half_width is not None and not 0 < half_width <= weight.spacing / 2:
        raise ValueError(f"a window is positive and half a spacing at most, got {half_width}")
    latent, w = [start], start
    for _ in range(iterations - 1):
        factor = Fraction(1)
        if half_width is not None:
            ends = [
                nearest(w + half_width, weight.spacing),
                nearest(w - half_width, weight.spacing),
            ]
            factor = (ends[0] - ends[1]) / (2 * half_width)
        gradient = nearest(w, weight.spacing) - weight.target
        w = w - weight.learning_rate * factor * gradient
        latent.append(w)
    return Orbit(tuple(latent), tuple(nearest(each, weight.spacing) for each in latent))


def rotation(weight: OneWeight, start: Fraction, iterations: int) -> tuple[Fraction, ...]:
    """Latents by the formula of the rotation. Raises ValueError if the start is not in its orbit.

    >>> third = OneWeight(Fraction(1, 3), Fraction(1, 10))
    >>> rotation(third, Fraction(1, 2), 3) == straight_through(third, Fraction(1, 2), 3).latent
    True
    """
    if not weight.in_orbit(start):
        raise ValueError(f"a rotation begins in [t - (1 - a) r D, t + a r D), got {start}")
    reach, a = weight.learning_rate * weight.spacing, weight.fraction
    y = (start - weight.threshold) / reach + 1 - a
    return tuple(weight.threshold + reach * ((y + n * a) % 1 - (1 - a)) for n in range(iterations))


def ups(visible: Sequence[float | Fraction]) -> int:
    """Moves up among neighbours of a sequence.

    >>> ups([0, 1, 1, 0, 1])
    2
    """
    return sum(later > earlier for earlier, later in pairwise(visible))


def descend(
    gradient: Callable[[float], float], start: float, learning_rate: float, iterations: int
) -> tuple[list[float], list[float]]:
    """Latent and visible weights of w <- w - r gradient(w), spacing 1, in floating point."""
    latent = [start]
    for _ in range(iterations - 1):
        latent.append(latent[-1] - learning_rate * gradient(latent[-1]))
    return latent, [math.floor(w + 0.5) for w in latent]


# Noise


class Noisy(NamedTuple):
    """mean: of the visible weight, in spacings above the level below; ups: moves up an iteration;
    spread: std of the latent, in units of learning rate times spacing."""

    mean: float
    ups: float
    spread: float


def noisy(numerator: int, denominator: int, noise: Pmf) -> Noisy:
    """The stationary law of w <- w - r (q(w) - w* + D e) about one threshold, a = p / d.

    noise: probabilities of d e = -m, ..., m. In units of r D the latent is on a lattice of spacing
    1 / d, moves by a + e below the threshold and by a - 1 + e from it on, whatever r: so nothing
    here depends on the learning rate. No drift in the mean is left, so the mean is a for any e
    without mean. Strong noise makes it a diffusion with two-sided exponential law: with
    v = E e**2 the density at the threshold is 2 a (1 - a) / v, and the weight goes up

        about a (1 - a) E abs(e) / v  times an iteration,

    0.80 a (1 - a) / std for normal noise. The law is cut where it is below exp(-40).
    Raises ValueError unless 0 < p < d, and the noise has an odd number of entries, adds up to 1 and
    has no mean; or
    if moves have a common divisor (p / d not in lowest terms, without noise), so that several
    orbits are stationary.
    """
    p, d, m = numerator, denominator, noise.size // 2
    e = np.arange(-m, m + 1) / d
    if not 0 < p < d:
        raise ValueError(f"a fraction is inside (0, 1), got {p} / {d}")
    if noise.size % 2 == 0 or not abs(float(e @ noise)) <= 1e-12:
        raise ValueError(f"noise is on -m, ..., m and has no mean, got {noise.size} entries")
    if not abs(math.fsum(noise) - 1.0) <= 1e-12:
        raise ValueError(f"probabilities add up to 1, got {math.fsum(noise)}")
    slack = min(p, d - p)
    reach = math.ceil(20 * float(d * e @ (d * e * noise)) / slack) + 40 * (m + d)
    width = m + max(p, d - p)
    above, below = np.zeros((2, width, 2 * reach))
    j = np.arange(-reach, reach)
    drift = np.where(j < 0, p, p - d)
    for k, probability in zip(range(-m, m + 1), noise, strict=True):
        move = np.clip(j + drift + k, -reach, reach - 1) - j
        for band, length in ((above, move), (below, -move)):
            at = np.flatnonzero(length > 0)
            band[length[at] - 1, at] += probability
    law = stationary_distribution(BandedChain(above, below))
    rising = math.fsum(
        float(law[reach - n] * above[n - 1 :, reach - n].sum()) for n in range(1, width + 1)
    )
    x = j / d - float(law @ j) / d
    return Noisy(float(law[reach:].sum()), rising, math.sqrt(float(law @ (x * x))))


# Two cures


def dampened_gradient(target: float, strength: float) -> Callable[[float], float]:
    """The gradient q - w* + strength (w - q), spacing 1: a pull to the nearest level [nagel2022].

    To first order in the learning rate the latent moves by a - strength / 2 below and by
    1 - a - strength / 2 above the threshold. If both are positive it is a rotation of a circle
    of length 1 - strength: see `dampened_law`. Otherwise it rests at q + (w* - q) / strength.
    """

    def gradient(w: float) -> float:
        q = math.floor(w + 0.5)
        return q - target + strength * (w - q)

    return gradient


def dampened_law(fraction: float, strength: float) -> tuple[float, float]:
    """Moves up an iteration, and the mean of the visible weight in spacings above the level below.

    min(a, 1 - a) - strength / 2, and a - strength / 2, over 1 - strength: oscillation goes on, with
    a mean that is no longer the target unless a = 1/2, up to the strength 2 min(a, 1 - a).
    From there on the weight rests, at the nearest level if it begins near the threshold and the
    strength is below 2 max(a, 1 - a). Raises ValueError unless 0 <= strength < that.

    >>> [round(v, 4) for v in dampened_law(0.375, 0.25)]
    [0.3333, 0.3333]
    >>> dampened_law(0.375, 0.75)
    (0.0, 0.0)
    """
    if not 0 <= strength < 2 * max(fraction, 1 - fraction):
        raise ValueError(f"a strength is at least 0 and below 2 max(a, 1 - a), got {strength}")
    least = min(fraction, 1 - fraction)
    if strength >= 2 * least:
        return 0.0, float(round(fraction))
    rate = 1.0 - strength
    return (least - 0.5 * strength) / rate, (fraction - 0.5 * strength) / rate


class Frozen(NamedTuple):
    """iteration: when the weight was frozen, None if never; level: where."""

    iteration: int | None
    level: int


def freeze(visible: Sequence[int], momentum: float, threshold: float, begin: int = 0) -> Frozen:
    """Freeze a weight that oscillates often [nagel2022]: levels as whole numbers.

    With o_n = 1 if the level changed, f <- (1 - m) f + m o_n and the mean level
    z <- (1 - m) z + m q, from f = 0 and the first level; at the first iteration >= begin with
    f > threshold the weight is frozen at the whole number nearest to z. It changes 2 min(a, 1 - a)
    times an iteration, so it is frozen at last if that is above the threshold by what f fluctuates.
    Frozen early, it stays where it began, as z does: `begin` is worth several 1 / m.
    Raises ValueError if there is no level.
    """
    if not visible:
        raise ValueError("a weight has at least one level in its past, got none")
    often, mean = 0.0, float(visible[0])
    for n, (earlier, later) in enumerate(pairwise(visible), start=1):
        often += momentum * (float(later != earlier) - often)
        mean += momentum * (later - mean)
        if n >= begin and often > threshold:
            return Frozen(n, math.floor(mean + 0.5))
    return Frozen(None, visible[-1])
