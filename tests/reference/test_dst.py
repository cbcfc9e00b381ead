"""DST beyond its law: thresholds against tanh with many digits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from qreference import dst, walker
from qtheory.algorithms.dst import DST
from qtheory.lattice import Lattice

FRACTIONS = np.concatenate(
    [
        np.linspace(0, 1, 257, endpoint=False),
        2.0 ** -np.arange(1, 140),
        1 - 2.0 ** -np.arange(1, 25),
    ]
).astype(np.float32)


@pytest.mark.parametrize("m", [0.01, 1.0, 3.0, 10.0, 40.0])
def test_the_threshold_is_tanh_rounded_down(m):
    spec = DST(Lattice.ternary(), m)
    got, _ = dst.outcomes(spec, np.ones(FRACTIONS.size, np.int64), FRACTIONS)
    with mpmath.workdps(40):
        exact = [mpmath.tanh(mpmath.mpf(m) * float(f)) * 2**32 for f in FRACTIONS]
        excess = [int(t) - e for t, e in zip(got[:, 0], exact, strict=True)]
    # float64: a product (half an ulp; tanh does not amplify relative errors) and a tanh of at
    # most 4 ulp, each ulp at most 2**-53: 2**-50 of probability, 2**-18 of a threshold.
    # Rounding down takes less than one.
    assert min(excess) > -1 - 2.0**-18
    assert max(excess) < 2.0**-18


def test_published_probabilities():
    """tanh(3 x) for x = .01 .. .5; six digits as in the table, half a unit of the last one."""
    x = np.array([0.01, 0.05, 0.1, 0.3, 0.5], np.float32)
    thresholds, _ = dst.outcomes(DST(Lattice.ternary(), 3.0), np.ones(5, np.int64), x)
    p = thresholds[:, 0] / 2.0**32
    # float32 x is off by 2**-26 at most where x < .5: less than 4.5e-8 of probability.
    assert np.abs(p - [0.029991, 0.148885, 0.291313, 0.716298, 0.905148]).max() <= 5.5e-7


def test_certainty_is_two_to_the_32():
    """tanh(40 x) rounds to one for x > 1/2, and no word stays."""
    spec = DST(Lattice.ternary(), 40.0)
    one, x = np.ones(1, np.int64), np.array([0.75], np.float32)
    assert dst.outcomes(spec, one, x).thresholds.tolist() == [[2**32]]
    assert walker.step(spec, one, x, np.array([2**32 - 1], np.uint32)).tolist() == [2]


def test_the_ternary_table():
    """Every row of the ternary transition table, words of 0 and of all ones."""
    spec = DST(Lattice.ternary(), 3.0)
    rows = [  # index, increment, after word 0, after the last word
        (0, -0.5, 0, 0), (0, 0.5, 1, 0), (0, 1.0, 1, 1), (0, 1.5, 2, 1), (0, 2.0, 2, 2),
        (1, -0.5, 0, 1), (1, 0.5, 2, 1), (1, 1.0, 2, 2), (1, -1.0, 0, 0), (1, -1.5, 0, 0),
        (2, 0.5, 2, 2), (2, -0.5, 1, 2), (2, -1.0, 1, 1), (2, -1.5, 0, 1), (2, -9.0, 0, 0),
    ]  # fmt: skip
    index, increment, first, last = (np.array(column) for column in zip(*rows, strict=True))
    increment = increment.astype(np.float32)
    words = np.zeros(len(rows), np.uint32)
    assert walker.step(spec, index, increment, words).tolist() == first.tolist()
    assert walker.step(spec, index, increment, ~words).tolist() == last.tolist()
