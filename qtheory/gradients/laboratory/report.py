"""What the gradient laboratory reports: moments of a coarse gradient, comparisons with true ones.

Errors are standard errors, and 0 where a number is exact. The error of a norm is the root of the
sum of the variances of the means of its components: the root mean square of |estimate - true
vector|, which bounds the error of the norm. The error of a cosine is of first order, a sum over
both vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from qtheory.gradients.networks.affine import Gradients, Parameters
from qtheory.gradients.networks.loss_network import Losses

Target: TypeAlias = Literal["smoothed", "mean field", "discrete"]
TARGETS: tuple[Target, ...] = ("smoothed", "mean field", "discrete")


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
    """mean: E G. std: of each component of one example's gradient. total_std: sqrt of the trace of
    its covariance. Errors are standard errors, 0 if exact. against: the comparison with each
    target; None if the target is 0 almost everywhere, so that there is no direction."""

    layer: str
    mean: Parameters
    mean_error: Parameters
    std: Parameters
    std_error: Parameters
    total_std: float
    total_std_error: float
    against: dict[Target, Comparison | None]


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Layers from the first to the output. exact: all levels and all data were enumerated."""

    layers: tuple[LayerReport, ...]
    exact: bool

    def table(self) -> str:
        """Aligned text, a line for each layer and target."""
        return table(self)


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


def mean_of(draws: Gradients, paired: bool) -> Mean:
    """The mean of equally weighted draws."""
    return Mean(np.full(len(draws), 1.0 / len(draws)) @ draws, draws, paired)


def layer_report(
    name: str,
    gradients: Gradients,
    weights: Losses,
    draws: int | None,
    true: dict[Target, Mean | None],
) -> LayerReport:
    """One layer: moments over rows, then each comparison."""
    mean = weights @ gradients
    squares = (gradients - mean) ** 2
    std, std_error = _root_of_mean(squares, weights, draws)
    total, total_error = _root_of_mean(squares.sum(axis=1, keepdims=True), weights, draws)
    got = Mean(mean) if draws is None else Mean(mean, gradients, True)
    against: dict[Target, Comparison | None] = {
        key: None if g is None else compare(got, g) for key, g in true.items()
    }
    return LayerReport(
        name, mean, got.error, std, std_error, float(total[0]), float(total_error[0]), against
    )


def _root_of_mean(
    squares: Gradients, weights: Losses, draws: int | None
) -> tuple[Parameters, Parameters]:
    """sqrt of the mean over rows, and its standard error: that of the mean over twice the root."""
    root = np.sqrt(weights @ squares)
    error = np.zeros_like(root)
    if draws is not None:
        np.divide(_error(squares), 2.0 * root, out=error, where=root > 0)
    return root, error


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
    head += f"{'cosine':>22}{'std':>20}"
    lines = [head]
    for layer in report.layers:
        std = f"{layer.total_std:.4g}"
        std = f"{std if report.exact else f'{std} +- {layer.total_std_error:.1g}':>20}"
        for target, c in layer.against.items():
            start = f"{layer.layer:<10}{target:<12}"
            if c is None:
                lines.append(f"{start}{'0 almost everywhere':>66}{std}")
                continue
            bias = f"{c.bias:.4g}" if report.exact else f"{c.bias:.4g} +- {c.bias_error:.1g}"
            cosine = (
                f"{c.cosine:.5f}" if report.exact else f"{c.cosine:.5f} +- {c.cosine_error:.1g}"
            )
            lines.append(f"{start}{c.size:>11.4g}{bias:>22}{c.relative:>11.4g}{cosine:>22}{std}")
    return "\n".join(lines)
