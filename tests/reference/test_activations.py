"""Multi-step activations: the paper's intervals, ties, and windows of the right area."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from qreference.stairs import NoisyStair, activate, derivative, derivative_in_scale, multi_step

orders = pytest.mark.parametrize("order", [1, 2, 3, 4])


@orders
@pytest.mark.parametrize("r", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_levels_are_those_of_the_papers_intervals(order, r, dtype):
    """omega / K if r + (omega - 1)(H - r)/K < x <= r + omega (H - r)/K, in exact fractions."""
    spec, steps = multi_step(order, r), 2 ** (order - 1)
    edges = [Fraction(r) + k * (1 - Fraction(r)) / steps for k in range(steps + 1)]
    assert list(spec.stair.thresholds) == [float(edge) for edge in edges[:-1]]  # dyadic: exact
    at = np.array([float(edge) for edge in edges], dtype)
    x = np.concatenate([at, np.nextafter(at, dtype(9)), np.nextafter(at, dtype(-9)), [3, np.inf]])
    x = x.astype(dtype)
    for sign in (1, -1):
        got = activate(spec, sign * x, "hard")
        assert got.dtype == dtype
        for value, level in zip(x.tolist(), got.tolist(), strict=True):
            magnitude = 1.0 if value > 1 else sum(abs(value) > e for e in edges[:-1]) / steps
            below = -1 if value < 0 else 1
            assert level == sign * below * magnitude


def test_ternary_is_strict_and_binary_takes_zero_up():
    x = np.array([-0.6, -0.5, 0.0, 0.5, 0.6], np.float32)
    assert activate(multi_step(1, 0.5), x, "hard").tolist() == [-1, 0, 0, 0, 1]
    x = np.array([-1e-45, -0.0, 0.0, 1e-45], np.float32)
    assert activate(multi_step(0), x, "hard").tolist() == [-1, 1, 1, 1]


def test_rectangular_windows_include_their_ends_and_add():
    spec = multi_step(1, threshold=0.5, half_width=0.25)
    x = np.array([0.2, 0.25, 0.5, 0.75, 0.8], np.float32)
    assert derivative(spec, x).tolist() == [0, 2, 2, 2, 0]  # 1 / (2 a)
    assert derivative(spec, -x).tolist() == [0, 2, 2, 2, 0]
    both = multi_step(2, threshold=0.5, half_width=0.25)  # thresholds 1/2 and 3/4
    assert derivative(both, x).tolist() == [0, 1, 2, 2, 1]
    assert derivative(multi_step(0, half_width=0.5), np.array([-0.5, 0, 0.6])).tolist() == [2, 2, 0]


def test_triangular_windows_have_their_peak_at_the_threshold():
    spec = multi_step(1, threshold=0.5, half_width=0.25, window="triangular")
    x = np.array([0.25, 0.375, 0.5, 0.625, 0.75, -0.5])
    assert derivative(spec, x).tolist() == [0, 2, 4, 2, 0, 4]  # 1 / a at the peak
    binary = multi_step(0, half_width=0.5, window="triangular")
    assert derivative(binary, x[2:4] - 0.5).tolist() == [4, 3]


@pytest.mark.parametrize("window", ["rectangular", "triangular"])
@pytest.mark.parametrize("order", [0, 1, 2, 4])
def test_the_area_under_the_derivative_is_the_height_of_the_steps(order, window):
    """From -1 to 1 on the whole: area 2, when no window reaches 0 (order 0: by definition)."""
    spec = multi_step(order, threshold=0.5, half_width=0.25, window=window)
    cells = 2**14
    x = (np.arange(-2 * cells, 2 * cells) + 0.5) / cells  # midpoints
    area = derivative(spec, x).sum() / cells
    # All corners of the windows are multiples of 1 / cells: the midpoint rule is exact for
    # straight pieces. Rounding: 2**16 terms of at most 16, eps = 2**-52 each.
    assert abs(area - 2) <= 2.0**-30


def test_types_are_kept():
    for spec in (multi_step(0), multi_step(1), multi_step(3, window="triangular")):
        assert derivative(spec, np.ones(3, np.float32)).dtype == np.float32
        assert derivative(spec, np.ones(3)).dtype == np.float64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": -1}, "got -1"),
        ({"threshold": math.inf}, r"first threshold is >= 0, and below 1 for order > 1, got inf"),
        ({"half_width": 0.0}, "the half-width is positive and finite, got 0.0"),
        ({"window": "round"}, "a window is rectangular or triangular, got 'round'"),
    ],
)
def test_impossible_activations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        multi_step(**arguments)


def test_what_an_odd_stair_does_not_have_is_refused():
    stair = multi_step().stair
    for noise in (("normal", 0.5, 0.0), ("uniform", 0.0, 0.0), ("uniform", 0.5, 0.1)):
        with pytest.raises(ValueError, match=r"scale > 0 and mean 0, got (normal|uniform)"):
            NoisyStair(stair, *noise, odd=True)
    with pytest.raises(ValueError, match="an odd stair has a hard pass, got 'mode'"):
        activate(multi_step(), np.ones(1), "mode")
    with pytest.raises(ValueError, match="the scale of an odd stair is not learned"):
        derivative_in_scale(multi_step(), np.ones(1))


def test_nan_is_handed_on():
    for order in (0, 1, 3):
        assert np.isnan(activate(multi_step(order), np.array([np.nan]), "hard")).all()
