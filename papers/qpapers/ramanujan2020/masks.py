"""Masks over binary weights [ramanujan2020]: what they cost, what they lose, and scores."""

from __future__ import annotations

import math

import numpy as np
import scipy  # pyright: ignore[reportMissingTypeStubs]

from qpapers.ledger import Claim, Values
from qreference import reader
from qtheory.algorithms.prune_quantize import PruneQuantize
from qtheory.noise import Gaussian

TEST = "tests/theory/algorithms/test_prune_quantize.py"
NORMAL = Gaussian(1.0)
QUANTILES = scipy.special.ndtri((np.arange(40001) + 0.5) / 40001)
SHARES = (0.1, 0.45946, 0.7, 0.9)


def entropy(zeros: float) -> float:
    """Bits of a ternary weight with a share of zeros and signs that are equally likely."""
    kept = 1 - zeros
    return -zeros * math.log2(zeros) - kept * math.log2(kept) + kept


def entropies() -> Values:
    """Of a third, a half, 77.3 % and 90 % zeros; and the share of zeros that takes one bit."""
    one_bit = scipy.optimize.brentq(lambda p: entropy(p) - 1, 0.5, 0.99)
    return *map(entropy, (1 / 3, 0.5, 0.773, 0.9)), float(one_bit)


def losses() -> Values:
    """What pruned weights lose of the square of normal ones, at four shares of zeros."""
    found = (reader.read(PruneQuantize(zeros=p), QUANTILES) for p in SHARES)
    square = np.square(QUANTILES).sum()
    return tuple(float(np.square(QUANTILES - seen).sum() / square) for seen in found)


def exact_loss(zeros: float) -> float:
    """1 - E(|W|; |W| > D)^2 / P(|W| > D) = 1 - 4 f(D)^2 / (1 - zeros) of normal weights."""
    cut = np.array([scipy.special.ndtri(0.5 + 0.5 * zeros)])
    return float(1 - 4 * NORMAL.density(cut)[0] ** 2 / (1 - zeros))


def scored() -> Values:
    """What is seen of four signed constants of 1/4, and the slopes of their scores."""
    spec, scores = PruneQuantize(rule="scores"), np.array([0.9, -0.2, -0.7, 0.1])
    state, upstream = {"fixed": 0.25 * np.array([1.0, 1, -1, -1])}, np.array([1.0, 2.0, 4.0, 8.0])
    slope = reader.slope(spec, scores, None, upstream, state)["latent"]
    return *map(float, reader.read(spec, scores, None, state)), *map(float, slope)


CLAIMS = (
    Claim(
        id="mask-entropy",
        statement="A ternary weight takes h(p) + 1 - p bits, p the share of zeros: p = 1/3, 1/2, "
        ".773, .9; and p for one bit, as a binary weight takes: fewer zeros never pay",
        code=entropy,
        test="tests/papers/test_reader_claims.py::test_entropies_are_those_of_three_probabilities",
        printed="1.585, 1.5, 1.0, .569; .773",
        number="noted",
        expected=(1.585, 1.5, 1.0, 0.569, 0.773),
        tolerance=5e-4,
        why="half a unit of the third decimal",
        run=entropies,
    ),
    Claim(
        id="mask-loss",
        statement="Pruning the smallest of normal weights, with the mean of the others as their "
        "gain: the part of the square that is lost at 10 %, 45.946 %, 70 % and 90 % zeros, "
        "1 - 4 f(D)^2 / (1 - p); the second is the best threshold of ternary weights",
        code=reader.read,
        test=f"{TEST}::test_a_share_of_the_smallest_weights_is_pruned",
        printed=".3037, .1902, .2752, .5745 (derived)",
        number="ours",
        expected=tuple(map(exact_loss, SHARES)),
        tolerance=2e-4,
        why="40001 quantiles lose 1e-4 of the tails, and the cut is within one of them",
        run=losses,
    ),
    Claim(
        id="mask-scores",
        statement="Scores .9, -.2, -.7, .1 of signed constants 1/4, 1/4, -1/4, -1/4, half of them "
        "kept: what is seen is the mask times W, and the slope of a score W sign(s) times 1, 2, 4, "
        "8: straight through the mask, which is of abs s",
        code=reader.slope,
        test=f"{TEST}::test_scores_choose_weights_that_do_not_change",
        printed="1/4, 0, -1/4, 0; 1/4, -1/2, 1, -2",
        number="noted",
        expected=(0.25, 0.0, -0.25, 0.0, 0.25, -0.5, 1.0, -2.0),
        tolerance=0.0,
        why="powers of two",
        run=scored,
    ),
)
