"""Networks of stairs, layer by layer, and the noise before the stairs of a layer.

    z_l = W_l x_(l-1) + b_l,   x_l = q_l(z_l)                 without noise
                               x_l = q_l(z_l - mean_l - e_l)  under noise

with a stair q_l for each layer; the noise e_l is independent for each unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.arrays import Words
from qtheory.gradients.networks.affine import Affine, Features, check_widths
from qtheory.noise import Points, Smoothing
from qtheory.stairs import smoothing
from qtheory.stairs.smoothing import density_from_the_right
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

Gaps = Float[ndarray, "rows _units _thresholds"]
UnitLaws = Float[ndarray, "rows _units _levels"]
NoiseOrMean = TypeVar("NoiseOrMean", bound="LayerNoise | float")


@dataclass(frozen=True, slots=True)
class StairLayer:
    """x -> stair(affine(x))."""

    affine: Affine
    stair: Stair

    def __call__(self, x: Features) -> Features:
        return self.stair(self.affine(x))

    def gaps(self, x: Features) -> Gaps:
        """z - t_i for each row, unit and threshold, in the unit of the pre-activations."""
        return self.affine(x)[..., None] - np.array(self.stair.thresholds)


@dataclass(frozen=True, slots=True)
class StairNetwork:
    """Layers of stairs, the first of which takes the input.

    Raises ValueError unless there is a layer and each takes the units of the one before.
    """

    layers: tuple[StairLayer, ...]

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        check_widths([each.affine for each in self.layers])

    def __call__(self, x: Features) -> Features:
        """Levels of the last layer, without noise.

        >>> unit = StairLayer(Affine(np.ones((1, 1)), np.zeros(1)), Stair.step())
        >>> StairNetwork((unit, unit))(np.array([[-0.1], [0.0]])).tolist()
        [[1.0], [1.0]]
        """
        for layer in self.layers:
            x = layer(x)
        return x

    def each_with(self, noises: Sequence[NoiseOrMean]) -> list[tuple[StairLayer, NoiseOrMean]]:
        """Layers with their noises, or means. Raises ValueError unless there is one for each."""
        if len(noises) != len(self.layers):
            raise ValueError(
                f"there is a noise for each of {len(self.layers)} layers, got {len(noises)}"
            )
        return list(zip(self.layers, noises, strict=True))


@dataclass(frozen=True, slots=True)
class LayerNoise:
    """Noise before the stairs of a layer: x becomes x - mean - e. None: no noise, but the mean
    still moves the stair; a negative mean leads to the upper level at thresholds.

    Raises ValueError if the mean is not finite.

    >>> from qtheory.noise import Uniform
    >>> LayerNoise.of(Uniform(1.0), 0.0, -0.5)
    LayerNoise(noise=None, mean=-0.5)
    """

    noise: Smoothing | None
    mean: float = 0.0

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if not np.isfinite(self.mean):
            raise ValueError(f"the mean of a noise is finite, got {self.mean}")

    @classmethod
    def of(cls, family: Smoothing, scale: float, mean: float = 0.0) -> LayerNoise:
        """The family at a scale >= 0 of a schedule, in units of the scale of `family`."""
        if not (np.isfinite(scale) and scale >= 0):
            raise ValueError(f"a scale of a schedule is finite and >= 0, got {scale}")
        return cls(family.scaled(scale) if scale > 0 else None, mean)

    def tail(self, x: Points) -> Points:
        """P(e > x)."""
        return np.where(x >= 0, 0.0, 1.0) if self.noise is None else self.noise.tail(x)

    def law(self, stair: Stair, z: Features) -> UnitLaws:
        """P(level i) of each unit."""
        if self.noise is None:
            return np.eye(len(stair.levels))[stair.index(z - self.mean)]
        return smoothing.law(stair, self.noise, z, self.mean)

    def law_slope(self, stair: Stair, z: Features) -> UnitLaws:
        """d/dz P(level i) = f(u_i) - f(u_(i+1)); 0 without noise, almost everywhere."""
        if self.noise is None:
            return np.zeros((*z.shape, len(stair.levels)))
        u = z[..., None] - self.mean - np.array(stair.thresholds)
        f = density_from_the_right(self.noise, u)
        none = np.zeros((*z.shape, 1))
        return -np.diff(np.concatenate([none, f, none], axis=-1), axis=-1)

    def slope(self, stair: Stair, z: Features) -> Features:
        """d/dz of the expectation of each unit; 0 without noise, almost everywhere."""
        if self.noise is None:
            return np.zeros(z.shape)
        return smoothing.slope(stair, self.noise, z, self.mean)

    def passed(self, forward: str, stair: Stair, z: Features) -> Features:
        """What a unit hands on: its "expectation", its most probable level ("mode"), or the level
        without noise ("hard"). Without noise all are the last; the mean shifts it, too.

        Raises ValueError for another word.
        """
        if forward not in ("expectation", "mode", "hard"):
            raise ValueError(f"without draws, expectation, mode or hard is passed, got {forward!r}")
        if self.noise is None or forward == "hard":
            return stair(z - self.mean)
        if forward == "expectation":
            return smoothing.expectation(stair, self.noise, z, self.mean)
        return np.array(stair.levels)[smoothing.mode(stair, self.noise, z, self.mean)]

    def drawn(self, stair: Stair, z: Features, words: Words) -> Features:
        """A level of each unit, drawn by one word."""
        if self.noise is None:
            return stair(z - self.mean)
        return np.array(stair.levels)[smoothing.draw(stair, self.noise, z, words, self.mean)]


def noises_at(
    family: Smoothing, scales: Sequence[float], means: Sequence[float] | None = None
) -> tuple[LayerNoise, ...]:
    """A schedule at one time: a scale >= 0, in units of that of `family`, and a mean, by default 0,
    for each layer. Raises ValueError if a scale is negative or there are not as many means.

    >>> from qtheory.noise import Uniform
    >>> noises_at(Uniform(0.5), [1.0, 0.0])
    (LayerNoise(noise=Uniform(half_width=0.5), mean=0.0), LayerNoise(noise=None, mean=0.0))
    """
    means = [0.0] * len(scales) if means is None else means
    if len(means) != len(scales):
        raise ValueError(
            f"a schedule has a mean for each scale, got {len(means)} and {len(scales)}"
        )
    return tuple(LayerNoise.of(family, s, mean) for s, mean in zip(scales, means, strict=True))
