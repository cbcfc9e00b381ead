"""Does the order in which layers harden matter? A toy, after the claim of [spallanzani2022].

A teacher labels normal inputs; the network of `order_network` learns them with Adam on minibatches
while scales of noise follow a policy. Tied: the backward scale is the forward one, so that a hard
layer passes no gradient. Constant: the backward scale stays [spallanzani2019]. What counts is the
share of further points that the deployed, hard network gets right. Policies run on the same seeds,
so differences are paired: their standard errors are those of the mean of differences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qpapers.extremes import least
from qpapers.spallanzani2022.order_network import (
    MEMORY,
    Batch,
    Labels,
    Layer,
    Moments,
    Shape,
    backward,
    first_parameters,
    forward,
    hard_logits,
    loss_slope,
    views,
)
from qtheory.noise import Logistic, Smoothing, Triangular, Uniform
from qtheory.noise.families import check_positive
from qtheory.optimisers import Adam, adam_increment
from qtheory.schedules import Policy, Schedule, Window, input_first

Accuracy = Float[ndarray, " seeds"]
"""In percent."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all runs share.

    Raises ValueError unless batches divide the points, counts are at least 1 and the learning rate
    is positive.
    """

    shape: Shape = field(default_factory=Shape)
    points: int = 4000
    further: int = 4000
    hidden: int = 32
    epochs: int = 100
    period: int = 20
    batch: int = 100
    learning_rate: float = 1e-3
    drop_at: int = 85
    seeds: int = 8

    def __post_init__(self) -> None:
        if self.batch < 1 or self.points % self.batch:
            raise ValueError(f"a batch divides the points, got {self.batch} and {self.points}")
        if least((self.seeds, self.epochs, self.further, self.hidden)) < 1:
            raise ValueError(
                "seeds, epochs, further points and hidden units are at least 1, got "
                f"{self.seeds}, {self.epochs}, {self.further}, {self.hidden}"
            )
        check_positive("a learning rate", self.learning_rate)


class Run(NamedTuple):
    """How a network is trained: strategy and scales, layers from the input."""

    forward: str
    scales: tuple[Schedule, ...]
    backward: tuple[Schedule, ...]
    family: Smoothing = Uniform(0.5)  # its scale is that of a first value 1/2


def tied(setting: Setting, policy: Policy, forward: str = "expectation") -> Run:
    """Backward scales are the forward ones, first 1/2, power 2 times the base power."""
    scales = policy.windows(setting.shape.layers, setting.period, 0.5)
    return Run(forward, scales, scales)


def constant(setting: Setting, policy: Policy) -> Run:
    """The expectation; forward scales fall with the base power, backward scales stay 1/2."""
    scales = policy.windows(setting.shape.layers, setting.period, 0.5, times=1)
    return Run("expectation", scales, _static(setting))


def static(setting: Setting, forward: str) -> Run:
    """Scales stay 1/2; with "mode" this is the straight-through estimator."""
    return Run(forward, _static(setting), _static(setting))


def runs(setting: Setting) -> dict[str, Run]:
    """The runs that are compared, by name. Scales of other families are such that roughness over
    scale is that of uniform noise of half width 1/2: 2/3 triangular, 1/6 logistic."""
    first, last = Policy("partition"), Policy("partition", reverse=True)
    ours = input_first(setting.shape.layers, setting.epochs)
    triangular, logistic = Triangular(2 / 3), Logistic(1 / 6)
    return {
        "partition": tied(setting, first),
        "same start": tied(setting, Policy("same start")),
        "overlapped progressive": tied(setting, Policy("overlapped", "progressive")),
        "overlapped homogeneous": tied(setting, Policy("overlapped")),
        "overlapped reversed": tied(setting, Policy("overlapped", "progressive", reverse=True)),
        "same end": tied(setting, Policy("same end")),
        "partition reversed": tied(setting, last),
        "constant, partition": constant(setting, first),
        "constant, partition reversed": constant(setting, last),
        "input first": Run("expectation", *ours),
        "input first reversed": Run("expectation", ours[0][::-1], ours[1][::-1]),
        "mode, partition": tied(setting, first, "mode"),
        "mode, partition reversed": tied(setting, last, "mode"),
        "mode, static": static(setting, "mode"),
        "expectation, static": static(setting, "expectation"),
        "triangular, partition": tied(setting, first)._replace(family=triangular),
        "triangular, partition reversed": tied(setting, last)._replace(family=triangular),
        "logistic, partition": tied(setting, first)._replace(family=logistic),
        "logistic, partition reversed": tied(setting, last)._replace(family=logistic),
    }


def paired(a: Accuracy, b: Accuracy) -> tuple[float, float]:
    """Mean of a - b over seeds and its standard error. Raises ValueError for fewer than two seeds.

    >>> paired(np.array([3.0, 5.0]), np.array([1.0, 1.0]))
    (3.0, 1.0)
    """
    if len(a) < 2:
        raise ValueError(f"a standard error needs at least two seeds, got {len(a)}")
    d = np.asarray(a, dtype=np.float64) - b
    return float(d.mean()), float(d.std(ddof=1) / math.sqrt(len(d)))


def _static(setting: Setting) -> tuple[Window, ...]:
    return (Window(0.5, 0.0, 1.0, 0),) * setting.shape.layers


class Data(NamedTuple):
    """Points and labels to learn, further points and labels, first axis seeds."""

    inputs: Batch
    labels: Labels
    further_inputs: Batch
    further_labels: Labels


def task(setting: Setting) -> Data:
    """The label is the largest of `classes` outputs of tanh units, gain 2, outputs scaled to mean
    0 and variance 1 over points. Seed k draws from generator (k, 0)."""

    def one(seed: int) -> tuple[ndarray, ndarray]:
        draw, shape = np.random.default_rng((seed, 0)), setting.shape
        x = draw.standard_normal((setting.points + setting.further, shape.inputs))
        into = draw.standard_normal((shape.inputs, setting.hidden)) * 2 / math.sqrt(shape.inputs)
        out = np.tanh(x @ into) @ draw.standard_normal((setting.hidden, shape.classes))
        return x, ((out - out.mean(axis=0)) / out.std(axis=0)).argmax(axis=1)

    pairs = [one(seed) for seed in range(setting.seeds)]
    x = np.stack([p[0] for p in pairs]).astype(np.float32)
    y = np.stack([p[1] for p in pairs]).astype(np.int64)
    n = setting.points
    return Data(x[:, :n], y[:, :n], x[:, n:], y[:, n:])


def accuracy(setting: Setting, run: Run) -> Accuracy:
    """Train; the percentage of further points that the hard network gets right, by seed."""
    data, shape, seeds = task(setting), setting.shape, setting.seeds
    flat = first_parameters(shape, [np.random.default_rng((k, 1)) for k in range(seeds)])
    flat = flat.astype(np.float32)
    slopes = np.zeros_like(flat)
    first, second = np.zeros_like(flat), np.zeros_like(flat)
    seen, gradient = views(shape, flat), views(shape, slopes)
    running: list[Moments] = []
    orders = [np.random.default_rng((k, 2)) for k in range(seeds)]
    draw, rows, done = np.random.default_rng(seeds), np.arange(seeds)[:, None], 0
    for epoch in range(setting.epochs):
        noises = at_epoch(run, epoch)
        adam = Adam(setting.learning_rate * (0.1 if epoch >= setting.drop_at else 1.0))
        order = np.stack([o.permutation(setting.points) for o in orders])
        for at in range(0, setting.points, setting.batch):
            chosen = order[:, at : at + setting.batch]
            logits, traces, moments = forward(seen, noises, data.inputs[rows, chosen], draw)
            slopes[:] = 0.0
            out = loss_slope(logits, data.labels[rows, chosen])[1]
            backward(seen, noises, traces, out, gradient)
            running = _remember(running, moments)
            done += 1
            flat += adam_increment(adam, first, second, slopes, done)
    logits = hard_logits(seen, running, data.further_inputs)
    return 100.0 * (logits.argmax(axis=-1) == data.further_labels).mean(axis=1)


def at_epoch(run: Run, epoch: int) -> tuple[Layer, ...]:
    """Noises of the layers at an epoch."""
    unit = run.family.scaled(1.0 / 0.5)
    return tuple(
        Layer(unit, run.forward, float(s(epoch)), float(b(epoch)))
        for s, b in zip(run.scales, run.backward, strict=True)
    )


def _remember(running: list[Moments], new: list[Moments]) -> list[Moments]:
    """Running means and variances, a tenth of the new at each iteration; first the new."""
    return [
        Moments(*(a + MEMORY * (b - a) for a, b in zip(old, fresh, strict=True)))
        for old, fresh in zip(running or new, new, strict=True)
    ]
