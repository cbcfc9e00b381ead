"""The gain of binary weights [rastegari2016]: the best scale, its gradient, and what it saves."""

from __future__ import annotations

import math

import numpy as np
import scipy  # pyright: ignore[reportMissingTypeStubs]

from qpapers.ledger import Claim, Values
from qreference import reader
from qtheory.algorithms.xnor_net import XnorNet

TEST = "tests/theory/algorithms/test_xnor_net.py"
WEIGHTS = np.array([[0.5, -1.5, 2.0, -0.25]])
UPSTREAM = np.array([[1.0, 2.0, -3.0, 4.0]])


def lost() -> Values:
    """What alpha sign(W) loses of the square of 40001 quantiles of a normal law."""
    w = scipy.special.ndtri((np.arange(40001) + 0.5) / 40001)[None]
    seen = reader.read(XnorNet(), w)
    return (float(np.square(w - seen).sum() / np.square(w).sum()),)


def excess() -> Values:
    """|W - g sign(W)|^2 - |W - alpha sign(W)|^2 over n, for g = alpha +- 1/8."""
    seen = reader.read(XnorNet(), WEIGHTS)
    least = np.square(WEIGHTS - seen).mean()
    scales = (seen + d * np.sign(WEIGHTS) for d in (-0.125, 0.125))
    return tuple(float(np.square(WEIGHTS - scale).mean() - least) for scale in scales)


def gradients() -> Values:
    """The printed and then the exact gradient of four weights."""
    rules = ("printed", "exact")
    found = [reader.slope(XnorNet(gradient=g), WEIGHTS, None, UPSTREAM) for g in rules]
    return tuple(float(x) for one in found for x in one["latent"][0])


def speed_up(channels: int, taps: int) -> float:
    """64 c N / (c N + 64): multiplications of a real convolution over binary words and the gain."""
    return 64 * channels * taps / (channels * taps + 64)


def saved() -> Values:
    """Speed-up of 256 channels and 3 x 3 taps."""
    return (speed_up(256, 9),)


CLAIMS = (
    Claim(
        id="gain-loss",
        statement="Normal weights: binary weights with the mean of abs W as their gain lose "
        "1 - 2 / pi of the square",
        code=reader.read,
        test=f"{TEST}::test_no_scale_and_no_signs_are_nearer",
        printed="0.3634",
        number="noted",
        expected=(1 - 2 / math.pi,),
        tolerance=1e-4,
        why="quantiles of 1/40001 lose a little of the tails, and four decimals are given",
        run=lost,
    ),
    Claim(
        id="gain-best",
        statement="No scale is nearer: the excess of the mean square 1/8 below and above alpha is "
        "1/64",
        code=reader.read,
        test=f"{TEST}::test_no_scale_and_no_signs_are_nearer",
        printed="0.015625, 0.015625",
        number="ours",
        expected=(1 / 64, 1 / 64),
        tolerance=1e-15,
        why="sums of four numbers of a few bits",
        run=excess,
    ),
    Claim(
        id="gain-gradient",
        statement="The printed gradient is not the derivative: W = (1/2, -3/2, 2, -1/4), gradient "
        "of what is seen (1, 2, -3, 4); printed, then exact, n = 4 and alpha = 17/16",
        code=reader.slope,
        test=f"{TEST}::test_the_exact_gradient_is_that_of_the_surrogate",
        printed="1.3125, 0.5, -0.75, 5.25; -0.9375, 2, -2, 6.25",
        number="ours",
        expected=(1.3125, 0.5, -0.75, 5.25, -0.9375, 2.0, -2.0, 6.25),
        tolerance=1e-14,
        why="numbers of a few bits: the exact gradient has sign(W) / 4 times 1 - 2 - 3 - 4 = -8",
        run=gradients,
        verdict="holds corrected",
    ),
    Claim(
        id="gain-speed",
        statement="A convolution of 256 channels and 3 x 3 taps takes so many fewer operations"
        " of 64 bits, by the factor 64 c N / (c N + 64)",
        code=speed_up,
        test=f"{TEST}::test_each_filter_has_its_own_gain_and_a_vector_is_one_filter",
        printed="62.27",
        number="noted",
        expected=(62.27,),
        tolerance=5e-3,
        why="half a unit of the second decimal",
        run=saved,
    ),
)
