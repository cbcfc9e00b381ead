"""Continuous networks whose activations are smoothed by noise, layer by layer [leonardi2020].

A network alternates affine maps W_l x + b_l and activations s_l with Lipschitz constants Lam_l.
Noise nu_l at layer l, independent of the input and with mean 0, makes of s_l

    s_l^nu(x) = E s_l(x - nu_l).

    abs(s^nu - s) <= Lam E abs(nu)         and s^nu has the Lipschitz constant Lam, too
    abs((s^nu)'(x) - (s^nu)'(y)) <= Lam TV(f) abs(x - y)     f the density of nu, TV its variation

Errors of layers pass through those above them, so that in the norm max_i abs(x_i)

    sup abs(Phi^nu - Phi) <= sum_l Lam_l E abs(nu_l) prod_(k > l) norm(W_k) Lam_k,

norm(W): the largest sum of abs(w) over a row. Activations here are piecewise linear, for which
the left side has a closed form: E (x - k - nu)^+ = excess(k - x), and the error of the hinge is
largest at its kink, E abs(nu) / 2. The paper states an approximation theorem of this kind; the
constants are ours, not verified against the print.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from qtheory.gradients.networks.affine import Affine, Features, check_widths
from qtheory.noise import Noise, Points, mean_size
from qtheory.values import own_arrays, rebuilt


@dataclass(frozen=True, slots=True)
class PiecewiseLinear:
    """The activation constant + slope x + sum_k bends_k (x - kinks_k)^+.

    kinks: increasing, in units of the input. bends: the change of the slope at each.
    Raises ValueError unless there is a bend for each kink, kinks increase and all are finite.
    """

    kinks: tuple[float, ...]
    bends: tuple[float, ...]
    slope: float = 0.0
    constant: float = 0.0

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        own_arrays(self)
        if len(self.kinks) != len(self.bends):
            raise ValueError(
                f"an activation has a bend for each kink, got {len(self.kinks)} kinks "
                f"and {len(self.bends)} bends"
            )
        if not all(np.isfinite(self.kinks)) or not all(np.diff(self.kinks) > 0):
            raise ValueError(f"kinks are finite and increase, got {self.kinks}")
        numbers = (*self.bends, self.slope, self.constant)
        if not all(np.isfinite(numbers)):
            raise ValueError(f"bends, slope and constant are finite, got {numbers}")

    @property
    def lipschitz(self) -> float:
        """The largest slope in size.

        >>> HARD_TANH.lipschitz, PiecewiseLinear((0.0,), (2.0,), slope=-1.0).lipschitz
        (1.0, 1.0)
        """
        return float(np.abs(self.slope + np.cumsum([0.0, *self.bends])).max())

    def __call__(self, x: Points) -> Points:
        """The activation at x."""
        above = np.maximum(x[..., None] - np.array(self.kinks), 0.0)
        return self.constant + self.slope * x + above @ np.array(self.bends)


RELU = PiecewiseLinear((0.0,), (1.0,))
HARD_TANH = PiecewiseLinear((-1.0, 1.0), (1.0, -1.0), constant=-1.0)
IDENTITY = PiecewiseLinear((), (), slope=1.0)


def expectation(activation: PiecewiseLinear, noise: Noise, x: Points) -> Points:
    """E s(x - nu) = constant + slope x + sum_k bends_k excess(kinks_k - x).

    Uniform noise of half width h makes of the ReLU (x + h)**2 / (4 h) on [-h, h].

    >>> from qtheory.noise import Uniform
    >>> expectation(RELU, Uniform(0.5), np.array([-1.0, 0.0, 0.25, 1.0])).tolist()
    [0.0, 0.125, 0.28125, 1.0]
    """
    hinges = noise.excess(np.array(activation.kinks) - x[..., None])
    return activation.constant + activation.slope * x + hinges @ np.array(activation.bends)


def slope(activation: PiecewiseLinear, noise: Noise, x: Points) -> Points:
    """d/dx of the expectation: slope + sum_k bends_k P(nu < x - kinks_k)."""
    below = noise.tail(np.array(activation.kinks) - x[..., None])
    return activation.slope + below @ np.array(activation.bends)


def error_bound(activation: PiecewiseLinear, noise: Noise) -> float:
    """sup abs(s^nu - s) <= min(Lam, sum_k abs(bends_k) / 2) E abs(nu).

    The second: a hinge errs by excess(abs(x - k)) <= excess(0) = E abs(nu) / 2, with equality at
    its kink, so the ReLU attains it. It is 0 for an affine activation.

    >>> from qtheory.noise import Uniform
    >>> error_bound(RELU, Uniform(0.3)), error_bound(IDENTITY, Uniform(0.3))
    (0.075, 0.0)
    """
    bends = 0.5 * sum(abs(bend) for bend in activation.bends)
    return min(activation.lipschitz, bends) * mean_size(noise)


@dataclass(frozen=True, slots=True)
class Layer:
    """x -> activation(W x + b)."""

    affine: Affine
    activation: PiecewiseLinear


Network = tuple[Layer, ...]


def random_relu_network(widths: tuple[int, ...], seed: int) -> Network:
    """ReLU layers and an affine output; weights and biases uniform within 1 / sqrt(inputs)."""
    draws = np.random.default_rng(seed)
    sizes = list(pairwise(widths))
    return tuple(
        Layer(
            Affine(
                draws.uniform(-1, 1, (units, inputs)) / math.sqrt(inputs),
                draws.uniform(-1, 1, units) / math.sqrt(inputs),
            ),
            RELU if place < len(sizes) - 1 else IDENTITY,
        )
        for place, (inputs, units) in enumerate(sizes)
    )


def forward(network: Network, x: Features) -> Features:
    """Output of the network at points, one in each row."""
    for layer in network:
        x = layer.activation(layer.affine(x))
    return x


def smoothed(network: Network, noises: tuple[Noise, ...], x: Features) -> Features:
    """Output when layer l has the activation s_l^nu under noises[l].

    Raises ValueError unless there is a noise for each layer.
    """
    for layer, noise in _with_noises(network, noises):
        x = expectation(layer.activation, noise, layer.affine(x))
    return x


def bound(network: Network, noises: tuple[Noise, ...]) -> float:
    """sum_l Lam_l E abs(nu_l) prod_(k > l) norm(W_k) Lam_k, over layers that are not affine.

    It is linear in a common scale of all noises.
    """
    total = 0.0
    for layer, noise in _with_noises(network, noises):
        own = layer.activation.lipschitz * mean_size(noise) if layer.activation.kinks else 0.0
        total = layer.affine.norm * layer.activation.lipschitz * total + own
    return total


def sharper_bound(network: Network, noises: tuple[Noise, ...]) -> float:
    """The same with `error_bound` for each layer's own error: half of it for ReLU layers."""
    total = 0.0
    for layer, noise in _with_noises(network, noises):
        total = layer.affine.norm * layer.activation.lipschitz * total
        total += error_bound(layer.activation, noise)
    return total


def _with_noises(network: Network, noises: tuple[Noise, ...]) -> list[tuple[Layer, Noise]]:
    check_widths([layer.affine for layer in network])
    if len(noises) != len(network):
        raise ValueError(f"there is a noise for each of {len(network)} layers, got {len(noises)}")
    return list(zip(network, noises, strict=True))
