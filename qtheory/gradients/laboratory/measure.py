"""A laboratory for coarse gradients: bias, variance and direction, layer by layer.

A coarse gradient G of one example, random by its data and by its own draws, is compared with true
gradients g (see `targets`). For each layer, as one vector:

    bias             |E G - g|, and the same over |g|
    std              sqrt of the sum over components of Var G; / sqrt N for a mean over N examples
    cosine           of E G and g

Over finite data, and when every level is enumerated, all are exact and errors are 0. Otherwise they
are means over draws, with the standard errors that `report` describes. A draw gives the same inputs
to the coarse, the smoothed and the mean-field gradient, so their differences are more precise than
each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.gradients.laboratory.estimators import (
    Estimator,
    Rows,
    backward,
    drawn,
    enumerated,
    passed,
    starting,
)
from qtheory.gradients.laboratory.report import (
    TARGETS,
    Mean,
    Report,
    Target,
    layer_report,
    mean_of,
)
from qtheory.gradients.laboratory.targets import (
    Teacher,
    hard_output_gradients,
    mean_field_gradients,
    smoothed_gradients,
    surface_gradients,
)
from qtheory.gradients.networks.affine import Gradients
from qtheory.gradients.networks.loss_network import LossNetwork
from qtheory.gradients.networks.stair_network import LayerNoise
from qtheory.values import own_arrays, rebuilt

PointWeights = Float[ndarray, "_points"]
PointFeatures = Float[ndarray, "_points _features"]


@dataclass(frozen=True, slots=True, eq=False)
class FiniteData:
    """Inputs and targets, one row for each point, and the points' probabilities.

    Raises ValueError if numbers of rows differ or the probabilities do not sum to one (1e-12).
    """

    inputs: PointFeatures
    targets: PointFeatures
    probabilities: PointWeights

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        own_arrays(self)
        rows = {len(self.inputs), len(self.targets), len(self.probabilities)}
        if len(rows) != 1:
            raise ValueError(f"points have an input, a target and a probability, got {rows} rows")
        if not (self.probabilities >= 0).all() or abs(self.probabilities.sum() - 1) > 1e-12:
            raise ValueError(
                f"probabilities are >= 0 and sum to one, got a sum of {self.probabilities.sum()}"
            )

    @classmethod
    def equal(cls, inputs: PointFeatures, targets: PointFeatures) -> FiniteData:
        """Equally probable points."""
        return cls(inputs, targets, np.full(len(inputs), 1.0 / len(inputs)))


@dataclass(frozen=True, slots=True, eq=False)
class GaussianData:
    """Inputs N(0, I) of so many features, and a teacher that gives their targets."""

    features: int
    teacher: Teacher

    def sample(self, rng: np.random.Generator, draws: int) -> FiniteData:
        """So many draws, equally weighted."""
        x = rng.normal(size=(draws, self.features))
        return FiniteData.equal(x, self.teacher(x))


Data: TypeAlias = FiniteData | GaussianData


def measure(
    network: LossNetwork,
    data: Data,
    estimator: Estimator,
    noises: tuple[LayerNoise, ...] | None = None,
    *,
    targets: tuple[Target, ...] = TARGETS,
    draws: int | None = None,
    seed: int = 0,
) -> Report:
    """Bias, variance and direction of a coarse gradient.

    noises: of the smoothed and the mean-field gradient; by default those of the forward pass. The
    discrete gradient keeps their means. draws: None enumerates every level over finite data;
    a number >= 2 of draws is needed for Gaussian data, and can be given for many levels.

    Raises ValueError if a number of layers differs, draws are wanting or too few, or there is too
    much to enumerate.

    >>> from qtheory.gradients.laboratory import estimators
    >>> from qtheory.gradients.networks import loss_network, stair_network
    >>> from qtheory.noise import Logistic
    >>> from qtheory.stairs.stair import Stair
    >>> network = loss_network.random_network((2, 3, 1), Stair.step(-1.0), 0, "linear")
    >>> data = FiniteData.equal(np.eye(2), np.ones((2, 1)))
    >>> drawn = estimators.annealed("random", (stair_network.LayerNoise(Logistic(0.3)),))
    >>> found = measure(network, data, drawn).layers[0].against["smoothed"]
    >>> found.bias < 1e-15, round(found.cosine, 12)
    (True, 1.0)
    """
    noises = estimator.noises if noises is None else noises
    if draws is None and isinstance(data, GaussianData):
        raise ValueError("Gaussian data needs a number of draws, got None")
    if draws is not None and draws < 2:
        raise ValueError(f"errors need at least 2 draws, got {draws}")
    rng = np.random.Generator(np.random.PCG64(seed))
    rows = _rows(network, data, estimator, draws, rng)
    gradients = backward(network, estimator, rows)
    true = _targets(network, data, noises, targets, rows, draws, rng)
    names = [*(f"hidden {k + 1}" for k in range(len(network.hidden.layers))), "output"]
    layers = tuple(
        layer_report(name, gradients[k], rows.weights, draws, {t: true[t][k] for t in targets})
        for k, name in enumerate(names)
    )
    return Report(layers, draws is None)


def _rows(
    network: LossNetwork,
    data: Data,
    estimator: Estimator,
    draws: int | None,
    rng: np.random.Generator,
) -> Rows:
    """Examples or paths of the forward pass."""
    if isinstance(data, GaussianData):
        points = data.sample(rng, draws or 0)
    elif draws is not None:
        at = rng.choice(len(data.inputs), size=draws, p=data.probabilities)
        points = FiniteData.equal(data.inputs[at], data.targets[at])
    else:
        points = data
    rows = starting(points.inputs, points.targets, points.probabilities)
    if estimator.forward != "random":
        return passed(network, estimator, rows)
    if draws is None:
        return enumerated(network, estimator, rows)
    return drawn(network, estimator, rows, rng)


def _targets(
    network: LossNetwork,
    data: Data,
    noises: tuple[LayerNoise, ...],
    targets: tuple[Target, ...],
    rows: Rows,
    draws: int | None,
    rng: np.random.Generator,
) -> dict[Target, tuple[Mean | None, ...]]:
    """True gradients of each layer: exact over finite data, else by draws."""
    points = data if isinstance(data, FiniteData) else None
    x, t = (points.inputs, points.targets) if points else (rows.states[0], rows.targets)

    def mean(each: Gradients) -> Mean:
        return Mean(points.probabilities @ each) if points else mean_of(each, True)

    found: dict[Target, tuple[Mean | None, ...]] = {}
    for target in targets:
        if target == "smoothed":
            found[target] = tuple(map(mean, smoothed_gradients(network, noises, x, t)))
        elif target == "mean field":
            found[target] = tuple(map(mean, mean_field_gradients(network, noises, x, t)))
        else:
            means = tuple(noise.mean for noise in noises)
            hidden: list[Mean | None] = [None] * len(network.hidden.layers)
            if isinstance(data, GaussianData):
                normals = rng.normal(size=(draws or 0, data.features))
                hidden[0] = mean_of(surface_gradients(network, means, data.teacher, normals), False)
            found[target] = (*hidden, mean(hard_output_gradients(network, means, x, t)))
    return found
