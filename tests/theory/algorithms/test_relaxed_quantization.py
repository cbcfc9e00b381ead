"""RQ as a reader: the paper's law with a learned spacing and scale, and rounding in the end."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from qreference import reader
from qtheory.algorithms.reader import Reading, reading_law, reading_of
from qtheory.algorithms.relaxed_quantization import RelaxedQuantization, law, signed
from qtheory.gradients.stochastic import relaxed_quantization as theory
from qtheory.lattice import Lattice
from qtheory.noise import Gaussian, Logistic
from qtheory.stairs.stair import Stair

STATE = {"step": np.array([0.25]), "scale": np.array([0.1])}
LATENTS = np.linspace(-2.0, 2.0, 81)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_law_is_that_of_bins_cut_off_and_renormalised(bits):
    """The same numbers in weight units: masses of bins as wide as the spacing, over their sum.

    The reference has them from a closed form of quotients; each side rounds exponents below 100.
    """
    spec = RelaxedQuantization(signed(bits))
    quantizer = theory.RelaxedQuantizer.of_bits(bits, 0.25, Logistic(0.1), signed=True)
    expected = theory.law(quantizer, LATENTS)
    assert np.abs(law(spec, LATENTS, STATE) - expected).max() <= 1e-13
    outcomes = reader.outcomes(spec, LATENTS, STATE)
    passed = outcomes.thresholds.astype(np.float64) / 2.0**32
    tails = np.cumsum(expected[:, ::-1], axis=1)[:, :-1]
    assert np.abs(passed - tails).max() <= 2.0**-32 + 1e-13


def test_far_outside_it_does_not_saturate():
    """p_i tends to exp(g_i a / r) over its sum, a geometric law: in both rooms, at |x| = 1e6."""
    weights = np.exp(np.arange(4) * 2.5)
    far = weights / weights.sum()
    for x, expected in ((1e6, far), (-1e6, far[::-1])):
        latent = np.array([x])
        assert np.abs(law(RelaxedQuantization(), latent, STATE)[0] - expected).max() <= 1e-8
        below = reader.outcomes(RelaxedQuantization(), latent, STATE).thresholds[0] / 2.0**32
        assert np.abs(below - np.cumsum(expected[::-1])[:-1]).max() <= 1e-8


def test_the_mean_is_shown_and_levels_are_drawn():
    mean = reader.read(RelaxedQuantization(shown="expectation"), LATENTS, None, STATE)
    levels = 0.25 * signed(2).levels
    assert np.abs(mean - law(RelaxedQuantization(), LATENTS, STATE) @ levels).max() <= 1e-14
    words = np.arange(81, dtype=np.uint32) * np.uint32(2**25)
    assert set(reader.read(RelaxedQuantization(), LATENTS, words, STATE)) <= set(levels)


def test_first_numbers():
    x = np.array([[0.1, -0.7], [0.4, 0.2]])
    first = reader.start(RelaxedQuantization(signed(3), scale=0.5), x)
    step = 2 * 0.35 / np.sqrt(3)
    assert abs(first["step"].item() - step) <= 2.0**-25
    assert abs(first["scale"].item() - 0.5 * step) <= 2.0**-25


def test_without_noise_it_rounds_and_clips():
    """Thresholds are among the places: up at a tie, whole spacings between the ends."""
    own = reading_of(RelaxedQuantization())
    settled = dataclasses.replace(own, noise=None, shown="hard", ends="open")
    x = np.arange(-16, 17) / 16
    index = reading_law(settled, x, STATE).argmax(-1)
    assert (index - 2 == np.clip(np.floor(x / 0.25 + 0.5), -2, 1)).all()


CUT = reading_of(RelaxedQuantization())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RelaxedQuantization(Lattice.binary()), "both sides of 0 and have it, got Lattice"),
        (lambda: RelaxedQuantization(shown="mode"), "a forward pass is one of .*, got 'mode'"),
        (lambda: RelaxedQuantization(scale=0.0), "a first scale is above 0 and at most .*, got 0"),
        (lambda: signed(1), "have 2 bits or more, got 1"),
        (lambda: dataclasses.replace(CUT, noise=Gaussian(1.0)), "ends are cut off logistic noise"),
        (lambda: dataclasses.replace(CUT, noise=Logistic(2.0)), "ends are cut off logistic noise"),
        (lambda: dataclasses.replace(CUT, shown="mode"), "ends are cut off logistic noise"),
        (lambda: dataclasses.replace(CUT, group="filter"), "ends are cut off logistic noise"),
        (
            lambda: dataclasses.replace(CUT, stair=Stair((0.0, 1.0, 3.0), (0.5, 2.0))),
            "cut ends are those of a lattice, got levels",
        ),
        (lambda: Reading(Stair.step(), zeros=0.5), "a share of zeros in .* is of the unit 'rank'"),
        (lambda: Reading(Stair.step(), signs="fixed"), "fixed numbers have signs, a gain and a"),
        (lambda: dataclasses.replace(CUT, order="largest"), "what is frozen has no noise, got"),
    ],
)
def test_other_lattices_and_readings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
