"""Code that claims about readers have of their own, by other means."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
import torch

from qpapers.ramanujan2020.masks import entropy, exact_loss
from qpapers.rastegari2016.layers import dot, more_bits, pooled, scale_map
from qpapers.zhou2017 import powers


def test_the_map_of_scales_is_a_mean_of_sizes():
    """By scipy's filter, of an image that is not symmetric; sums of 9 terms below 1."""
    image = np.random.default_rng(3).normal(size=(4, 6, 7))
    for taps in (1, 3, 5):
        expected = scipy.ndimage.uniform_filter(np.abs(image).mean(0), taps, mode="constant")
        assert np.abs(scale_map(image, taps) - expected).max() <= 25 * 2.0**-50


def test_the_product_of_scales_is_that_of_a_constant_image():
    """The sum over 9 taps of |I| times 1/9 is a convolution of torch."""
    image = np.random.default_rng(4).normal(size=(2, 5, 5))
    kernel = torch.full((1, 1, 3, 3), 1 / 9, dtype=torch.float64)
    mean = torch.tensor(np.abs(image).mean(0))[None, None]
    expected = torch.nn.functional.conv2d(mean, kernel, padding=1)[0, 0].numpy()
    assert np.abs(scale_map(image, 3) - expected).max() <= 9 * 2.0**-51


@pytest.mark.parametrize("n", [1, 5, 64])
def test_products_of_signs_are_counts_of_bits(n):
    """Every pair of a few words of n bits, by the signs themselves."""
    words = {0, 1, 2**n - 1, 2 ** (n - 1), (2**n - 1) // 3}
    for a in words:
        for b in words:
            signs = [[1 - 2 * (w >> k & 1) for k in range(n)] for w in (a, b)]
            assert dot(a, b, n) == sum(x * y for x, y in zip(*signs, strict=True))


@pytest.mark.parametrize("bits", [1, 2, 3, 5])
def test_more_bits_are_levels_of_equal_spacing(bits):
    levels = np.unique(more_bits(np.linspace(-1, 1, 2001), bits))
    assert levels.size == 2**bits
    assert np.abs(levels - np.linspace(-1, 1, 2**bits)).max() <= 2.0**-50


@pytest.mark.parametrize("taps", [1, 2, 4, 9])
def test_pooled_signs_are_almost_always_plus(taps):
    assert pooled(taps) == 1 - 2.0**-taps


@pytest.mark.parametrize("zeros", [0.01, 1 / 3, 0.5, 0.9])
def test_entropies_are_those_of_three_probabilities(zeros):
    law = [zeros, (1 - zeros) / 2, (1 - zeros) / 2]
    assert abs(entropy(zeros) + sum(p * math.log2(p) for p in law)) <= 1e-14


def test_losses_of_pruned_normal_weights():
    """No zeros is a binary weight, 1 - 2 / pi; all zeros lose everything."""
    assert abs(exact_loss(0.0) - (1 - 2 / math.pi)) <= 1e-15
    assert exact_loss(0.999999) > 0.9999


def test_what_an_index_off_by_one_leaves():
    """n_2 = n_1 + 2 - floor(L / 2) up to n_1: exponents of both signs, and 0."""
    for size in (3, 5, 9, 17):
        exponents = [n for n in range(2 - size // 2, 1) if n <= 0]
        assert powers.left(size) == 1 + 2 * len(exponents)


def test_epochs_of_the_released_schedule():
    (found,) = powers.epochs()
    assert abs(found * 1_281_167 / 256 - 63_000) <= 1e-6
