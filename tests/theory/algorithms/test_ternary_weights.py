"""Ternary weights: the best gain, ties at the threshold, groups, and the gradients of two gains."""

from __future__ import annotations

import numpy as np
import pytest

from qreference import reader
from qtheory.algorithms import rows
from qtheory.algorithms.ternary_weights import TernaryWeights, law
from qtheory.lattice import Lattice

TTQ = rows()["TTQ"].spec
GAINS = {"positive": np.array([[3.0]]), "negative": np.array([[2.0]])}


def test_the_mean_of_survivors_is_the_nearest_gain():
    w = np.array([[0.1, -1.2, 0.6, -0.4, 2.0, 0.0]])
    seen = reader.read(TernaryWeights(), w)
    ours = np.square(w - seen).sum()
    for scale in (0.999, 1.001):
        assert np.square(w - scale * seen).sum() > ours
    delta = 0.7 * np.abs(w).mean()
    gain = np.abs(w)[np.abs(w) > delta].mean()
    assert seen.tolist() == [[0.0, -gain, gain, 0.0, gain, 0.0]]


def test_a_weight_on_the_threshold_is_0():
    """mean |W| = 1, so that D = 3/4 is met exactly, from both sides of 0."""
    w = np.array([0.75, 1.25, -0.75, -1.25])
    spec = TernaryWeights(threshold=0.75)
    assert reader.index(spec, w).tolist() == [1, 2, 1, 0]
    assert law(spec, w).argmax(-1).tolist() == [1, 2, 1, 0]


def test_filters_and_layers_have_units_of_their_own():
    w = np.array([[1.0, 3.0], [10.0, 30.0]])
    assert reader.read(TernaryWeights(), w).tolist() == [[0.0, 3.0], [0.0, 30.0]]
    layer = TernaryWeights(group="layer")  # D = 0.7 * 11
    assert reader.read(layer, w).tolist() == [[0.0, 0.0], [20.0, 20.0]]


@pytest.mark.parametrize("spec", [TernaryWeights(), TTQ])
def test_nothing_but_zeros_is_seen_as_zeros(spec):
    w = np.zeros((1, 3))
    assert not reader.read(spec, w, None, GAINS).any()
    assert np.isfinite(reader.slope(spec, w, None, np.ones((1, 3)), GAINS)["latent"]).all()


def test_two_learned_gains_and_their_gradients_by_hand():
    """D = 0.05: 0.05 itself is 0. The gain below 0 has the sign of its level in its gradient."""
    w, g = np.array([[1.0, 0.05, -0.06, -0.9]]), np.array([[1.0, 10.0, 100.0, 1000.0]])
    assert reader.read(TTQ, w, None, GAINS).tolist() == [[3.0, 0.0, -2.0, -2.0]]
    found = reader.slope(TTQ, w, None, g, GAINS)
    assert found["latent"].tolist() == [[3.0, 10.0, 200.0, 2000.0]]
    assert found["positive"].tolist() == [[1.0]] and found["negative"].tolist() == [[-1100.0]]
    assert reader.start(TTQ, w) == {"positive": 1.0, "negative": 1.0}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TernaryWeights(Lattice.ternary(2.0)), "-1, 0 and 1 times a gain, got Lattice"),
        (lambda: TernaryWeights(gains="two"), "gains are one of .*, got 'two'"),
        (lambda: TernaryWeights(group="row"), "a group is one of .*, got 'row'"),
        (lambda: TernaryWeights(threshold=0.0), "a threshold is above 0 and below .*, got 0.0"),
        (lambda: TernaryWeights(gains="learned", threshold=1.0), "above 0 and below 1.0, got 1.0"),
    ],
)
def test_other_levels_words_and_thresholds_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
