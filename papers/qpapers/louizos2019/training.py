"""Relaxed values or draws in training [louizos2019]: the shape of its results at 2 and 8 bits.

The setting of `Setting`, eight seeds, and the criterion were fixed before any number was seen: at
2/2 bits a mean difference of errors of at least 0.01 and of 3 standard errors, at 8/8 bits one of
at most 0.01. The temperature and the iterations of the last claims were chosen afterwards, with the
same eight seeds, so these claims have seeds of their own.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from qpapers.ledger import Claim, Values
from qpapers.louizos2019.classifier import (
    Setting,
    error,
    first_training,
    task,
    training,
    with_lattices,
)

TEST = "tests/papers/test_relaxed_training.py"
SEEDS, HOT_SEEDS, LONG_SEEDS = range(8), range(8, 20), range(8, 14)


@cache
def errors(bits: int, temperature: float, iterations: int, seeds: range) -> np.ndarray:
    """A row for each seed: no quantisation, nearest levels without further training, RQ, RQ
    straight-through; test error."""

    def row(seed: int) -> list[float]:
        settings = [
            Setting(bits, on_draws, seed, temperature, iterations=iterations)
            for on_draws in (False, True)
        ]
        plain = first_training(settings[0])
        begun = with_lattices(plain, task(seed)[0], bits)
        ends = [error(training(setting, plain), seed, bits) for setting in settings]
        return [error(plain, seed, None), error(begun, seed, bits), *ends]

    return np.array([row(seed) for seed in seeds])


def difference(bits: int, temperature: float, iterations: int, seeds: range) -> tuple[float, float]:
    """Error of RQ less that of RQ straight-through, mean over seeds, and its standard error."""
    table = errors(bits, temperature, iterations, seeds)
    gap = table[:, 2] - table[:, 3]
    return float(gap.mean()), float(gap.std(ddof=1) / math.sqrt(len(seeds)))


def two_bits() -> Values:
    """At 2/2 bits: mean errors of the four columns, the difference and its standard error."""
    means = errors(2, 1.0, 400, SEEDS).mean(axis=0)
    return *(float(v) for v in means), *difference(2, 1.0, 400, SEEDS)


def eight_bits() -> Values:
    """At 8/8 bits: size of the difference, its standard error."""
    gap, error = difference(8, 1.0, 400, SEEDS)
    return abs(gap), error


def hot() -> Values:
    """At 2/2 bits, temperature 2: the difference, and over its standard error."""
    gap, error = difference(2, 2.0, 400, HOT_SEEDS)
    return gap, gap / error


def long() -> Values:
    """At 2/2 bits, 1000 iterations."""
    return difference(2, 1.0, 1000, LONG_SEEDS)


CLAIMS = (
    Claim(
        id="train-two-bits",
        statement="At 2/2 bits RQ straight-through beats RQ by a clear margin: test errors without "
        "quantisation, with nearest levels before training, RQ, RQ straight-through; difference, "
        "its standard error; 10-32-5 classifier of our own, temperature 1, 400 iterations, 8 seeds",
        code=training,
        test=f"{TEST}::test_training_lowers_the_error",
        printed="11.75 against 9.08 %, .76 against .63 %; not here: a margin of .01 and 3 "
        "standard errors was asked for; seen: 0.146, 0.288, 0.222, 0.217, 0.005, "
        "0.005",
        number="ours",
        expected=(0.146, 0.288, 0.222, 0.217, 0.005, 0.005),
        tolerance=0.016,
        why="other last bits give other runs: 3 standard errors of a difference",
        run=two_bits,
        guard=True,
        slow=True,
        verdict="not reproduced",
    ),
    Claim(
        id="train-eight-bits",
        statement="At 8/8 bits they tie: size of the difference, its standard error; the same",
        code=training,
        test=f"{TEST}::test_training_lowers_the_error",
        printed="6.70 against 6.72 %, .55 against .56 %; at most .01 was asked for",
        number="ours",
        expected=(0.01, 0.01),
        tolerance=0.0,
        why="a bound fixed before",
        run=eight_bits,
        guard=True,
        slow=True,
        relation="<=",
    ),
    Claim(
        id="train-hot",
        statement="At 2/2 bits the margin is a matter of temperature: the same at temperature 2, "
        "12 other seeds (temperature chosen after train-two-bits was seen): difference, and over "
        "its standard error",
        code=training,
        test=f"{TEST}::test_training_lowers_the_error",
        printed="a margin of .01 and 3 standard errors was asked for; relaxed values are farther "
        "off the lattice there (draw-off-levels)",
        number="ours",
        expected=(0.01, 3.0),
        tolerance=0.0,
        why="the margin fixed before",
        run=hot,
        slow=True,
        relation=">=",
    ),
    Claim(
        id="train-long",
        statement="and of patience: at temperature 1 with 1000 iterations the order is the other "
        "one, 6 other seeds (iterations chosen after train-two-bits was seen)",
        code=training,
        test=f"{TEST}::test_training_lowers_the_error",
        printed="RQ behind, in the paper; seen: -0.0103, 0.0036, 2.9 standard errors",
        number="ours",
        expected=(-0.0103, 0.0036),
        tolerance=0.011,
        why="other last bits give other runs: 3 standard errors",
        run=long,
        guard=True,
        slow=True,
        verdict="not reproduced",
    ),
)
