"""Figures of the gradient laboratory's reports, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from qtheory.gradients.laboratory.report import Report, Target

Axes: TypeAlias = Any
"""Axes of matplotlib, which only functions import."""

Quantity: TypeAlias = Literal["relative", "bias", "cosine", "std"]
LABELS: dict[Quantity, str] = {
    "relative": "bias / size of the true gradient",
    "bias": "bias, in units of the gradient",
    "cosine": "cosine with the true gradient",
    "std": "std of one example's gradient",
}
PER_TARGET: tuple[Quantity, ...] = ("relative", "cosine")
SHOWN: tuple[Quantity, ...] = (*PER_TARGET, "std")


def quantity(report: Report, name: Quantity, layer: int, target: Target) -> tuple[float, float]:
    """A number of a report and its standard error; NaN where the target is 0 almost everywhere."""
    at = report.layers[layer]
    if name == "std":
        return at.total_std, at.total_std_error
    found = at.against[target]
    if found is None:
        return float("nan"), 0.0
    match name:
        case "cosine":
            return found.cosine, found.cosine_error
        case "bias":
            return found.bias, found.bias_error
        case "relative":
            return found.relative, found.bias_error / found.size if found.size else 0.0


def plot_report(report: Report, axes: Axes = None) -> Axes:
    """Bars for each layer: relative bias and cosine for each target, and std. Returns the axes."""
    axes = _three(axes)
    names = [each.layer for each in report.layers]
    places = np.arange(len(names), dtype=np.float64)
    targets = list(report.layers[0].against)
    for k, target in enumerate(targets):
        shift = (k - 0.5 * (len(targets) - 1)) * 0.8 / len(targets)
        for ax, name in zip(axes, PER_TARGET, strict=False):
            pairs = [quantity(report, name, layer, target) for layer in range(len(names))]
            values, errors = zip(*pairs, strict=True)
            ax.bar(places + shift, values, 0.8 / len(targets), yerr=errors, label=target)
    values, errors = zip(*((e.total_std, e.total_std_error) for e in report.layers), strict=True)
    axes[2].bar(places, values, 0.5, yerr=errors, color="grey")
    for ax, name in zip(axes, SHOWN, strict=True):
        ax.set_xticks(places, names)
        ax.set_ylabel(LABELS[name])
    axes[0].margins(y=0.45)  # room for the legend
    axes[0].legend(loc="upper left")
    return axes


def plot_sweep(
    reports: Sequence[Report],
    values: Sequence[float],
    name: Quantity,
    layer: int,
    target: Target,
    *,
    label: str | None = None,
    ax: Axes,
) -> Axes:
    """A quantity against the value that each report was made at, with its standard errors."""
    found = [quantity(report, name, layer, target) for report in reports]
    y, errors = zip(*found, strict=True)
    ax.errorbar(list(values), y, yerr=errors, marker=".", label=label)
    ax.set_ylabel(LABELS[name])
    return ax


def _three(axes: Axes) -> Axes:
    if axes is not None:
        return axes
    import matplotlib.pyplot as plt

    made: Axes = plt.subplots(1, 3, figsize=(11, 3))[1]  # pyright: ignore[reportUnknownMemberType]
    return made
