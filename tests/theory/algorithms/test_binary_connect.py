"""BinaryConnect: the hard sigmoid, the sign and its tie, and unbiased reading within the ends."""

from __future__ import annotations

import numpy as np
import pytest

from qreference import reader
from qtheory.algorithms import from_dict, to_dict
from qtheory.algorithms.binary_connect import BinaryConnect, law
from qtheory.lattice import Lattice

LATENTS = np.linspace(-1.5, 1.5, 61)


def test_a_random_sign_has_the_hard_sigmoid():
    spec = BinaryConnect(reading="stochastic")
    sigmoid = np.clip((LATENTS + 1) / 2, 0, 1)  # one rounding here, three in the law
    assert np.abs(law(spec, LATENTS)[:, 1] - sigmoid).max() <= 4 * 2.0**-53


def test_the_sign_of_zero_is_plus():
    words = np.zeros(3, np.uint32)
    shown = reader.read(BinaryConnect(), np.array([-1e-30, -0.0, 1e-30], np.float32), words)
    assert shown.tolist() == [-1.0, 1.0, 1.0]


@pytest.mark.parametrize("lattice", [Lattice.binary(0.5), Lattice.ternary(), Lattice(9, 1.0, -2.0)])
def test_random_readings_have_the_latent_as_their_mean(lattice):
    spec = BinaryConnect(lattice, "stochastic")
    inside = lattice.low + np.linspace(0, 1, 33) * (lattice.high - lattice.low)
    mean = law(spec, inside) @ lattice.levels
    assert np.abs(mean - inside).max() <= 8 * 2.0**-53 * max(1.0, lattice.high)


def test_ties_go_away_from_zero_as_in_the_nearest_level():
    lattice = Lattice(9, 1.0, -2.0)
    halves = lattice.levels[:-1] + 0.5
    shown = reader.index(BinaryConnect(lattice), halves, np.zeros(8, np.uint32))
    assert shown.tolist() == lattice.nearest(halves).tolist()


def test_a_bad_reading_is_refused_and_a_good_spec_survives_a_dict():
    with pytest.raises(ValueError, match="a reading is 'nearest' or 'stochastic', got 'up'"):
        BinaryConnect(Lattice.binary(), "up")
    spec = BinaryConnect(Lattice.ternary(), "stochastic")
    assert from_dict(to_dict(spec)) == spec
