"""A linear neuron with ternary weights, hidden levels and minibatches, exactly, in its mean field.

A teacher y = sum of w*_i x_i + label noise has weights -1, 0, 1, equally often; inputs are
independent with mean 0 and variance 1, n of them. A student with the visible weights v_i descends
(y - v x)**2 / 2 with minibatches of B. The gradient of weight i is v_i - w*_i plus a noise that for
many inputs is normal with the variance

    n (e + 2 nu / 3) / B,    e = E (v - w*)**2 a weight,    nu: label noise over signal variance,

and weights are then independent of each other but for e. So the law of one weight given its
teacher's obeys a chain whose noise is its own error: with d = -eta_t g / rms(g), the increment of
`gradient over the rms of the layer`, its law at the end of a schedule is computed, not sampled.

What is predicted from the temperature alone (`from_temperature`): while its teacher's level is
seen a weight wanders freely, with T = s E|noise| / 2; beyond, the force g = 1 pulls it back. At
small rates the levels beyond a threshold weigh together

    (E e^+ / E g^+) (1 + r + r**2 + ...) = E e^+ / (E g^+ - E g^-) = T / (s g),    r = E g^- / E g^+

times one level inside, for a force of any strength: as much as Gibbs' law has for weak ones. So
the error is T / (s g) wrong levels at each threshold among those inside, whatever the schedule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory import StochasticRounding
from qtheory.algorithms.walker import hidden
from qtheory.noise import Gaussian
from qtheory.visible import Blocks, shown

Laws = Float[ndarray, "teachers levels"]
"""Law of the index given the teacher's weight, 0 and then 1; that of -1 is mirrored."""

TEACHERS = np.array([0.0, 1.0])
SHARES = np.array([1 / 3, 2 / 3])
SEEN = np.array([-1.0, 0.0, 1.0])
REACH = 9.0
"""Stds of the noise beyond which it is left out: 1e-19."""


@dataclass(frozen=True, slots=True)
class Neuron:
    """The problem and its budget: n inputs, B examples an iteration, nu, and iterations."""

    inputs: int = 64
    batch: int = 50
    label_noise: float = 1.0
    iterations: int = 1600

    def std(self, error: float) -> float:
        """Std of a gradient at the error e."""
        return math.sqrt(self.inputs * (error + 2 * self.label_noise / 3) / self.batch)


def error_of(laws: Laws, blocks: Blocks) -> float:
    """E (v - w*)**2 a weight."""
    squares = (SEEN[blocks] - TEACHERS[:, None]) ** 2
    return float(SHARES @ (laws * squares).sum(axis=1))


def trained(neuron: Neuron, bits: int, learning_rate: float) -> float:
    """e after a cosine schedule from the learning rate to 0, started from random levels."""
    spec = StochasticRounding(**hidden(bits))
    blocks, size, s = shown(spec), spec.lattice.size, spec.lattice.spacing
    laws: Laws = np.full((2, size), 1.0 / size)
    t = np.arange(neuron.iterations)
    for rate in learning_rate * 0.5 * (1 + np.cos(np.pi * t / neuron.iterations)):
        error = error_of(laws, blocks)
        std = neuron.std(error)
        step = rate / math.hypot(std, math.sqrt(error))
        laws = _moved(laws, blocks, step, std, s)
    return error_of(laws, blocks)


def _moved(laws: Laws, blocks: Blocks, step: float, std: float, s: float) -> Laws:
    """One iteration: each block moves by its own law, and what leaves the lattice stops there."""
    size = laws.shape[1]
    reach = math.ceil((REACH * std + 2.0) * step / s) + 1
    after = np.zeros((2, size + 2 * reach))
    k = np.arange(-reach - 1, reach + 2) * s
    noise = Gaussian(step * std)
    for c, teacher in enumerate(TEACHERS):
        for v, level in enumerate(SEEN):
            first, last = np.flatnonzero(blocks == v)[[0, -1]]
            mean = -step * (level - teacher)
            kernel = np.maximum(np.diff(noise.excess(k - mean), 2) / s, 0.0)
            moved = np.convolve(laws[c, first : last + 1], kernel)
            after[c, first : last + 1 + 2 * reach] += moved
    inside = after[:, reach:-reach].copy()
    inside[:, 0] += after[:, :reach].sum(axis=1)
    inside[:, -1] += after[:, -reach:].sum(axis=1)
    inside = np.maximum(inside, 0.0)
    return inside / inside.sum(axis=1, keepdims=True)


def from_temperature(neuron: Neuron, bits: int) -> float:
    """e = 2/3 (q / (n + 2 q) + q / (m + q)), q = T / (s g) = std(e) / sqrt(2 pi) for g = 1.

    n and m: levels that are seen as 0 and as 1. Solved by bisection.
    """
    side = 2 ** (bits - 1) - 1
    n, m = 2 * (side // 3) + 1, side - side // 3

    def excess(error: float) -> float:
        q = neuron.std(error) / math.sqrt(2 * math.pi)
        return 2 / 3 * (q / (n + 2 * q) + q / (m + q)) - error

    low, high = 0.0, 4.0  # the excess is concave, >= 0 at 0 and negative at 4
    middle = 2.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return middle
