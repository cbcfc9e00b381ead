"""The threshold of ternary weights [li2016] against the best one, for normal and uniform weights.

For weights W of a symmetric law, seen as 0 within D and as a gain with their sign beyond, the best
gain is a = E(|W| | |W| > D), and what is lost of the weights' square is

    1 - E(|W|; |W| > D)^2 / (P(|W| > D) E W^2).
"""

from __future__ import annotations

import math

import numpy as np
import scipy  # pyright: ignore[reportMissingTypeStubs]

from qpapers.ledger import Claim, Values
from qtheory.algorithms.ternary_weights import TernaryWeights, law, reading
from qtheory.noise import Gaussian

TEST = "tests/theory/algorithms/test_ternary_weights.py"
MEAN = math.sqrt(2 / math.pi)
"""E |W| of standard normal weights."""
NORMAL = Gaussian(1.0)


def loss(threshold: float) -> float:
    """What is lost of standard normal weights at D = threshold: E(|W|; |W| > D) = 2 f(D)."""
    at = np.array([threshold])
    return float((1 - 2 * NORMAL.density(at) ** 2 / NORMAL.tail(at))[0])


def within(threshold: float) -> float:
    """The share of standard normal weights within D."""
    return 1.0 - 2.0 * float(NORMAL.tail(np.array([threshold]))[0])


def best() -> Values:
    """The best threshold in standard deviations and in E |W|, its loss, its share of zeros."""
    found = scipy.optimize.minimize_scalar(loss, bounds=(0.1, 2.0), method="bounded",
                                           options={"xatol": 1e-10})  # fmt: skip
    d = float(found.x)
    return d, d / MEAN, loss(d), within(d)


def published() -> Values:
    """Losses and shares of zeros at 0.7 and at 0.75 E |W|."""
    at = [t * MEAN for t in (0.7, 0.75)]
    return (*map(loss, at), *map(within, at))


def zeros() -> Values:
    """The share of zeros of the rule itself, for the 4001 quantiles of a normal law."""
    p = (np.arange(4001) + 0.5) / 4001
    w = scipy.special.ndtri(p)
    shares = [law(TernaryWeights(threshold=t), w)[:, 1].mean() for t in (0.7, 0.75)]
    return tuple(float(share) for share in shares)


def uniform() -> Values:
    """Best threshold and loss for weights uniform on [-1, 1], by a grid: E(|W|; > D) = (1 - D^2)/2.

    The grid of 3001 places has 1/3 among them.
    """
    d = np.arange(3000) / 3000
    lost = 1 - 3 * ((1 - d**2) / 2) ** 2 / (1 - d)
    k = int(np.argmin(lost))
    return float(d[k]), float(lost[k])


CLAIMS = (
    Claim(
        id="threshold-best",
        statement="Normal weights: the best threshold in standard deviations, in E(abs W), the "
        "part of the square that is lost, and the share of zeros",
        code=loss,
        test=f"{TEST}::test_the_mean_of_survivors_is_the_nearest_gain",
        printed="0.612, 0.767, 0.1902, 0.459",
        number="noted",
        expected=(0.612, 0.767, 0.1902, 0.459),
        tolerance=5e-4,
        why="half a unit of the third decimal",
        run=best,
    ),
    Claim(
        id="threshold-published",
        statement="What is lost at 0.7 and 0.75 E(abs W), and the shares of zeros: both are within "
        "0.0015 of the best",
        code=loss,
        test=f"{TEST}::test_the_mean_of_survivors_is_the_nearest_gain",
        printed="0.1916, 0.1903, 0.424, 0.450",
        number="noted",
        expected=(0.1916, 0.1903, 0.424, 0.450),
        tolerance=5e-4,
        why="half a unit of the third decimal",
        run=published,
    ),
    Claim(
        id="threshold-zeros",
        statement="The rule itself has these zeros: shares of 4001 quantiles of a normal law, "
        "thresholds 0.7 and 0.75",
        code=reading,
        test=f"{TEST}::test_a_weight_on_the_threshold_is_0",
        printed="0.424, 0.450",
        number="noted",
        expected=(0.424, 0.450),
        tolerance=1e-3,
        why="half a unit of the third decimal, and two quantiles of 1/4001 at the thresholds",
        run=zeros,
    ),
    Claim(
        id="threshold-uniform",
        statement="Uniform weights: the best threshold is a third of the largest weight, and a "
        "ninth of the square is lost",
        code=uniform,
        test=f"{TEST}::test_the_mean_of_survivors_is_the_nearest_gain",
        printed="0.333333, 0.111111",
        number="noted",
        expected=(1 / 3, 1 / 9),
        tolerance=1e-6,
        why="the grid has 1/3 among its places, and six decimals are given",
        run=uniform,
    ),
)
