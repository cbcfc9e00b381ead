"""Ladder (c): both of its error rates, measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from samples import deep
from scipy import stats
from validate import faults

from qcuda.validate import calibrate, cells, joint, sequential, statistics
from qcuda.validate.kernels import key
from qcuda.validate.run import FALSE_ALARM, manifest
from qtheory.algorithms import DST, StochasticRounding
from qtheory.evidence import worst_lag
from qtheory.lattice import Lattice

STEMS = ("dst", "stochastic_rounding")
SHARE = FALSE_ALARM / sum(len(statistics.names(s, statistics.DEFAULT)) for s in STEMS)


@pytest.mark.parametrize("stem", STEMS)
def test_the_default_run_finds_a_bias_of_1e_3_in_any_cell(stem, capsys):
    """200 repetitions of every cell at p + 1e-3 and p - 1e-3, drawn as binomials."""
    groups, rng = cells.table(stem), np.random.default_rng(7)
    draws = cells.plan(groups, 1e-3, SHARE, 1e-3)
    each, tried, missed, worst = SHARE / cells.uncertain(groups), 0, 0, 0
    for g, numbers in zip(groups, draws, strict=True):
        for i in np.flatnonzero(~g.law.certain):
            p, n = float(g.law.p[i]), int(numbers[i])
            for biased in (q for q in (p + 1e-3, p - 1e-3) if 0 <= q <= 1):
                seen, times = np.unique(rng.binomial(n, biased, 200), return_counts=True)
                values = [
                    cells.interval_p_value(int(s), n, float(g.law.low[i]), float(g.law.high[i]))
                    for s in (seen if seen.size < 20 else _nearest(seen, n * p, 20))
                ]
                kept = seen if seen.size < 20 else _nearest(seen, n * p, 20)
                lost = int(times[np.isin(seen, kept)][np.array(values) > each].sum())
                tried, missed, worst = tried + 200, missed + lost, max(worst, lost)
    with capsys.disabled():
        print(f"\n  {stem}: {missed} of {tried} biases missed, at most {worst} of 200 in a cell")
    assert stats.binom.sf(missed - 1, tried, 1e-3) > 1e-6  # no more than a miss of 1e-3 explains
    assert stats.binom.sf(worst - 1, 200, 1e-3) * tried / 200 > 1e-6


def _nearest(seen: np.ndarray, mean: float, count: int) -> np.ndarray:
    """The outcomes nearest to the claim: if these alarm, those beyond do."""
    return np.sort(seen[np.argsort(np.abs(seen - mean))[:count]])


@pytest.mark.parametrize("stem", STEMS)
def test_a_biased_kernel_is_found_by_the_whole_path(kernel, stem):
    """Every draw taken: cells with the default plan, right and 1e-3 off, three times each."""
    spec = cells.table(stem)[0].spec
    few = [cells.group(spec, [1], [0.9])]
    plan = cells.plan(few, 1e-3, SHARE, 1e-3)[0]
    for seed in range(3):
        verdicts = []
        for judged in (kernel, calibrate.biased(kernel, 1e-3)):
            found = cells.count(judged, few[0], plan, seed=key(seed, stem), tensor=seed)
            assert found.impossible == 0
            verdicts.append(cells.p_value(few, [found]) > SHARE)
        assert verdicts == [True, False]


def test_the_bias_of_a_biased_kernel_is_what_it_says(kernel):
    few = cells.group(DST(Lattice.ternary()), [0, 1], [0.1, 0.3])
    made = calibrate.biased(kernel, 0.05)
    found = cells.count(made, few, np.full(4, 400_000), seed=5, tensor=1)
    assert np.abs(found.far / found.draws - few.law.p - 0.05)[~few.law.certain].max() < 6e-3


def test_deep_finds_1e_4_and_stops(capsys):
    """Ten sequential tests of a cell on each side and on neither, fed with binomials."""
    law, rng, used = (
        cells.group(StochasticRounding(cells.ENDS), [127], [0.5]).law,
        np.random.default_rng(3),
        [],
    )
    for bias, verdict in ((1e-4, "fail"), (-1e-4, "fail"), (0.0, "pass")):
        for _ in range(12):
            test = sequential.sprt_of(law, 0, 1e-4, 1e-9)
            while not test.verdict:
                n = min(2**24, test.remaining)
                test.update(int(rng.binomial(n, 0.5 + bias)), n)
            assert test.verdict == verdict
            used.append(test.trials / test.cap)
    with capsys.disabled():
        print(f"\n  p = 1/2, 1e-4: {test.cap / 2:.3g} draws if fixed; on average "
              f"{np.mean(used[:24]) * test.cap:.2g} if biased, "
              f"{np.mean(used[24:]) * test.cap:.2g} if right")  # fmt: skip


def test_watched_cells(kernel):
    """The sequential path, whole, at a bias of 1e-2."""
    few = cells.group(DST(Lattice.ternary()), [0, 1], [0.0, 0.1831, -0.5])
    for judged, failed in ((kernel, 0), (calibrate.biased(kernel, 1e-2), 3)):
        found = sequential.watch(judged, few, 1e-2, 1e-9, seed=8, tensor=0)
        assert [test.verdict for test in found.tests].count("fail") == failed
        assert found.impossible == 0
        assert (sequential.log_e(found.tests) > np.log(1e9 / 3)) == bool(failed)


def test_alarms_come_as_often_as_they_are_paid_for(kernel, capsys):
    """The quick form of `qtheory validate --calibrate 2000`."""
    repetitions = 40 if deep() else 10
    suites, counts = calibrate.alarms(kernel, repetitions, 17)
    allowed = stats.binom.isf(1e-6, repetitions, calibrate.LEVEL)
    assert allowed < repetitions
    assert suites <= allowed
    caught, _ = calibrate.alarms(calibrate.biased(kernel, 0.1), 3, 18)
    assert caught == 3
    report = {}
    plan = replace(statistics.DEFAULT, bias=3e-3)
    for looks in (False, True):
        assert calibrate._cells(kernel, replace(plan, looks=looks), 2, 19, report)
    assert all(cell == {"found": [2, 2], "false": [0, 2]} for cell in report.values())
    with capsys.disabled():
        total = sum(counts.values())
        print(f"\n  {suites} of {repetitions} suites alarm at level {calibrate.LEVEL}: {total}")


@pytest.mark.parametrize(
    "fault",
    [
        lambda k: faults.forgets(k, "iteration"),
        lambda k: faults.forgets(k, "tensor"),
        lambda k: faults.shares_words(k, 2),
        lambda k: faults.shares_words(k, 4),
    ],
    ids=["iteration", "tensor", "pairs", "fours"],
)
def test_coins_find_shared_words(kernel, fault):
    spec = StochasticRounding(Lattice.ternary())
    assert worst_lag(joint.coins(kernel, spec, 2**15, seed=4)).p_value > 1e-6
    assert worst_lag(joint.coins(fault(kernel), spec, 2**15, seed=4)).p_value < 1e-30


def test_a_suite_on_a_right_kernel_holds(kernel):
    """Every claim of the default plan, with a tenth of its draws."""
    plan = replace(statistics.DEFAULT, bias=1e-2, rare=2**20, bits=2**18, launches=4)
    names = statistics.names("dst", plan)
    suite = manifest(names, 1e-9)
    statistics.judge(suite, "dst", kernel, cells.table("dst"), plan, seed=1)
    assert suite.holds and suite.missing == ()
    detectable = {claim.name: claim.detectable for claim in suite.claims}
    assert detectable["dst: transition probabilities"] <= 1e-2
    assert detectable["dst: all cells together"] < 1e-2


def test_the_audit_sees_what_it_says(kernel):
    """A bias of all decisions by twice what is stated as detectable, and none."""
    spec = StochasticRounding(Lattice.z(2))
    right = joint.audit(kernel, spec, 4, 2**16, seed=3, share=1e-9, miss=1e-3)
    assert right.log_e < np.log(1e9) and right.impossible == 0
    off = calibrate.biased(kernel, 2 * right.detectable)
    wrong = joint.audit(off, spec, 4, 2**16, seed=3, share=1e-9, miss=1e-3)
    assert wrong.log_e > np.log(1e9)


def test_impossible_moves_are_counted(kernel):
    few = cells.group(StochasticRounding(Lattice.ternary()), [0, 1], [0.0, 0.5])

    def off_the_lattice(index, increments, draw):
        after = kernel(index, increments, draw)
        after[::1000] = 3
        return after

    found = cells.count(off_the_lattice, few, np.full(4, 1000), seed=1, tensor=1)
    assert found.impossible == 4
