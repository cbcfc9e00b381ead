"""Relaxed values or draws in training [louizos2019]: the shape of its results at 2 and 8 bits.

Setting and criterion were fixed before any number was seen: temperature 1, eight seeds, and at 2/2
bits a mean difference of errors of at least 0.01 and of 3 standard errors, at 8/8 bits one of at
most 0.01.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from qtheory.gradients.relaxed_training import Setting, error, first_training, task, training
from qtheory.gradients.relaxed_training import with_lattices as untrained
from qtheory.ledger import Claim, Values

TEST = "tests/theory/test_relaxed_training.py"
WHERE = "qtheory/gradients/relaxed_training.py"
SEEDS = 8


@cache
def errors(bits: int) -> np.ndarray:
    """A row for each seed: no quantisation, nearest levels without further training, RQ, RQ
    straight-through; test error."""

    def row(seed: int) -> list[float]:
        settings = [Setting(bits, on_draws, seed) for on_draws in (False, True)]
        plain = first_training(settings[0])
        begun = untrained(plain, task(seed)[0], bits)
        ends = [error(training(setting, plain), seed, bits) for setting in settings]
        return [error(plain, seed, None), error(begun, seed, bits), *ends]

    return np.array([row(seed) for seed in range(SEEDS)])


def difference(bits: int) -> tuple[float, float]:
    """Error of RQ less that of RQ straight-through, mean over seeds, and its standard error."""
    gap = errors(bits)[:, 2] - errors(bits)[:, 3]
    return float(gap.mean()), float(gap.std(ddof=1) / math.sqrt(SEEDS))
