"""Rows of `qtheory bench chain` on weights that move at once, and on exact rationals.

Run as a program, it takes steps of a joint chain in a fresh process, so that the memory of these
steps alone can be measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from qtheory import Lattice
from qtheory.algorithms import StochasticRounding
from qtheory.chain import (
    MarkovChain,
    exact_stationary_distribution,
    quadratic_increments,
)
from qtheory.chain.exact import flint_available
from qtheory.transition import joint_chain

WEIGHTS, STEPS = 12, 3


class Measured(NamedTuple):
    """A question, seconds of the wall clock and of processors, an error or None, and words."""

    question: str
    seconds: float | None
    cpu: float | None
    error: float | None
    note: str


def steps(weights: int) -> dict[str, float]:
    """Median seconds of a step of ternary weights on a coupled quadratic loss, and MiB needed.

    The first step, which tabulates the laws, tells the memory. The error is what the law's sum is
    off by.
    """
    hessian = np.eye(weights) + 0.5 / weights
    increments = quadratic_increments(hessian, np.linspace(-0.4, 0.5, weights), 0.05)
    chain = joint_chain(StochasticRounding(Lattice.ternary()), weights, increments)
    law = np.full(chain.size, 1.0 / chain.size)
    tracemalloc.start()
    began = time.perf_counter()
    law = chain.advance(law)
    first, peak = time.perf_counter() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    seconds, cpu = [], []
    for _ in range(STEPS):
        began, busy = time.perf_counter(), time.process_time()
        law = chain.advance(law)
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - busy)
    return {
        "seconds": float(np.median(seconds)),
        "cpu": float(np.median(cpu)),
        "error": abs(float(law.sum()) - 1),
        "mebibytes": peak / 2**20,
        "first": first,
    }


def joint(weights: int = WEIGHTS) -> Measured:
    """A step of 3**weights states, in a process of its own."""
    program = [sys.executable, __file__, str(weights)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    question = f"a step of 3^{weights} joint states"
    if done.returncode:
        return Measured(question, None, None, None, (done.stderr.splitlines() or [""])[-1])
    found = json.loads(done.stdout)
    note = f"{found['mebibytes']:.0f} MiB; the first step {found['first']:.2g} s; error of the sum"
    return Measured(question, found["seconds"], found["cpu"], found["error"], note)


def rational(states: int = 500) -> Measured:
    """The exact law of a dense chain with entries of 20 bits, checked by its flow."""
    rng = np.random.Generator(np.random.PCG64(1))
    matrix = rng.integers(1, 2**20, (states, states)) / 2.0**29
    np.fill_diagonal(matrix, 0.0)
    question = f"exact rational law, N={states}"
    if not flint_available():
        return Measured(question, None, None, None, "python-flint is not installed")
    began, busy = time.perf_counter(), time.process_time()
    law = exact_stationary_distribution(MarkovChain(matrix), "flint")
    seconds, cpu = time.perf_counter() - began, time.process_time() - busy
    into = sum(x * Fraction(p) for x, p in zip(law, matrix[:, 0].tolist(), strict=True))
    out = law[0] * sum(map(Fraction, matrix[0].tolist()))
    return Measured(question, seconds, cpu, float(abs(into - out)), "the error is exactly zero")


def rows() -> list[Measured]:
    """The rows of both questions."""
    return [joint(), rational()]


if __name__ == "__main__":
    print(json.dumps(steps(int(sys.argv[1]))))
