"""The sequential test: both error rates by dynamic programming over all paths of a coin."""

import math
from copy import copy

import numpy as np
import pytest

from qtheory.evidence import Sprt, samples_needed


def verdicts(test: Sprt, batch: int, q: float) -> tuple[float, float, float]:
    """P(fail), P(pass), mean draws of a test looked at every `batch` draws of a coin q: exact."""
    alive, trials, fail, done, mean = {0: 1.0}, 0, 0.0, 0.0, 0.0
    while alive:
        size = min(batch, test.cap - trials)
        step = [math.comb(size, k) * q**k * (1 - q) ** (size - k) for k in range(size + 1)]
        after: dict[int, float] = {}
        for successes, mass in alive.items():
            for k, chance in enumerate(step):
                after[successes + k] = after.get(successes + k, 0.0) + mass * chance
        trials += size
        alive = {}
        for successes, mass in after.items():
            verdict = copy(test).update(successes, trials)  # depends on the totals alone
            if verdict is None:
                alive[successes] = mass
            else:
                mean += trials * mass
                fail, done = fail + mass * (verdict == "fail"), done + mass * (verdict == "pass")
    return fail, done, mean


@pytest.mark.parametrize(
    ("p", "bias", "false_alarm", "miss", "batch"),
    [
        (0.5, 0.3, 0.02, 0.05, 1),
        (0.5, 0.3, 1e-4, 1e-2, 3),
        (0.2, 0.3, 0.01, 0.02, 1),  # downwards is no probability
        (0.0, 0.3, 0.01, 0.02, 2),
        (0.9, 0.25, 0.05, 0.05, 1),
    ],
)
def test_both_error_rates_are_kept(
    p: float, bias: float, false_alarm: float, miss: float, batch: int
):
    test = Sprt(p, bias, false_alarm, miss)
    fail, passed, _ = verdicts(test, batch, p)
    assert fail <= false_alarm and fail + passed == pytest.approx(1, abs=1e-12)
    wrong = [p + b for b in (bias, 1.3 * bias) if p + b <= 1]
    wrong += [p - b for b in (bias, 1.3 * bias) if p - b >= 0]
    for q in wrong:
        assert verdicts(test, batch, q)[1] <= miss


def test_it_takes_fewer_draws_than_the_fixed_test():
    test = Sprt(0.5, 0.3, 1e-4, 1e-2)
    fixed = samples_needed(0.5, 0.3, 1e-4, 1e-2)
    assert test.cap == 2 * fixed
    assert verdicts(test, 1, 0.5)[2] < 0.6 * fixed
    assert verdicts(test, 1, 0.8)[2] < 0.8 * fixed


def test_the_error_of_the_cap_is_a_small_part_of_the_miss():
    for p, bias in ((0.5, 1e-3), (0.01, 1e-3), (0.1, 1e-3)):
        assert Sprt(p, bias, 1e-9, 1e-3).undecided < 1e-2 * 1e-3


def test_mean_draws_of_a_correct_coin_are_a_quarter_of_the_fixed_number():
    """The design says 5.1e6 of 21.2e6 at a bias of 1e-3. Scaled to a bias of 1e-2 it is the same
    walk. A ratio is in 0..2, so by Hoeffding's inequality the mean of 4,000 is within 0.104 of
    its expectation except with probability 2 exp(-2 * 4000 * (0.104 / 2)**2) = 8e-10."""
    rng = np.random.default_rng(20180401)
    fixed, draws, batch = samples_needed(0.5, 1e-2, 1e-9, 1e-3), [], 10_000
    fresh = Sprt(0.5, 1e-2, 1e-9, 1e-3)
    for _ in range(4000):
        test = copy(fresh)
        while test.remaining:
            size = min(batch, test.remaining)
            test.update(int(rng.binomial(size, 0.5)), size)
        draws.append(test.trials)
    assert abs(np.mean(draws) / fixed - 5.1 / 21.2) < 0.104


def test_a_test_stops_at_its_cap_and_takes_no_more():
    test = Sprt(0.5, 0.3, 1e-6, 1e-3)
    with pytest.raises(ValueError, match="more draws"):
        test.update(0, test.cap + 1)
    with pytest.raises(ValueError, match=r"0\.\.trials"):
        test.update(2, 1)
    assert test.update(round(0.66 * test.cap), test.cap - 1) is None
    assert test.update(0, 1) == "pass" and test.remaining == 0
    with pytest.raises(ValueError, match="more draws"):
        test.update(0, 1)


def test_what_can_not_be_fails_at_once():
    assert Sprt(0.0, 0.01, 1e-9, 1e-3).update(1, 10) == "fail"
    assert Sprt(1.0, 0.01, 1e-9, 1e-3).update(9, 10) == "fail"
