"""Learned steps: the published cases of the step's gradient, its scale, its start, its groups."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qreference import reader
from qtheory.algorithms.learned_steps import LearnedSteps, signed
from qtheory.lattice import Lattice


def test_the_step_gradient_has_three_cases():
    """-Q_N, q - v / s, Q_P for two bits: levels -2 .. 1; steps that are powers of two."""
    spec, step = LearnedSteps(signed(2), scale="none"), {"step": np.array([0.5])}
    cases = {-1.5: -2.0, -1.0: -2.0, -0.75: -0.5, 0.125: -0.25, 0.375: 0.25, 0.5: 1.0, 2.0: 1.0}
    for latent, expected in cases.items():
        x = np.array([latent])
        found = reader.slope(spec, x, None, np.ones(1), step)
        assert found["step"].tolist() == [expected], latent
        assert found["latent"].tolist() == [float(-1.0 < latent < 0.5)]


def test_ties_go_away_from_0():
    """-0.75 / 0.5 = -1.5 is seen as -2."""
    x, step = np.array([-0.75, -0.25, 0.25]), {"step": np.array([0.5])}
    assert reader.read(LearnedSteps(signed(2)), x, None, step).tolist() == [-1.0, -0.5, 0.5]


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_the_scale_of_the_gradient_and_the_start(bits):
    top = max(2 ** (bits - 1) - 1, 1)
    x, g = np.array([[0.1, -0.7], [0.4, 0.2]]), np.ones((2, 2))
    steady, plain = LearnedSteps(signed(bits)), LearnedSteps(signed(bits), scale="none")
    first = reader.start(steady, x)["step"]
    assert first.shape == (1, 1) and abs(first - 0.7 / math.sqrt(top)).max() <= 2.0**-25
    one, other = (
        reader.slope(spec, x, None, g, {"step": first})["step"] for spec in (steady, plain)
    )
    assert np.abs(one * math.sqrt(4 * top) - other).max() <= 1e-14


def test_filters_have_steps_of_their_own():
    x = np.array([[1.0, 2.0], [10.0, 20.0]])
    spec = LearnedSteps(group="filter")
    first = reader.start(spec, x)["step"]
    assert first.tolist() == [[3.0], [30.0]]
    assert reader.read(spec, x, None, {"step": first}).tolist() == [[0.0, 3.0], [0.0, 30.0]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LearnedSteps(Lattice(4, 1.0, 0.0)), "steps go to both sides of 0, got Lattice"),
        (lambda: LearnedSteps(group="row"), "a group is one of .*, got 'row'"),
        (lambda: LearnedSteps(scale="n"), "a scale of a step's gradient is one of .*, got 'n'"),
    ],
)
def test_other_lattices_and_words_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
