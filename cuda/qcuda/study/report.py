"""The table and the figure of a study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

TABLE, FIGURE = "table.md", "accuracy_over_bits.png"


def table(results: Mapping[str, Any]) -> str:
    """The rules in the order of their accuracy, as Markdown."""
    rows = [
        "| rule | bits of state | test accuracy, % | moves a weight | zeros, % | s a run "
        "| tried: best, median, % | best configuration |",
        "|---|---|---|---|---|---|---|---|",
    ]
    found = results["rules"]
    for name in sorted(found, key=lambda one: -found[one]["test_mean"]):
        one = found[name]
        spread = one["test_spread"]
        accuracy = f"{100 * one['test_mean']:.2f}"
        accuracy += "" if spread is None else f" ± {100 * spread:.2f}"
        moves = "-" if one["moves"] is None else f"{one['moves']:.1f}"
        zeros = "-" if one["zeros"] is None else f"{100 * one['zeros']:.0f}"
        tried = one["tried"]
        best = ", ".join(f"{key} {_short(value)}" for key, value in one["best"].items())
        rows.append(
            f"| `{name}` | {one['bits']} | {accuracy} | {moves} | {zeros} "
            f"| {one['seconds']:.1f} | {100 * max(tried):.1f}, {100 * median(tried):.1f} "
            f"| {best} |"
        )
    return "\n".join(rows)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write(results: Mapping[str, Any], folder: Path) -> None:
    """Table and figure into the run folder."""
    (folder / TABLE).write_text(table(results) + "\n")
    draw(results, folder / FIGURE)


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Accuracy over the bits that training keeps for a weight; bars are one standard deviation."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from qcuda.train.figures import STYLE
    from qcuda.train.palette import HIDDEN, REAL

    study = results["study"]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
        above: dict[int, float] = {}  # by bits, the accuracy of the rule before
        rules = results["rules"].items()
        for name, one in sorted(rules, key=lambda item: -item[1]["test_mean"]):
            colour = HIDDEN[0] if one["bits"] <= 16 else REAL
            y, bar = 100 * one["test_mean"], 100 * (one["test_spread"] or 0.0)
            axis.errorbar(one["bits"], y, bar, fmt="o", capsize=3, color=colour)
            beside = -11 if above.get(one["bits"], 100.0) - y < 1 else 3
            above[one["bits"]] = y
            axis.annotate(
                name, (one["bits"], y), xytext=(6, beside), textcoords="offset points", fontsize=8
            )
        axis.set_xscale("log", base=2)
        ticks = sorted({one["bits"] for one in results["rules"].values()})
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        axis.set(
            xlabel="bits of state a weight while training: level or latent, and moments",
            ylabel="test accuracy (%)",
            title=f"MNIST-1D, {study['steps']} steps, mean and standard deviation of "
            f"{study['seeds']} seeds",
        )
        axis.margins(x=0.12)
        figure.savefig(path, format="png")
        plt.close(figure)
