"""Figures of a run, from its log and results.

Legends stand below their axes, where no curve is; epochs are whole numbers; and an axis that is
logarithmic shows a measured 0 at its foot, and says below what it is linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from qcuda.train.methods import METHODS
from qcuda.train.palette import EXACT, LEVELS, ON_LEVELS
from qcuda.train.results import probe_score
from qcuda.watch.law_audit import FALSE_ALARMS

Records = Sequence[dict[str, Any]]

STYLE: Any = {
    "font.size": 10,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 130,
    "axes.titlesize": 11,
    "legend.frameon": False,
}


def draw(results: dict[str, Any], log: Records, run_folder: Path, title: str) -> list[str]:
    """Draw every figure that the methods of the run allow; returns the names of the files.

    title: of the data. The figures of weights on a lattice are named after their method if there
    are several.
    """
    methods = list(results["methods"])
    curves = (log, methods, title)
    drawn = [_save(run_folder / "learning_curves.png", (10, 4.6), 2, _draw_learning, *curves)]
    lattice = [method for method in methods if METHODS[method].walks]
    for method in lattice:
        ending = ".png" if len(lattice) == 1 else f"-{method}.png"
        records = [record for record in log if record["method"] == method]
        drawn += _draw_method(run_folder, ending, records, curves)
    return drawn


def _draw_method(run_folder: Path, ending: str, records: Records, curves: Any) -> list[str]:
    """Levels, moves, evidence and the summary of a method with weights on a lattice."""
    first = [record for record in records if record["seed"] == records[0]["seed"]]
    layers = list(first[0]["levels"])
    width = 2.6 * len(layers) + 0.6

    def save(name: str, *what: Any) -> str:
        return _save(run_folder / (name + ending), *what)

    drawn = [save("levels", (width, 3.2), len(layers), _draw_layers, first, layers)]
    probed = records[-1]["probe"] is not None
    if probed:
        drawn.append(save("moves", (10, 4.4), 2, _draw_moves, records))
    if "log_e" in records[-1]:
        drawn.append(save("evidence", (6, 4), 1, _draw_evidence, records))
    drawn.append(
        save("digits", (4.5 * (2 + probed), 4.6), 2 + probed, _draw_all, *curves, records, first)
    )
    return drawn


def _save(path: Path, size: tuple[float, float], panels: int, painter: Any, *what: Any) -> str:
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, panels, figsize=size, layout="constrained", squeeze=False)
        painter(axes[0], *what)
        temporary = path.with_name(path.name + ".tmp")
        figure.savefig(temporary, format="png")
        plt.close(figure)
    temporary.replace(path)
    return path.name


def _draw_learning(axes: Sequence[Axes], log: Records, methods: list[str], title: str) -> None:
    _curves(axes[0], log, methods, "loss", 1.0)
    losses = [record["loss"] for record in log if record["epoch"]]
    least = min((loss for loss in losses if loss > 0), default=1.0)
    _logarithmic(axes[0], "training loss", losses, least, f"{least:.1g}")
    axes[0].set_title("Training")
    _legend(axes[0])
    _accuracy(axes[1], log, methods, title)


def _accuracy(axis: Axes, log: Records, methods: list[str], title: str) -> None:
    _curves(axis, log, methods, "validation_accuracy", 100.0)
    shown = [100 * r["validation_accuracy"] for r in log if r["epoch"]]
    seeds = len({record["seed"] for record in log})
    over = f"mean and range of {seeds} seeds" if seeds > 1 else "one seed"
    axis.set(ylabel="validation accuracy (%)", title=f"{title}: {over}")
    axis.set_ylim(max(np.quantile(shown, 0.05) - 1, 0), min(max(shown) + 1, 100.2))
    _legend(axis)


def _curves(axis: Axes, log: Records, methods: list[str], key: str, factor: float) -> None:
    """The mean over seeds, and the band from the lowest seed to the highest."""
    for method in methods:
        found = [r for r in log if r["method"] == method and r["epoch"]]
        epochs = sorted({r["epoch"] for r in found})
        values = factor * np.array([[r[key] for r in found if r["epoch"] == e] for e in epochs])
        row = METHODS[method]
        axis.fill_between(
            epochs, values.min(1), values.max(1), color=row.colour, alpha=0.18, linewidth=0
        )
        alone = "o" if len(epochs) == 1 else None
        axis.plot(epochs, values.mean(1), color=row.colour, label=row.label, marker=alone)
    _epochs(axis)


def _epochs(axis: Axes) -> None:
    """Epochs as whole numbers along an axis."""
    axis.set_xlabel("epoch")
    steps = [1, 2, 5, 10]
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=steps, min_n_ticks=1))


def _legend(axis: Axes, columns: int = 1) -> None:
    """The legend below the axes: nothing is drawn there."""
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=columns)


def _logarithmic(axis: Axes, label: str, values: Sequence[float], least: float, words: str) -> None:
    """A logarithmic axis; linear below `least`, and said to be so, if there are smaller values."""
    if min(values) >= least:
        axis.set(ylabel=label, yscale="log")
        return
    axis.set_yscale("symlog", linthresh=least, linscale=0.4)
    axis.set(ylabel=f"{label},\nlinear below {words}", ylim=(-0.1 * least, 1.5 * max(values)))


def _draw_layers(axes: Sequence[Axes], first: Records, layers: list[str]) -> None:
    for axis, layer in zip(axes, layers, strict=True):
        counts = np.array([record["levels"][layer] for record in first], dtype=float)
        _stack(axis, counts)
        axis.set_title(f"{layer}: {int(counts[0].sum())} weights")
    axes[0].set_ylabel("share of weights on each level (%)")


def _stack(axis: Axes, counts: np.ndarray) -> None:
    """Shares of the levels over the epochs, stacked, each labelled where it ends."""
    shares = 100 * counts / counts.sum(1, keepdims=True)
    epochs = np.arange(len(counts))
    axis.stackplot(epochs, shares.T, colors=list(LEVELS.values()), labels=list(LEVELS))
    middles = shares[-1].cumsum() - shares[-1] / 2
    for name, middle, share in zip(LEVELS, middles, shares[-1], strict=True):
        axis.text(
            0.97 * epochs[-1], middle, f"{name}: {share:.0f} %", color=ON_LEVELS[name],
            ha="right", va="center", weight="bold",
        )  # fmt: skip
    axis.grid(False)
    axis.set(xlim=(0, epochs[-1]), ylim=(0, 100))
    _epochs(axis)


def _colour(records: Records) -> str:
    return METHODS[records[0]["method"]].colour


def _draw_moves(axes: Sequence[Axes], records: Records) -> None:
    _move_rates(axes[0], records)
    scores = [(r["epoch"], probe_score(r["probe"])) for r in records if r["epoch"]]
    known = [(epoch, score) for epoch, score in scores if score is not None]
    axes[1].axhspan(-3, 3, color=EXACT, alpha=0.1, linewidth=0, label="± 3 std")
    axes[1].axhline(0, color=EXACT, linewidth=0.8)
    where, heights = [epoch for epoch, _ in known], [score for _, score in known]
    axes[1].scatter(where, heights, s=12, color=_colour(records), label="one iteration")
    bound = max([4.0, *(abs(score) + 0.5 for score in heights)])
    axes[1].set(
        ylim=(-bound, bound), ylabel="(measured - expected) / std",
        title="Deviation from the exact law",
    )  # fmt: skip
    _epochs(axes[1])
    _legend(axes[1], columns=2)


def _move_rates(axis: Axes, records: Records) -> None:
    """Measured moves of probed iterations on the band that the law allows, first seed."""
    probes = [r for r in records if r["epoch"] and r["seed"] == records[0]["seed"]]
    epochs = [r["epoch"] for r in probes]
    weights, measured, mean, variance = (
        np.array([sum(r["probe"][key]) for r in probes], dtype=float)
        for key in ("weights", "measured", "mean", "variance")
    )
    scale = 100 / weights
    low, high = np.maximum(mean - 3 * np.sqrt(variance), 0), mean + 3 * np.sqrt(variance)
    axis.fill_between(
        epochs, scale * low, scale * high, color=EXACT, alpha=0.2, linewidth=0,
        label="exact law, ± 3 std",
    )  # fmt: skip
    axis.plot(epochs, scale * mean, color=EXACT, linewidth=1, label="exact law, mean")
    axis.scatter(
        epochs, scale * measured, s=14, color=_colour(records), zorder=3, label="measured (kernel)"
    )
    shown = [*(scale * low), *(scale * high), *(scale * measured)]
    _logarithmic(axis, "weights that move in one iteration (%)", shown, scale[0], "one weight")
    axis.set_title("Moves: measured and expected")
    _epochs(axis)
    _legend(axis, columns=2)


def _draw_evidence(axes: Sequence[Axes], records: Records) -> None:
    """The running log e-value of every seed, and where it would prove the kernel wrong."""
    axis, threshold = axes[0], -np.log(FALSE_ALARMS)
    highest = threshold
    for seed in sorted({record["seed"] for record in records}):
        epochs = [r["law_audit"]["trace"] for r in records if r["seed"] == seed and r["epoch"]]
        points = np.array([point for trace in epochs for point in trace])
        highest = max(highest, points[:, 1].max())
        axis.step(*points.T, where="post", color=_colour(records), alpha=0.7, marker=".")
    axis.axhline(threshold, color=EXACT, linestyle="--")
    text = f"the kernel is wrong: false-alarm rate {FALSE_ALARMS:g}"
    axis.text(0.02, threshold, text, transform=axis.get_yaxis_transform(), va="bottom")
    axis.set(xlabel="iteration", ylabel="log e-value", title="Evidence against the kernel")
    axis.set_xscale("log")
    if highest > 10 * threshold:
        axis.set_yscale("symlog", linthresh=threshold)
    axis.set_ylim(-0.25 * threshold, 1.3 * highest)


def _draw_all(
    axes: Sequence[Axes],
    log: Records,
    methods: list[str],
    title: str,
    records: Records,
    first: Records,
) -> None:
    _accuracy(axes[0], log, methods, title)
    counts = np.array([np.sum(list(r["levels"].values()), axis=0) for r in first], dtype=float)
    _stack(axes[1], counts)
    name = METHODS[records[0]["method"]].label.partition(":")[0]
    axes[1].set(
        ylabel="share of weights on each level (%)",
        title=f"All {int(counts[0].sum())} {name} weights",
    )
    if len(axes) > 2:
        _move_rates(axes[2], records)
