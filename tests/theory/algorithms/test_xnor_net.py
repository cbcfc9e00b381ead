"""Binary weights with a gain: the best scale and signs, and three gradients that differ."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from qreference import reader
from qtheory.algorithms.xnor_net import XnorNet
from qtheory.lattice import Lattice

WEIGHTS = np.array([[0.3, -1.2, 0.05, -0.4, 2.0, 0.0]])
UPSTREAM = np.array([[1.0, -2.0, 0.5, 3.0, -1.0, 4.0]])


def test_no_scale_and_no_signs_are_nearer():
    """Of signs B the best scale is W.B / n, and the error |W|^2 - (W.B)^2 / n."""
    seen = reader.read(XnorNet(), WEIGHTS)
    ours = np.square(WEIGHTS - seen).sum()
    signs = np.array(list(product([-1.0, 1.0], repeat=WEIGHTS.size)))
    best = np.square(WEIGHTS).sum() - (signs @ WEIGHTS[0]) ** 2 / WEIGHTS.size
    assert abs(ours - best.min()) <= 1e-14
    for scale in (0.9, 1.1):
        assert np.square(WEIGHTS - scale * seen).sum() > ours


def test_each_filter_has_its_own_gain_and_a_vector_is_one_filter():
    filters = np.array([[1.0, -3.0], [-0.5, 0.0]])
    assert reader.read(XnorNet(), filters).tolist() == [[2.0, -2.0], [-0.25, 0.25]]
    assert reader.read(XnorNet(), np.array([1.0, -3.0])).tolist() == [2.0, -2.0]


def test_the_exact_gradient_is_that_of_the_surrogate():
    """alpha(W) (clip(W) + r), r = sign - clip held: central differences, off the kinks."""
    held = np.where(WEIGHTS >= 0, 1, -1) - np.clip(WEIGHTS, -1, 1)

    def loss(w: np.ndarray) -> float:
        return float((UPSTREAM * np.abs(w).mean() * (np.clip(w, -1, 1) + held)).sum())

    found = reader.slope(XnorNet(gradient="exact"), WEIGHTS, None, UPSTREAM)["latent"][0]
    for i in range(5):  # W_5 = 0 is a kink of alpha
        h = np.zeros_like(WEIGHTS)
        h[0, i] = 1e-6
        assert abs((loss(WEIGHTS + h) - loss(WEIGHTS - h)) / 2e-6 - found[i]) <= 1e-9


def test_printed_exact_and_released_gradients_by_hand():
    w, g = np.array([[1.0, -2.0]]), np.array([[4.0, 6.0]])  # alpha = 3/2, n = 2
    gradients = {
        "printed": [4 * (0.5 + 1.5), 6 * 0.5],
        "exact": [4 * 1.5 + 0.5 * (4 - 6), -0.5 * (4 - 6)],
        "released": [4 * 0.5, 6 * 0.5],
    }
    for name, expected in gradients.items():
        spec = XnorNet(gradient=name)
        assert reader.slope(spec, w, None, g)["latent"].tolist() == [expected]
        assert reader.stopped(spec, w).tolist() == [[1.0, -1.0 if name == "released" else -2.0]]


def test_other_levels_and_gradients_are_refused():
    with pytest.raises(ValueError, match="binary weights are -1 and 1 times a gain, got Lattice"):
        XnorNet(Lattice.ternary())
    with pytest.raises(ValueError, match=r"a gradient is one of .*, got 'straight'"):
        XnorNet(gradient="straight")
