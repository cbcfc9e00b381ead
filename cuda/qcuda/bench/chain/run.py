"""Benchmark of exact chains: seconds and relative errors, beside other packages.

A row is one question about one chain. Its error is the largest relative error of any entry above
1e-290, measured against the answers of `qcuda.bench.chain.cases`. Times are medians of the wall
clock and of processor time, which depends less on what else the machine is doing.
"""

from __future__ import annotations

import json as json_module
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import mpmath
import numpy as np
from numpy import ndarray

from qcuda.bench.chain import cases
from qcuda.bench.chain import joint as chain_joint
from qcuda.bench.chain import others as chain_others
from qtheory.chain import (
    BandedChain,
    BirthDeathChain,
    MarkovChain,
    SparseChain,
    hitting_times,
    native,
    propagate,
    spectral_gap,
    stationary_distribution,
)

PATIENCE = 120
"""Seconds that another package has for all its questions."""

Judge = Callable[[ndarray], float]
"""The error of an answer."""


@dataclass(frozen=True, slots=True)
class Row:
    """A measurement. seconds: of the wall clock; cpu: of all processors; error: relative.

    None where there is no answer, or no reference.
    """

    question: str
    package: str
    seconds: float | None = None
    cpu: float | None = None
    error: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """A question about a chain, which other packages are asked as well.

    question: law, times (to `target`, from the states below) or gap.
    """

    name: str
    question: str
    chain: MarkovChain | BirthDeathChain | BandedChain | SparseChain
    judge: Judge
    others: str = ""
    target: int = 0

    def ask(self) -> ndarray:
        """Our answer."""
        if self.question == "law":
            return stationary_distribution(self.chain)
        if self.question == "times":
            return hitting_times(self.chain, [self.target])[: self.target]
        return np.array([spectral_gap(self.chain)])

    def save(self, path: Path) -> None:
        """Write the question for other interpreters."""
        given: dict[str, Any]
        if isinstance(self.chain, MarkovChain):
            given = {"matrix": self.chain.off_diagonal}
        elif isinstance(self.chain, SparseChain):
            rows = self.chain.starts, self.chain.targets, self.chain.probabilities
            given = dict(zip(("starts", "targets", "probabilities"), rows, strict=True))
        elif isinstance(self.chain, BandedChain):
            given = {"above": self.chain.above, "below": self.chain.below}
        else:
            up, down = np.append(self.chain.up, 0.0), np.append(0.0, self.chain.down)
            given = {"above": up[None], "below": down[None]}
        np.savez(path, question=self.question, packages=self.others, target=self.target, **given)


def relative_error(found: ndarray, exact: cases.Exact) -> float:
    """Largest |found / exact - 1| over entries above 1e-290; infinite if one is not finite."""
    if found.shape != exact.shape or not np.isfinite(found).all():
        return float("inf")
    counted = exact > 1e-290
    return float(np.abs(found[counted] / exact[counted] - 1).max())


def against(exact: cases.Exact) -> Judge:
    """A function that gives the relative error of an answer, from the one that is known."""
    return lambda found: relative_error(found, exact)


def questions(states: int) -> list[Case]:
    """The questions that other packages are asked as well."""
    walk, few = cases.random_birth_death(states), min(states, 10_000)
    wide, exponent = cases.reversible_banded(states)
    halves, of_halves = cases.coupled_halves(2000)
    hot, cold = cases.double_well(62.0), cases.double_well(606.0)
    narrow = cases.random_banded(few)
    end = hot.size - 13
    part = BirthDeathChain(hot.up[:end], hot.down[:end])
    known = against(cases.exact_birth_death(walk))
    exact_times = against(cases.exact_times(walk))
    return [
        Case(f"birth-death law, N={states}", "law", walk, known, "scipy deeptime"),
        Case(f"birth-death times, N={states}", "times", walk, exact_times, "scipy", states - 1),
        Case(f"banded b=5 law, N={states}", "law", wide, against(cases.exact_powers(exponent))),
        Case(
            f"banded b=5 times, N={few}", "times", narrow,
            against(cases.exact_banded_times(narrow)), "scipy", few - 1,
        ),
        *sparse_questions(states),
        Case(
            "dense law, N=2000, links 2^-40", "law", halves,
            against(cases.exact_powers(of_halves)), "quantecon pydtmc deeptime scipy",
        ),
        Case(
            "double well law, N=101", "law", hot, against(cases.exact_birth_death(hot)),
            "quantecon pydtmc deeptime scipy",
        ),
        Case(
            "double well times, N=101", "times", hot, against(cases.exact_times(part)),
            "pydtmc deeptime scipy", end,
        ),
        Case(
            "double well gap, N=101", "gap", cold,
            lambda found: cases.gap_error(cold, float(found[0])), "pydtmc deeptime scipy",
        ),
    ]  # fmt: skip


def sparse_questions(states: int) -> list[Case]:
    """Rings with long jumps, and a grid, of a tenth of so many states."""
    count = max(states // 10, 100)
    side = math.isqrt(count)
    ring, exponent = cases.reversible_ring(count, side)
    even, times = cases.even_ring(count, side)
    grid, product = cases.product_grid(side)
    beside = "scipy quantecon"
    return [
        Case(
            f"ring with jumps of {side} law, N={count}", "law", ring,
            against(cases.exact_powers(exponent)), beside,
        ),
        Case(
            f"ring with jumps of {side} times, N={count}", "times", even, against(times),
            "scipy", count - 1,
        ),
        Case(f"grid of {side} x {side} law", "law", grid, against(product), beside),
    ]  # fmt: skip


class Taken(NamedTuple):
    """Median seconds of the wall clock and of the processors, and the last result."""

    seconds: float
    cpu: float
    result: Any


def timed(run: Callable[[], Any], repeats: int) -> Taken:
    """Run so many times."""
    seconds: list[float] = []
    cpu: list[float] = []
    result = None
    for _ in range(repeats):
        began, busy = time.perf_counter(), time.process_time()
        result = run()
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - busy)
    return Taken(statistics.median(seconds), statistics.median(cpu), result)


def answers(package: str, interpreter: str, folder: Path) -> tuple[dict[str, Any], str]:
    """A package's answers by the file of the case, and a remark on them, which may be empty."""
    program = [interpreter, chain_others.__file__, package, str(folder)]
    note = ""
    try:
        done = subprocess.run(
            program, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        lines = done.stdout
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no words"])[-1]
            absent = f"No module named '{package}'" in last
            note = "not installed" if absent else f"failed: {last}"
    except subprocess.TimeoutExpired as late:
        lines = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        note = f"not within {PATIENCE} s"
    found = (json_module.loads(line) for line in lines.splitlines() if line.startswith("{"))
    return {one["case"]: one for one in found}, note


def beside(asked: list[Case], others: str | None) -> dict[str, list[Row]]:
    """Rows of other packages, by case. SciPy is ours too, all else is asked of `others`."""
    rows: dict[str, list[Row]] = {case.name: [] for case in asked}
    with TemporaryDirectory() as name:
        files = {case.name: f"{case.chain.size:09}-{k:02}" for k, case in enumerate(asked)}
        for case in asked:  # others read them by name: small ones first
            if case.others:
                case.save(Path(name) / f"{files[case.name]}.npz")
        for package in chain_others.PACKAGES:
            if others is None and package != "scipy":
                continue
            found, note = answers(package, others or sys.executable, Path(name))
            for case in asked:
                if package not in case.others.split():
                    continue
                one = found.get(files[case.name])
                if one is None or "note" in one:
                    words = note if one is None else str(one["note"])
                    rows[case.name].append(Row(case.name, package, note=words))
                    continue
                error = case.judge(np.load(one["answer"]))
                finite = np.isfinite(error)
                taken = one["seconds"], one["cpu"], error if finite else None
                words = "" if finite else "not finite"
                rows[case.name].append(Row(case.name, package, *taken, words))
    return rows


def long_chain(states: int, repeats: int) -> list[Row]:
    """Law and times of a chain too long for references, which cost a microsecond a state."""
    walk = cases.random_birth_death(states)
    asked: dict[str, Callable[[], Any]] = {
        "law": lambda: stationary_distribution(walk),
        "times": lambda: hitting_times(walk, [states - 1]),
    }
    return [
        Row(f"birth-death {name}, N={states}", "qtheory", *timed(run, repeats)[:2])
        for name, run in asked.items()
    ]


def annealing(repeats: int, states: int = 10_000, iterations: int = 100_000) -> list[Row]:
    """A walk whose probabilities fall in time; the error against long doubles, of the law's sum."""
    walk = cases.random_birth_death(states)
    factors = 1.0 / (1.0 + np.arange(iterations) / iterations)
    start = np.full(states, 1.0 / states)
    taken = timed(lambda: propagate([(walk, factors)], start), repeats)
    few = factors[:1000]
    law = start.astype(np.longdouble)
    leaving = np.append(walk.up, 0.0).astype(np.longdouble) + np.append(0.0, walk.down)
    for factor in few.tolist():
        into = np.append(0.0, law[:-1] * walk.up) + np.append(law[1:] * walk.down, 0.0)
        law = law * (1 - factor * leaving) + factor * into
    error = float(np.abs(propagate([(walk, few)], start) / law - 1).max())
    speed = states * iterations / taken.cpu
    note = f"{speed:.2g} state-steps a second of one core; error after {len(few)}"
    return [Row(f"annealing, {states} x {iterations}", "qtheory", *taken[:2], error, note)]


def chain(
    others: str | None = None,
    repeats: int = 3,
    states: int = 1_000_000,
    longest: int = 100_000_000,
    json: str | None = None,
) -> dict[str, Any]:
    """Time exact chains and measure their errors, and print one table.

    Args:
        others: another interpreter; packages that it lacks are said to be not installed.
        repeats: timed runs, of which the median counts.
        states: of the long chains, at least 100.
        longest: states of the longest chain.
        json: file for the table.
    """
    if states < 100:
        raise ValueError(f"states is at least 100, got {states}")
    rows: list[Row] = []
    with mpmath.workdps(cases.DIGITS):
        asked = questions(states)
        rows_of_others = beside(asked, others)
        for case in asked:
            taken = timed(case.ask, repeats)
            error, note = case.judge(taken.result), _size(case, taken.result)
            rows.append(Row(case.name, "qtheory", *taken[:2], error, note))
            rows += rows_of_others[case.name]
    gap = timed(lambda: spectral_gap(cases.random_birth_death(states)), 1)
    rows.append(Row(f"birth-death gap, N={states}", "qtheory", *gap[:2]))
    rows += annealing(repeats) + long_chain(longest, repeats)
    rows += [Row(m.question, "qtheory", *m[1:]) for m in chain_joint.rows()]
    result = {
        "processor": platform.processor() or platform.machine(),
        "compiled": native.available(),
        "repeats": repeats,
        "rows": [asdict(row) for row in rows],
    }
    print(table(rows))
    if json is not None:
        Path(json).write_text(json_module.dumps(result, indent=2) + "\n")
    return result


def _size(case: Case, found: ndarray) -> str:
    """The size of an answer, as text."""
    if case.question == "law":
        return ""
    value = float(found[0] if case.question == "gap" else found.max())
    return f"{case.question.removesuffix('s')} {value:.1e}"


def table(rows: list[Row]) -> str:
    """The rows as text."""
    width = max(len(row.question) for row in rows) + 2
    lines = [f"{'question':<{width}}{'package':<11}{'seconds':>9}{'cpu':>9}{'error':>9}"]
    for row in rows:
        times = ("" if t is None else f"{t:.2g}" for t in (row.seconds, row.cpu))
        error = "" if row.error is None else f"{row.error:.0e}"
        numbers = "".join(f"{text:>9}" for text in (*times, error))
        lines.append(f"{row.question:<{width}}{row.package:<11}{numbers}  {row.note}".rstrip())
    return "\n".join(lines)
