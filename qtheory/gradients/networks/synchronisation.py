"""Schedules of noise over the layers of a fixed stair network, and the time when it is hard.

Means and scales follow a policy of `qtheory.schedules`, time being a share of the whole
[spallanzani2022]. First values of the public code: mean -1/2, or 0 if it is static; scale 1/2 for
uniform noise, and 1 / (2 log 39) for logistic, so that 95 % of the mass is within 1/2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qtheory.gradients.networks.affine import Features
from qtheory.gradients.networks.composition import deviation
from qtheory.gradients.networks.stair_network import LayerNoise, StairNetwork, noises_at
from qtheory.noise import Smoothing
from qtheory.schedules import Policy


@dataclass(frozen=True, slots=True)
class NoisePlan:
    """noise: its law at the beginning. policy: windows and powers of the layers. mean: at the
    beginning, 0 for a static mean, negative so as to tend to H+."""

    noise: Smoothing
    policy: Policy
    mean: float = 0.0

    def at(self, time: float, layers: int) -> tuple[LayerNoise, ...]:
        """Noises of the layers at a share of the whole time, from 0 to 1.

        Raises ValueError if the time is not within [0, 1].

        >>> from qtheory.noise import Uniform
        >>> NoisePlan(Uniform(0.5), Policy("partition"), mean=-0.5).at(0.75, 2)
        (LayerNoise(noise=None, mean=-0.0), LayerNoise(noise=Uniform(half_width=0.125), mean=-0.25))
        """
        if not 0 <= time <= 1:
            raise ValueError(f"a time is a share of the whole, within [0, 1], got {time}")
        scales = self.policy.windows(layers, 1.0, 1.0)
        means = self.policy.windows(layers, 1.0, self.mean, times=1)
        now = time * layers
        return noises_at(
            self.noise, [float(each(now)) for each in scales], [float(each(now)) for each in means]
        )


def mean_error(network: StairNetwork, plan: NoisePlan, time: float, x: Features) -> float:
    """Mean over points and units of abs(smoothed output - output of the stair network)."""
    noises = plan.at(time, len(network.layers))
    return float(np.abs(deviation(network, noises, x)).mean())
