"""How [courbariaux2015] reads a real latent as a binary weight."""

from __future__ import annotations

import numpy as np

from qpapers.ledger import Claim, Values
from qtheory.algorithms.binary_connect import BinaryConnect, law, reading

TEST = "tests/theory/algorithms/test_binary_connect.py"
LATENTS = np.array([-1.5, -0.5, 0.0, 0.5, 1.5])


def chances() -> Values:
    """P(+1) of the random reading at five latents."""
    return tuple(law(BinaryConnect(reading="stochastic"), LATENTS)[:, 1].tolist())


def signs() -> Values:
    """P(+1) of the deterministic reading below, at and above 0."""
    return tuple(law(BinaryConnect(), np.array([-1e-30, 0.0, 1e-30]))[:, 1].tolist())


def means() -> Values:
    """Mean of the random reading over the latent at four latents within [-1, 1]."""
    latents = np.array([-0.75, -0.25, 0.125, 1.0])
    pmf = law(BinaryConnect(reading="stochastic"), latents)
    return tuple(((pmf[:, 1] - pmf[:, 0]) / latents).tolist())


CLAIMS = (
    Claim(
        id="reading-chance",
        statement="Stochastic: P(+1) is the hard sigmoid clip((r + 1) / 2, 0, 1); r = -1.5, -0.5, "
        "0, 0.5, 1.5",
        code=law,
        test=f"{TEST}::test_a_random_sign_has_the_hard_sigmoid",
        printed="0, 0.25, 0.5, 0.75, 1",
        number="noted",
        expected=(0.0, 0.25, 0.5, 0.75, 1.0),
        tolerance=0.0,
        why="these numbers and their sums are exact",
        run=chances,
    ),
    Claim(
        id="reading-sign",
        statement="Deterministic: the sign of r, +1 at 0; P(+1) just below, at and just above 0",
        code=law,
        test=f"{TEST}::test_the_sign_of_zero_is_plus",
        printed="0, 1, 1",
        number="noted",
        expected=(0.0, 1.0, 1.0),
        tolerance=0.0,
        why="certain",
        run=signs,
    ),
    Claim(
        id="reading-mean",
        statement="The random reading is unbiased within [-1, 1]: its mean over r, at four r",
        code=reading,
        test=f"{TEST}::test_random_readings_have_the_latent_as_their_mean",
        printed="1",
        number="ours",
        expected=(1.0, 1.0, 1.0, 1.0),
        tolerance=1e-15,
        why="r is a multiple of 1/8, so that at most the last bit is rounded",
        run=means,
    ),
)
