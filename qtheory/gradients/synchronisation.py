"""Schedules of noise over the layers of a stair network, and how soon it is hard [spallanzani2022].

Layer l = 0 .. L-1 has a window of time [a_l, b_l], in units of a period, T = L periods in all:

    overlapped        [0, L]               all at once
    same start        [0, l + 1]           the first layer is hard first
    same end          [L - l - 1, L]
    partition         [l, l + 1]           one after the other, the first layer first
    last layer first  [L - l - 1, L - l]

Within it u = clip((b_l - t) / (b_l - a_l), 0, 1) falls from 1 to 0 and, with the power p_l,

    mean = mean_0 u**p_l        scale = scale_0 u**(2 p_l)

where p_l = 1 (homogeneous), L - l (progressive: earlier layers faster) or l + 1 (reversed). A
static mean is 0. First values of the public code: mean -1/2; scale 1/2 for uniform noise, and
1 / (2 log 39) for logistic, so that 95 % of the mass is within 1/2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from qtheory.gradients.composition import LayerNoise, StairNetwork, deviation
from qtheory.gradients.smoothed_network import Inputs
from qtheory.noise import Smoothing, scale_of, with_scale

Windows: TypeAlias = Literal[
    "overlapped", "same start", "same end", "partition", "last layer first"
]
Powers: TypeAlias = Literal["homogeneous", "progressive", "reversed"]


def window(windows: Windows, layer: int, layers: int) -> tuple[float, float]:
    """First and last time of a layer, in periods.

    >>> [window("same end", layer, 4) for layer in (0, 3)]
    [(3, 4), (0, 4)]
    """
    match windows:
        case "overlapped":
            return 0, layers
        case "same start":
            return 0, layer + 1
        case "same end":
            return layers - layer - 1, layers
        case "partition":
            return layer, layer + 1
        case "last layer first":
            return layers - layer - 1, layers - layer


def power(powers: Powers, layer: int, layers: int) -> int:
    """p_l.

    >>> [power("progressive", layer, 4) for layer in range(4)]
    [4, 3, 2, 1]
    """
    match powers:
        case "homogeneous":
            return 1
        case "progressive":
            return layers - layer
        case "reversed":
            return layer + 1


@dataclass(frozen=True, slots=True)
class NoisePlan:
    """windows and powers as in the module. noise: its law at the beginning. mean: at the beginning,
    0 for a static mean, negative so as to tend to H+."""

    noise: Smoothing
    windows: Windows
    powers: Powers = "homogeneous"
    mean: float = 0.0

    def at(self, time: float, layers: int) -> tuple[LayerNoise, ...]:
        """Noises of the layers at a share of the whole time, from 0 to 1.

        Raises ValueError if the time is not within [0, 1].

        >>> from qtheory.noise import Uniform
        >>> NoisePlan(Uniform(0.5), "partition", mean=-0.5).at(0.75, 2)
        (LayerNoise(noise=None, mean=-0.0), LayerNoise(noise=Uniform(half_width=0.125), mean=-0.25))
        """
        if not 0 <= time <= 1:
            raise ValueError(f"a time is a share of the whole, within [0, 1], got {time}")
        found = list[LayerNoise]()
        for layer in range(layers):
            begin, end = window(self.windows, layer, layers)
            left = float(np.clip((end - time * layers) / (end - begin), 0.0, 1.0))
            p = power(self.powers, layer, layers)
            scale = scale_of(self.noise) * left ** (2 * p)
            noise = with_scale(self.noise, scale) if scale > 0 else None
            found.append(LayerNoise(noise, self.mean * left**p))
        return tuple(found)


def mean_error(network: StairNetwork, plan: NoisePlan, time: float, x: Inputs) -> float:
    """Mean over points and units of abs(smoothed output - output of the stair network)."""
    noises = plan.at(time, len(network.layers))
    return float(np.abs(deviation(network, noises, x)).mean())
