"""Figures: no legend covers a curve, epochs are whole, a 0 is seen, a colour means one thing.

They are drawn from a log that is made up, and looked at as matplotlib has laid them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from qcuda.train import palette
from qcuda.train.figures import draw
from qcuda.train.methods import METHODS

WEIGHTS = [36, 10_000]


def record(method: str, seed: int, epoch: int, last: int) -> dict[str, Any]:
    """A line of a log; in the last epoch the loss is 0 and nothing moves, though the law expects
    half a move."""
    made: dict[str, Any] = {"method": method, "seed": seed, "epoch": epoch}
    if METHODS[method].stem is not None:
        made["levels"] = {
            f"layer{i}": [n // 3, n - 2 * (n // 3), n // 3] for i, n in enumerate(WEIGHTS)
        }
    if epoch == 0:
        return made
    moved = 0 if epoch == last else 500 // epoch
    mean = 0.5 if epoch == last else 510.0 / epoch
    probe = {"weights": WEIGHTS, "measured": [0, moved], "mean": [0, mean], "variance": [0, mean]}
    trace = [[epoch, -0.1 * epoch]]
    return made | {
        "loss": 0.0 if epoch == last else 0.1 / epoch,
        "validation_accuracy": min(1.0, 0.5 + 0.1 * epoch + 0.01 * seed),
        "probe": probe, "log_e": -0.1, "law_audit": {"trace": trace},
    }  # fmt: skip


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Figures by name, laid out, of a run of some methods and epochs."""

    def make(methods: Sequence[str], epochs: int) -> dict[str, Figure]:
        found: dict[str, Figure] = {}

        def keep(figure: Figure, path: Path, **options: Any) -> None:
            figure.draw_without_rendering()
            found[path.name.removesuffix(".tmp")] = figure
            path.touch()

        monkeypatch.setattr(Figure, "savefig", keep)
        log = [record(m, s, e, epochs) for m in methods for s in (0, 1) for e in range(epochs + 1)]
        names = draw({"methods": dict.fromkeys(methods)}, log, tmp_path, "Digits")
        assert sorted(found) == sorted(names)
        return found

    yield make
    plt.close("all")


def covered(axis: Axes) -> bool:
    """Whether the legend, if there is one, lies on the field where curves are."""
    legend = axis.get_legend()
    if legend is None:
        return False
    figure = axis.get_figure()
    assert figure is not None
    box = legend.get_window_extent()
    inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width
    return not inside or box.overlaps(axis.get_window_extent())


def every(figures: dict[str, Figure]) -> list[Axes]:
    return [axis for figure in figures.values() for axis in figure.axes]


@pytest.mark.parametrize(
    ("methods", "epochs"),
    [("dst full", 1), ("dst metropolis ste", 2), ("dst walker8 full ste", 4), ("metropolis", 60)],
)
def test_what_is_drawn_is_seen(methods: str, epochs: int, drawn):
    figures = drawn(methods.split(), epochs)
    axes = every(figures)
    assert not [axis.get_title() for axis in axes if covered(axis)]
    for axis in axes:
        if axis.get_xlabel() == "epoch":
            assert all(float(tick).is_integer() for tick in axis.get_xticks())
        for line in axis.lines:
            heights = np.asarray(line.get_ydata(), float)
            assert np.isfinite(axis.transData.transform([(1.0, y) for y in heights])).all()


def test_a_measured_0_is_on_the_axis_and_the_axis_says_how(drawn):
    figures = drawn(["dst", "full"], 4)
    moves, loss = figures["moves.png"].axes[0], figures["learning_curves.png"].axes[0]
    dots = moves.collections[-1].get_offsets()[:, 1]
    assert dots[-1] == 0
    for axis, words in ((moves, "linear below one weight"), (loss, "linear below 0.03")):
        assert axis.get_yscale() == "symlog"
        assert words in axis.get_ylabel()
        foot, top = axis.get_ylim()
        assert foot < 0 < top


def test_an_axis_without_a_0_is_logarithmic(drawn, monkeypatch: pytest.MonkeyPatch):
    made = record
    monkeypatch.setitem(globals(), "record", lambda m, s, e, last: made(m, s, e, last + 1))
    figures = drawn(["dst"], 3)
    for axis in (figures["moves.png"].axes[0], figures["learning_curves.png"].axes[0]):
        assert axis.get_yscale() == "log"
        assert "linear" not in axis.get_ylabel()


def test_a_colour_means_one_thing(drawn):
    """Methods, levels and what is exact have different colours, and figures have no others."""
    meanings = [*(m.colour for m in METHODS.values()), *palette.LEVELS.values(), palette.EXACT]
    assert len(set(meanings)) == len(meanings)
    for axis in every(drawn(["metropolis", "full", "ste"], 4)):
        lines = [to_hex(line.get_color()) for line in axis.lines]
        areas = [to_hex(c) for one in axis.collections for c in one.get_facecolor()]
        assert {c.upper() for c in (*lines, *areas)} <= set(meanings)


def test_a_covering_legend_is_found():
    figure, axis = plt.subplots()
    axis.plot([1, 2], label="x")
    axis.legend()
    figure.draw_without_rendering()
    assert covered(axis)
    plt.close(figure)
