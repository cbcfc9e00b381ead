"""A laboratory for coarse gradients: bias, variance and direction, layer by layer.

A coarse gradient G of one example, random by its data and by its own draws, is compared with true
gradients g (see `targets`). For each layer, as one vector:

    bias             |E G - g|, and the same over |g|
    std              sqrt of the sum over components of Var G; of a mean over N examples, / sqrt N
    cosine           of E G and g

Over finite data, and when every level is enumerated, all are exact and errors are 0. Otherwise they
are means over draws and have errors: that of a norm is the root of the sum of the variances of the
means of its components, which is the root mean square of |estimate - true vector| and so bounds the
error of the norm; that of a cosine is of first order, a sum over both vectors. Inputs of a draw are
shared with the smoothed and the mean-field gradient, so the difference is seen better than either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.gradients.estimators import (
    Estimator,
    Rows,
    backward,
    drawn,
    enumerated,
    passed,
    starting,
)
from qtheory.gradients.stair_network import (
    Gradients,
    LayerNoise,
    Parameters,
    StairNetwork,
)
from qtheory.gradients.targets import (
    Teacher,
    hard_output_gradients,
    mean_field_gradients,
    smoothed_gradients,
    surface_gradients,
)

Target: TypeAlias = Literal["smoothed", "mean field", "discrete"]
TARGETS: tuple[Target, ...] = ("smoothed", "mean field", "discrete")

RowWeights = Float[ndarray, "rows"]
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

    def __post_init__(self) -> None:
        rows = {len(self.inputs), len(self.targets), len(self.probabilities)}
        if len(rows) != 1:
            raise ValueError(f"points have an input, a target and a probability, got {rows} rows")
        if (self.probabilities < 0).any() or abs(self.probabilities.sum() - 1) > 1e-12:
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


class Comparison(NamedTuple):
    """A coarse gradient against a true one, in one layer. Errors are standard errors, 0 if exact.

    size: |g|. bias: |E G - g|. relative: bias / |g|, infinite for g = 0 with a bias. cosine: NaN if
    either vector is 0.
    """

    size: float
    bias: float
    bias_error: float
    relative: float
    cosine: float
    cosine_error: float


@dataclass(frozen=True, slots=True, eq=False)
class LayerReport:
    """mean: E G, mean_error: its standard errors. std: of each component. against: the comparison
    with each target; None if the target is 0 almost everywhere, so that there is no direction."""

    layer: str
    mean: Parameters
    mean_error: Parameters
    std: Parameters
    against: dict[Target, Comparison | None]

    @property
    def total_std(self) -> float:
        """sqrt of the trace of the covariance of one example's gradient."""
        return float(np.sqrt((self.std**2).sum()))


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Layers from the first to the output. exact: all levels and all data were enumerated."""

    layers: tuple[LayerReport, ...]
    exact: bool

    def table(self) -> str:
        """Aligned text, a line for each layer and target."""
        return table(self)

    def plot(self, axes: Any = None) -> Any:
        """Bias, std and cosine by layer, as bars on three axes, which are returned."""
        from qtheory.gradients.laboratory_plots import plot_report

        return plot_report(self, axes)


class Mean(NamedTuple):
    """A vector known exactly, or the mean of draws; paired: draw k has the k-th input."""

    value: Parameters
    draws: Gradients | None = None
    paired: bool = False

    @property
    def error(self) -> Parameters:
        return np.zeros_like(self.value) if self.draws is None else _error(self.draws)


def _error(draws: Gradients) -> Parameters:
    return draws.std(axis=0, ddof=1) / np.sqrt(len(draws))


def _of(draws: Gradients, paired: bool) -> Mean:
    return Mean(np.full(len(draws), 1.0 / len(draws)) @ draws, draws, paired)


def measure(
    network: StairNetwork,
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

    >>> from qtheory.gradients import estimators, stair_network
    >>> from qtheory.noise import Logistic
    >>> from qtheory.quantizer import Stair
    >>> network = stair_network.random_network((2, 3, 1), Stair.step(-1.0), 0, "linear")
    >>> data = FiniteData.equal(np.eye(2), np.ones((2, 1)))
    >>> drawn = estimators.annealed("random", (stair_network.LayerNoise(Logistic(0.3)),))
    >>> found = measure(network, data, drawn).layers[0].against["smoothed"]
    >>> found.bias < 1e-15, round(found.cosine, 12)
    (True, 1.0)
    """
    noises = estimator.noises if noises is None else noises
    for given in (estimator.noises, noises):
        if len(given) != len(network.hidden):
            raise ValueError(
                f"there is a noise for each hidden layer, {len(network.hidden)}, got {len(given)}"
            )
    if draws is None and isinstance(data, GaussianData):
        raise ValueError("Gaussian data needs a number of draws, got None")
    if draws is not None and draws < 2:
        raise ValueError(f"errors need at least 2 draws, got {draws}")
    rng = np.random.Generator(np.random.PCG64(seed))
    rows = _rows(network, data, estimator, draws, rng)
    gradients = backward(network, estimator, rows)
    true = _targets(network, data, noises, targets, rows, draws, rng)
    names = [*(f"hidden {k + 1}" for k in range(len(network.hidden))), "output"]
    layers = tuple(
        _report(name, gradients[k], rows.weights, draws, {t: true[t][k] for t in targets})
        for k, name in enumerate(names)
    )
    return Report(layers, draws is None)


def _rows(
    network: StairNetwork,
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
    network: StairNetwork,
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
        return Mean(points.probabilities @ each) if points else _of(each, True)

    found: dict[Target, tuple[Mean | None, ...]] = {}
    for target in targets:
        if target == "smoothed":
            found[target] = tuple(map(mean, smoothed_gradients(network, noises, x, t)))
        elif target == "mean field":
            found[target] = tuple(map(mean, mean_field_gradients(network, noises, x, t)))
        else:
            means = tuple(noise.mean for noise in noises)
            hidden: list[Mean | None] = [None] * len(network.hidden)
            if isinstance(data, GaussianData):
                normals = rng.normal(size=(draws or 0, data.features))
                hidden[0] = _of(surface_gradients(network, means, data.teacher, normals), False)
            found[target] = (*hidden, mean(hard_output_gradients(network, means, x, t)))
    return found


def _report(
    name: str,
    gradients: Gradients,
    weights: RowWeights,
    draws: int | None,
    true: dict[Target, Mean | None],
) -> LayerReport:
    """One layer: moments over rows, then each comparison."""
    mean = weights @ gradients
    std = np.sqrt(weights @ (gradients - mean) ** 2)
    got = Mean(mean) if draws is None else Mean(mean, gradients, True)
    against: dict[Target, Comparison | None] = {
        key: None if g is None else compare(got, g) for key, g in true.items()
    }
    return LayerReport(name, mean, got.error, std, against)


def compare(coarse: Mean, true: Mean) -> Comparison:
    """Bias and cosine of two vectors, with errors as the module says."""
    difference = coarse.value - true.value
    bias, size = float(np.linalg.norm(difference)), float(np.linalg.norm(true.value))
    if coarse.draws is not None and true.draws is not None and true.paired:
        errors = _error(coarse.draws - true.draws)
    else:
        errors = np.hypot(coarse.error, true.error)
    relative = bias / size if size > 0 else (np.inf if bias > 0 else 0.0)
    cosine, cosine_error = _cosine(coarse, true)
    return Comparison(size, bias, float(np.linalg.norm(errors)), relative, cosine, cosine_error)


def _cosine(coarse: Mean, true: Mean) -> tuple[float, float]:
    """c = u v for the directions u, v; dc = (v - c u) dG / |G| + (u - c v) dg / |g|."""
    sizes = [float(np.linalg.norm(each.value)) for each in (coarse, true)]
    if min(sizes) == 0:
        return float("nan"), 0.0
    u, v = coarse.value / sizes[0], true.value / sizes[1]
    c = float(u @ v)
    error = 0.0
    for each, size, away in ((coarse, sizes[0], v - c * u), (true, sizes[1], u - c * v)):
        if each.draws is not None:
            error += float(_error((each.draws @ away)[:, None])[0]) / size
    return c, error


def table(report: Report) -> str:
    """Aligned text: layer, target, |g|, bias, relative bias, cosine, std, with +- errors."""
    head = f"{'layer':<10}{'target':<12}{'|g|':>11}{'bias':>22}{'relative':>11}"
    head += f"{'cosine':>22}{'std':>11}"
    lines = [head]
    for layer in report.layers:
        for target, c in layer.against.items():
            start = f"{layer.layer:<10}{target:<12}"
            if c is None:
                lines.append(f"{start}{'0 almost everywhere':>66}{layer.total_std:>11.4g}")
                continue
            bias = f"{c.bias:.4g}" if report.exact else f"{c.bias:.4g} +- {c.bias_error:.1g}"
            cosine = (
                f"{c.cosine:.5f}" if report.exact else f"{c.cosine:.5f} +- {c.cosine_error:.1g}"
            )
            lines.append(
                f"{start}{c.size:>11.4g}{bias:>22}{c.relative:>11.4g}{cosine:>22}"
                f"{layer.total_std:>11.4g}"
            )
    return "\n".join(lines)
