"""The statistical layer on a correct kernel, thousands of times: how often does it alarm?

The kernel is a counter-based generator that is not ours, and a weight moves iff its word is below
the threshold. Levels are raised until alarms can be counted; the count itself is tested exactly.
"""

import math
from collections.abc import Callable
from copy import copy

import numpy as np
import pytest

from qtheory.evidence import (
    EProcess,
    Sprt,
    audit_terms,
    binomial_p_value,
    combine,
    dkw_p_value,
    log_beta_mixture,
    multinomial_p_value,
    smallest_bias,
    worst_lag_p_value,
)
from qtheory.evidence.binomial import upper_tail

REPETITIONS, LEVEL = 2000, 0.01
FALSE_ALARM = 1e-9  # of each test of a number of alarms below
P = np.array([0.5, 0.01, 0.9, 0.2])
LAW = [0.1, 0.25, 0.5, 0.15]


def cells(rng: np.random.Generator) -> bool:
    p_values = [binomial_p_value(int(rng.binomial(1000, p)), 1000, p) for p in P]
    return min(p_values) * P.size <= LEVEL


def mixtures(rng: np.random.Generator) -> bool:
    log_e = log_beta_mixture(rng.binomial(1000, P), 1000, P, 100.0)
    return combine(log_e) >= -math.log(LEVEL)


def levels(rng: np.random.Generator) -> bool:
    return multinomial_p_value(rng.multinomial(500, LAW), LAW) <= LEVEL


def order(rng: np.random.Generator) -> bool:
    return dkw_p_value(rng.multinomial(500, LAW), LAW) <= LEVEL


def lags(rng: np.random.Generator) -> bool:
    return worst_lag_p_value(rng.random(256) < 0.5) <= LEVEL


def audit(rng: np.random.Generator) -> bool:
    """Eight iterations whose gradients depend on what moved before."""
    process, drift = EProcess(), np.full(200, 0.5)
    for _ in range(8):
        p = np.clip(drift * rng.random(200), 0, 1)
        moved = rng.random(200) < p
        process.multiply(audit_terms(moved, p, np.arange(200) % 4))
        drift = np.where(moved, 0.2, 0.9)
    return process.rejects(LEVEL)


SPRT = Sprt(0.3, 0.1, LEVEL, 0.05)


def sequential(rng: np.random.Generator) -> bool:
    test = copy(SPRT)
    while test.remaining:
        size = min(20, test.remaining)
        test.update(int(rng.binomial(size, SPRT.p)), size)
    return test.verdict == "fail"


LAYER = [cells, mixtures, levels, order, lags, audit, sequential]


def alarms(instrument: Callable[[np.random.Generator], bool], seed: int) -> int:
    rng = np.random.Generator(np.random.Philox(key=seed))
    return sum(instrument(rng) for _ in range(REPETITIONS))


def alarm_limit() -> int:
    """The smallest number of alarms whose probability at the level LEVEL is at most FALSE_ALARM."""
    counts = np.arange(REPETITIONS + 1)
    return int(np.flatnonzero(upper_tail(counts, REPETITIONS, LEVEL) <= FALSE_ALARM)[0])


def test_the_smallest_excess_that_these_repetitions_detect():
    """An alarm rate of 0.039 instead of 0.01, with probability 0.999 at least."""
    limit = alarm_limit()
    assert limit == 53
    assert float(upper_tail(limit, REPETITIONS, 0.039)) >= 0.999
    assert float(upper_tail(limit, REPETITIONS, LEVEL)) <= FALSE_ALARM
    assert smallest_bias(REPETITIONS, LEVEL, 2 * FALSE_ALARM, 1e-3) < 0.029


@pytest.mark.parametrize("instrument", LAYER)
def test_alarms_are_no_more_frequent_than_stated(instrument: Callable[..., bool]):
    """One-sided: a test may alarm less often than its level, as discrete ones and bounds do."""
    assert alarms(instrument, LAYER.index(instrument)) < alarm_limit()


def test_an_asymptotic_p_value_would_be_noticed():
    """Pearson's chi-square, whose nominal level is wrong for rare cells, exceeds the limit."""
    from scipy import stats

    law = np.array([0.0005, 0.0005, 0.999])

    def pearson(rng: np.random.Generator) -> bool:
        counts = rng.multinomial(100, law)
        return bool(stats.chisquare(counts, law * 100).pvalue <= LEVEL)

    assert alarms(pearson, 99) >= alarm_limit()
