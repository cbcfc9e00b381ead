"""Noisy stairs as activations, in plain NumPy: the exact law, derivatives, ties, and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qreference.stairs import (
    FAMILIES,
    NoisyStair,
    activate,
    below,
    derivative,
    derivative_in_mean,
    derivative_in_scale,
    index,
)
from qtheory.lattice import Lattice
from qtheory.noise import Gaussian, Logistic, Triangular, Uniform, peak
from qtheory.stairs import smoothing
from qtheory.stairs.stair import Stair

TERNARY = Stair.nearest(Lattice.ternary())
UNEVEN = Stair((-2.0, -1.5, 0.0, 4.0), (-1.0, 0.3, 0.5))
NOISES = {"uniform": Uniform, "triangular": Triangular, "normal": Gaussian, "logistic": Logistic}
UNIT = 2.0**-53
families = pytest.mark.parametrize("family", FAMILIES)
scales = pytest.mark.parametrize(("scale", "mean"), [(0.7, 0.0), (0.25, -0.3), (3.0, 0.1)])
# Multiples of 1/64 hit thresholds and ends of windows; the last ones are far out.
X = np.concatenate([np.arange(-160, 161) / 64, [-1e3, -40.0, 40.0, 1e3, -np.inf, np.inf]])
HEIGHT = UNEVEN.height


@families
@scales
def test_it_is_the_smoothed_stair(family, scale, mean):
    """F is right to 8 roundings of 1 in either room (erfc and exp to 4), 3 terms and their sum:
    16 roundings of the height. A slope is right to 16 roundings of the largest, peak * height, and
    one in the scale to as many of it times abs(a) f / f(0) <= 1 per unit scale."""
    spec, noise = NoisyStair(UNEVEN, family, scale, mean), NOISES[family](scale)
    exact = smoothing.expectation(UNEVEN, noise, X, mean)
    assert np.abs(activate(spec, X, "expectation") - exact).max() <= 16 * UNIT * HEIGHT
    top = peak(noise) * HEIGHT
    slopes = smoothing.slope(UNEVEN, noise, X, mean)
    assert np.abs(derivative(spec, X) - slopes).max() <= 16 * UNIT * top
    assert np.array_equal(derivative_in_mean(spec, X), -derivative(spec, X))
    finite = np.isfinite(X)
    in_scale = smoothing.slope_in_scale(UNEVEN, noise, X[finite], mean)
    assert np.abs(derivative_in_scale(spec, X)[finite] - in_scale).max() <= 16 * UNIT * top
    assert not derivative_in_scale(spec, X[~finite]).any()


@families
@scales
def test_levels_drawn_by_all_words_have_the_law(family, scale, mean):
    """All words of 16 bits: each count of a level is off by 1 at most, two ends of its interval."""
    words = (np.arange(2**16, dtype=np.uint32) << 16) + 2**15
    spec, noise = NoisyStair(UNEVEN, family, scale, mean), NOISES[family](scale)
    for x in (-1.1, 0.1, 0.5, 2.0, 9.0):
        drawn = index(spec, np.array([x]), "random", words)
        measured = np.bincount(drawn, minlength=4) / 2**16
        exact = smoothing.law(UNEVEN, noise, np.array(x), mean)
        assert np.abs(measured - exact).max() <= 2.0**-16


@families
def test_words_are_compared_with_whole_numbers(family):
    """The word below a threshold passes, the word at it does not; 0 never and 2**32 always."""
    spec = NoisyStair(TERNARY, family, 2.0)
    x = np.array([-0.3, 0.0, 0.6])
    edges = below(spec, x)
    assert edges.dtype == np.uint64
    for i in range(2):
        at = edges[:, i].astype(np.uint32)
        here = index(spec, x, "random", at)
        before = index(spec, x, "random", at - np.uint32(1))
        assert (before > i).all() and (here <= i).all()
    ends = np.array([0, 2**32 - 1], np.uint32)
    assert activate(spec, np.array([1e9, -1e9]), "random", ends[::-1]).tolist() == [1.0, -1.0]
    assert activate(spec, np.array([-1e9, 1e9]), "random", ends).tolist() == [-1.0, 1.0]


@families
@scales
def test_the_mode_is_the_most_probable_level(family, scale, mean):
    """Where the two most probable ones differ by more than 32 roundings; 64ths hit ties as well."""
    spec, noise = NoisyStair(UNEVEN, family, scale, mean), NOISES[family](scale)
    x = X[np.isfinite(X)]
    chances = np.sort(smoothing.law(UNEVEN, noise, x, mean), axis=-1)
    clear = chances[:, -1] - chances[:, -2] > 32 * UNIT
    assert clear.mean() > 0.95
    exact = smoothing.mode(UNEVEN, noise, x, mean)
    assert np.array_equal(index(spec, x, "mode")[clear], exact[clear])
    tie = NoisyStair(TERNARY, family, 0.5)  # at a threshold both its levels have 1/2: the lower
    if family in ("uniform", "triangular"):
        assert activate(tie, np.array([-0.5, 0.5]), "mode").tolist() == [-1.0, 0.0]


@pytest.mark.parametrize("tie", ["up", "down", "away"])
@pytest.mark.parametrize("forward", ["hard", "expectation", "mode"])
def test_scale_zero_is_the_stair_itself(tie, forward):
    """With its tie rule, at x - mean; and no slope."""
    for stair in (Stair(TERNARY.levels, TERNARY.thresholds, tie), Stair.step(-1.0, tie=tie)):
        for mean in (0.0, 0.25):
            spec = NoisyStair(stair, "normal", 0.0, mean)
            assert np.array_equal(activate(spec, X, forward), stair(X - mean))
            slopes = (
                derivative(spec, X),
                derivative_in_scale(spec, X),
                derivative_in_mean(spec, X),
            )
            assert not np.array(slopes).any()
    noisy = NoisyStair(stair, "normal", 0.7, 0.25)
    assert np.array_equal(activate(noisy, X, "hard"), stair(X - 0.25))


def test_a_window_counts_one_of_its_ends():
    """Ternary, half width 1/2: windows tile [-1, 1), with slope 1 at every level but the last."""
    spec = NoisyStair(TERNARY, "uniform", 0.5)
    x = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    assert derivative(spec, x).tolist() == [1.0, 1.0, 1.0, 1.0, 0.0]
    assert np.array_equal(activate(spec, X, "expectation"), np.clip(X, -1, 1))


@families
def test_types_are_kept_and_nan_is_handed_on(family):
    spec = NoisyStair(TERNARY, family, 0.4)
    words = np.zeros(2, np.uint32)
    for dtype in (np.float32, np.float64):
        x = np.array([np.nan, 0.3], dtype)
        for forward in ("expectation", "mode", "hard"):
            out = activate(spec, x, forward)
            assert out.dtype == dtype and math.isnan(out[0]) and not math.isnan(out[1])
        assert math.isnan(activate(spec, x, "random", words)[0])
        assert derivative(spec, x).dtype == dtype


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NoisyStair(TERNARY, "cauchy"), "a noise is one of .*, got 'cauchy'"),
        (lambda: NoisyStair(TERNARY, scale=-1.0), "scale of noise is finite and >= 0, got -1.0"),
        (lambda: NoisyStair(TERNARY, mean=math.inf), "mean of a noise is finite, got inf"),
        (lambda: activate(NoisyStair(TERNARY), X, "soft"), "forward pass is one of .*'soft'"),
        (lambda: activate(NoisyStair(TERNARY), X, "random"), "it needs them, got 'random'"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
