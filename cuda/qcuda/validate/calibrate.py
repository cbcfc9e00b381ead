"""Whether alarms come as often as they are paid for: many small suites on a right kernel.

At 1e-6 no number of repetitions would see an alarm, so the same code runs at a raised level with
fewer draws. A rate that is above the level refutes the calibration; exact tests of discrete
counts and e-values stay below it. Beside it the same suites judge a kernel with a bias, so that
a layer that never alarms does not pass either; and single cells, with the draws and the level of
the default run, judge one whose probabilities are 1e-3 off, on the kernel's own draws.
"""

from __future__ import annotations

from itertools import product
from json import dumps
from pathlib import Path
from secrets import randbits
from time import perf_counter
from typing import Any

import numpy as np
from scipy import stats

from qcuda.files import write_atomically
from qcuda.validate import aim, cells, sequential, statistics
from qcuda.validate.kernels import Draw, Kernel, key, one_thread, torch_kernel
from qcuda.validate.run import FALSE_ALARM, manifest
from qtheory.algorithms import Spec, contract, walkers
from qtheory.evidence import binomial_p_value

LEVEL = 0.1
BIASED = 20  # repetitions on the biased kernel
DETECTIONS = 200  # repetitions, at most, of a cell biased by what the run promises to see
QUOTIENTS = (0.9, 0.5)  # its increment in spacings: a cheap cell and rounding's dearest
RIGHT = 20  # repetitions of a cell on the right kernel
REFUTED = 1e-6  # p-value of the alarm rate


def biased(kernel: Kernel, bias: float) -> Kernel:
    """The kernel with every probability strictly between raised by a bias, where there is room.

    It moves weights by a coin: it is asked for the increment that has the raised probability.
    """

    def wrong(index: np.ndarray, increments: np.ndarray, draw: Draw) -> np.ndarray:
        pairs = index << 32 | increments.view(np.uint32)
        _, some, place = np.unique(pairs, return_index=True, return_inverse=True)
        moved = _raised(draw.spec, index[some], increments[some], bias)
        return kernel(index, moved[place.reshape(-1)], draw)

    return wrong


def _raised(spec: Spec, index: np.ndarray, increments: np.ndarray, bias: float) -> np.ndarray:
    """Increments of a coin whose probability of one level more is higher by a bias.

    As they are where there is no chance to raise, or no room below certainty.
    """
    spacing = np.float32(spec.lattice.spacing)
    target = aim.reference(spec, index, increments).thresholds[:, 0].astype(np.int64)
    inner = np.full(index.size, spec.lattice.centre)
    most = aim.first_threshold(spec, inner, np.ones(index.size, np.float32))
    raised = target + round(bias * 2**32)
    able = (target > 0) & (raised < most)
    fraction = aim.steps(spec, inner, np.where(able, raised, 0))
    whole = np.floor(np.abs(increments) / spacing)
    moved = np.copysign((whole + np.minimum(fraction, 1 - 2.0**-20)) * spacing, increments)
    return np.where(able, moved, increments).astype(np.float32)


def coins() -> list[str]:
    """Stems of walkers between two places that some word divides: a bias has one direction."""
    stems = (stem for stem in walkers() if contract(stem).destinations == "coin")
    return [stem for stem in stems if cells.is_random(stem)]


def alarms(kernel: Kernel, repetitions: int, seed: int) -> tuple[int, dict[str, int]]:
    """Suites with an alarm, and alarms of every claim, in so many repetitions."""
    groups = {stem: cells.table(stem)[:2] for stem in coins()}
    names = [name for stem in coins() for name in statistics.names(stem, statistics.QUICK)]
    suites, counts = 0, dict.fromkeys(names, 0)
    for repetition in range(repetitions):
        suite = manifest(names, LEVEL)
        for stem in coins():
            own = key(seed, f"{repetition} {stem}")
            statistics.judge(suite, stem, kernel, groups[stem], statistics.QUICK, own)
        suites += not suite.holds
        for claim in suite.claims:
            if claim.name in counts:
                counts[claim.name] += not claim.holds
            elif not claim.holds:
                counts[claim.name] = 1
    return suites, counts


def detections(
    kernel: Kernel, stem: str, quotient: float, plan: statistics.Plan, repetitions: int, seed: int
) -> tuple[int, float]:
    """How often the plan's test of one cell alarms, and the mean number of draws it takes."""
    groups, claims = cells.table(stem), sum(len(statistics.names(x, plan)) for x in coins())
    spec, share = groups[0].spec, FALSE_ALARM / claims / cells.uncertain(groups)
    cell, found, drawn = cells.group(spec, [spec.lattice.centre], [quotient]), 0, 0
    for k in range(repetitions):
        own = key(seed, f"{k} {stem} {quotient}")
        if plan.looks:
            watched = sequential.watch(kernel, cell, plan.bias, share, seed=own, tensor=k)
            found, drawn = found + (watched.tests[0].verdict == "fail"), drawn + watched.draws
        else:
            draws = cells.draws_for(
                float(cell.law.p[0]), float(cell.law.width[0]), plan.bias, share, statistics.MISS
            )
            counted = cells.count(kernel, cell, np.array([draws]), seed=own, tensor=k)
            found, drawn = found + (cells.p_value([cell], [counted]) <= share), drawn + draws
    return found, drawn / repetitions


def calibrate(
    repetitions: int, json: str | None = None, seed: int | None = None, *, deep: bool = False
) -> int:
    """Measure both error rates of the statistical layer on the installed CPU kernels.

    So many suites at a raised level, `BIASED` of them on a biased kernel; then single cells with
    the draws and the level of the default run, or with deep of the deep run instead of all else,
    on the kernel as it is and with the bias that the run promises to see.

    Returns 0 if the rate of suites that alarm is consistent with the level or below, no claim
    alarms more often than its share allows, every suite on a kernel biased by 0.1 alarms, and
    cells alarm never on the right kernel, and miss the biased one no more often than one time in
    a thousand explains; else 1. Raises ValueError for repetitions < 1.
    """
    if repetitions < 1:
        raise ValueError(f"a calibration has at least one repetition, got {repetitions}")
    began, run_seed = perf_counter(), randbits(64) if seed is None else seed
    kernel, report = torch_kernel(), dict[str, Any]()
    with one_thread():
        good = True if deep else _suites(kernel, repetitions, run_seed, report)
        plan = statistics.DEEP if deep else statistics.DEFAULT
        good &= _cells(kernel, plan, min(repetitions, DETECTIONS), run_seed, report)
    print(f"seed {run_seed}; {perf_counter() - began:.0f} s")
    if json is not None:
        report |= {"seed": run_seed, "status": int(not good)}
        write_atomically(Path(json), (dumps(report, indent=1) + "\n").encode())
    return int(not good)


def _suites(kernel: Kernel, repetitions: int, seed: int, report: dict[str, Any]) -> bool:
    suites, counts = alarms(kernel, repetitions, seed)
    caught, _ = alarms(biased(kernel, statistics.QUICK.bias), BIASED, seed)
    good = _rate("suites with an alarm", suites, repetitions, LEVEL)
    for name, number in counts.items():
        good &= _rate(f"  {name}", number, repetitions, LEVEL / len(counts))
    print(f"biased by {statistics.QUICK.bias}: {caught} of {BIASED} suites alarm")
    report |= {"repetitions": repetitions, "level": LEVEL, "alarms": suites, "claims": counts}
    report |= {"biased": [caught, BIASED]}
    return good and caught == BIASED


def _cells(
    kernel: Kernel, plan: statistics.Plan, tries: int, seed: int, report: dict[str, Any]
) -> bool:
    good, wrong = True, biased(kernel, plan.bias)
    for stem, quotient in product(coins(), QUOTIENTS):
        name = f"one cell, {stem} at {quotient} spacings"
        false, drawn = detections(kernel, stem, quotient, plan, min(tries, RIGHT), seed)
        found, until = detections(wrong, stem, quotient, plan, tries, seed)
        good &= not false
        good &= bool(stats.binom.sf(tries - found - 1, tries, statistics.MISS) > REFUTED)
        print(
            f"{name}: {found} of {tries} alarm if biased by {plan.bias:g}, in {until:.3g} draws; "
            f"{false} of {min(tries, RIGHT)} if right, in {drawn:.3g}",
            flush=True,
        )
        report[name] = {"found": [found, tries], "false": [false, min(tries, RIGHT)]}
    return good


def _rate(name: str, number: int, repetitions: int, level: float) -> bool:
    """Print a rate beside its level; whether the rate is not significantly above it."""
    above = number > repetitions * level
    good = not above or binomial_p_value(number, repetitions, level) > REFUTED
    verdict = "consistent" if good else "TOO MANY"
    print(f"{name:<52}{number:>6} of {repetitions} = {number / repetitions:.4f}, "
          f"at most {level:.4f} allowed: {verdict}")  # fmt: skip
    return good
