"""Runs of the update rules of [li2017], many independent replicas at once, in plain NumPy.

With d the increment that the base optimiser proposes, -rate * gradient for SGD, and Q the rounding
to the lattice, to the nearest level (Q_d, Eq. 3) or at random without bias (Q_s, Eq. 5):

    R, SR   w <- Q(w + d)                  only the lattice weight is kept       [li2017, Eqs. 4, 6]
    BC      r <- r + d,  w = Q(r)          a real latent weight r is kept, the gradient is taken
                                           at w                                   [li2017, Eq. 7]

Everything stops at the ends of the lattice, r too: they are the ends of the set W over which is
minimised; a lattice wider than a run reaches is an unbounded one. Averages are over the iterations
t = 1..T, of the weights at which gradients were taken, so the start counts and the end does not.
Equation numbers are from memory and not verified against the print.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.lattice import Lattice
from qtheory.optimisers import Adam

Weights = Float[ndarray, "replicas coordinates"]
PerReplica = Float[ndarray, "replicas"]
Rates = Float[ndarray, "iterations"]
"""The learning rate of each iteration."""

Gradient: TypeAlias = Callable[[Weights, np.random.Generator], Weights]
"""A stochastic gradient: draws its own noise, independent for each replica."""


@dataclass(frozen=True, slots=True)
class Rule:
    """latent: a real weight is kept. stochastic: the rounding is Q_s, otherwise Q_d."""

    latent: bool
    stochastic: bool


R, SR = Rule(latent=False, stochastic=False), Rule(latent=False, stochastic=True)
BC_NEAREST, BC_STOCHASTIC = Rule(latent=True, stochastic=False), Rule(latent=True, stochastic=True)


class Run(NamedTuple):
    """What a run leaves, for each replica.

    visible, latent: the weights after the last iteration; the same unless the rule is latent.
    visible_mean, latent_mean: averages over iterations. weighted_mean: average of the visible
    weight with the learning rates as weights. loss_mean: average of the loss at the visible
    weight, zero without a loss.
    """

    visible: Weights
    latent: Weights
    visible_mean: Weights
    latent_mean: Weights
    weighted_mean: Weights
    loss_mean: PerReplica


def rounded(lattice: Lattice, weights: Weights, words: Weights | None) -> Weights:
    """Q_d of the weights if words is None, else Q_s; words: uniform in [0, 1), one for each.

    >>> rounded(Lattice.ternary(), np.array([[-0.4, 0.5, 3.0]]), None).tolist()
    [[0.0, 1.0, 1.0]]
    >>> rounded(Lattice.ternary(), np.array([[-0.75, 0.25]]), np.array([[0.2, 0.8]])).tolist()
    [[-1.0, 1.0]]
    """
    if words is None:
        return lattice.levels[lattice.nearest(weights)]
    position = np.floor((weights - lattice.low) / lattice.spacing + words)
    return lattice.low + lattice.spacing * np.clip(position, 0, lattice.size - 1)


def largest_adam_step(learning_rate: float, beta1: float, beta2: float) -> float:
    """The largest increment of Adam over all sequences of gradients, in weight units.

    With m = (1 - beta1) sum beta1**i g_i and v = (1 - beta2) sum beta2**i g_i**2, i iterations ago,
    Cauchy-Schwarz gives |m| / sqrt(v) <= (1 - beta1) / sqrt((1 - beta2) (1 - beta1**2 / beta2)),
    with equality for g_i proportional to (beta1 / beta2)**i: gradients that grow by beta2 / beta1
    an iteration. The value (1 - beta1) / sqrt(1 - beta2) of [kingma2015, Sec. 2.1] is that of a
    single spike. Bias corrections multiply by sqrt(1 - beta2**t) / (1 - beta1**t), which is at most
    1 if 1 - beta2 <= (1 - beta1)**2, as in the usual choice.

    Raises ValueError unless that is so.

    >>> round(largest_adam_step(0.01, 0.9, 0.999), 4)
    0.0727
    """
    if not (0 <= beta1 < 1 and 0 < 1 - beta2 <= (1 - beta1) ** 2):
        raise ValueError(f"betas have 1 - beta2 <= (1 - beta1)**2, got {beta1} and {beta2}")
    return learning_rate * (1 - beta1) / math.sqrt((1 - beta2) * (1 - beta1**2 / beta2))


def simulate(
    rule: Rule,
    gradient: Gradient,
    lattice: Lattice,
    start: Weights,
    learning_rates: Rates,
    generator: np.random.Generator,
    *,
    loss: Callable[[Weights], PerReplica] | None = None,
    adam: Adam | None = None,
) -> Run:
    """Run a rule from `start`, one row for each replica, for as many iterations as there are rates.

    adam: the base optimiser; its learning rate is replaced by those given. None for SGD.
    Raises ValueError if there is no iteration, or a start is off the lattice where only lattice
    weights are kept.
    """
    rates = np.asarray(learning_rates, dtype=np.float64)
    if rates.ndim != 1 or rates.size == 0:
        raise ValueError(f"learning rates are a list of at least one, got shape {rates.shape}")
    state = np.array(start, dtype=np.float64)
    if not rule.latent and (state != lattice.levels[lattice.nearest(state)]).any():
        raise ValueError(f"{start.ravel()[:3].tolist()}... is to start on the levels of {lattice}")
    proposals = _proposals(rates, adam, state.shape)
    next(proposals)
    visible_sum, latent_sum, weighted_sum = (np.zeros_like(state) for _ in range(3))
    loss_sum = np.zeros(len(state))

    def words() -> Weights | None:
        return generator.random(state.shape) if rule.stochastic else None

    for rate in rates:
        visible = rounded(lattice, state, words()) if rule.latent else state
        visible_sum += visible
        latent_sum += state
        weighted_sum += rate * visible
        if loss is not None:
            loss_sum += loss(visible)
        after = state + proposals.send(gradient(visible, generator))
        if rule.latent:
            state = np.clip(after, lattice.low, lattice.high)
        else:
            state = rounded(lattice, after, words())
    return Run(
        visible=rounded(lattice, state, words()) if rule.latent else state,
        latent=state,
        visible_mean=visible_sum / rates.size,
        latent_mean=latent_sum / rates.size,
        weighted_mean=weighted_sum / rates.sum(),
        loss_mean=loss_sum / rates.size,
    )


def _proposals(
    rates: Rates, adam: Adam | None, shape: tuple[int, ...]
) -> Generator[Weights, Weights, None]:
    """A generator that is sent gradients and gives increments, one for each learning rate.

    Adam in float64 with the float32 scalars of its spec [kingma2015, Algorithm 1].
    """
    first, second = np.zeros(shape), np.zeros(shape)
    gradient = yield first
    for iteration, rate in enumerate(rates, start=1):
        if adam is None:
            gradient = yield -rate * gradient
            continue
        s = adam.scalars(iteration)
        first = s.first_decay * first + s.first_gain * gradient
        second = s.second_decay * second + s.second_gain * gradient**2
        size = s.learning_rate / np.float32(adam.learning_rate) * rate
        gradient = yield -size * first / (np.sqrt(second) * s.second_scale + s.epsilon)
