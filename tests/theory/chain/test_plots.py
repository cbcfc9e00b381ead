"""Plots: what is drawn is what was asked for; without a screen."""

import matplotlib as mpl
import numpy as np
import pytest

from qpapers.chains.cases import double_well
from qtheory.chain import MarkovChain, distances, mixing_time, plot_chain, plot_law, plot_mixing

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _closed_figures():
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def test_a_law_is_drawn_as_bars_or_on_a_log_axis():
    law = np.array([0.5, 0.0, 0.5])
    bars = plot_law(law, np.array([-1.0, 0.0, 1.0]), label="law").patches
    assert [b.get_height() for b in bars] == law.tolist()
    assert [round(b.get_x() + b.get_width() / 2, 12) for b in bars] == [-1, 0, 1]
    line = plot_law(law, log=True).lines[0]
    assert line.get_xdata().tolist() == [0, 2]


def test_a_law_needs_as_many_levels():
    with pytest.raises(ValueError, match="a law of 2 levels needs as many, got 3"):
        plot_law(np.array([0.5, 0.5]), np.arange(3.0))
    with pytest.raises(ValueError, match=r"one axis, got shape \(1, 2\)"):
        plot_law(np.array([[0.5, 0.5]]))


def test_a_chain_is_drawn_with_its_weak_links_and_transient_rows():
    chain = MarkovChain(np.array([[0.0, 1e-30, 0.0], [0.0, 0.0, 0.5], [0.0, 0.5, 0.0]]))
    ax = plot_chain(chain, np.array([-1.0, 0.0, 1.0]))
    picture = ax.images[0].get_array()
    assert picture[0, 1] == -30
    assert picture.mask[1, 0]
    assert len(ax.patches) == 1
    assert [t.get_text() for t in ax.get_xticklabels()] == ["-1", "0", "1"]


def test_mixing_is_drawn_with_its_time():
    chain = double_well(0.1)
    line, mark = plot_mixing(chain).lines[:2]
    first = mixing_time(chain)
    assert mark.get_xdata()[0] == first
    assert mark.get_ydata()[0] <= 0.25 < distances(chain, [first - 1])[0]
    assert line.get_xdata()[-1] == 8 * first
    assert (np.diff(line.get_ydata()) <= 1e-12).all()
