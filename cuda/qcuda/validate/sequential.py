"""Ladder (c), marginal, in a long run: cells that stop as soon as their evidence is enough."""

from __future__ import annotations

import math
from copy import copy
from functools import cache
from typing import NamedTuple

import numpy as np

from qcuda.validate.cells import CERTAIN_DRAWS, LAUNCH, Group, count, draws_for, part, run
from qcuda.validate.kernels import Kernel
from qcuda.watch.odds import Odds
from qtheory.evidence import Sprt

FIRST, LARGEST = 2**17, 2**25  # draws of a cell between two looks


class Watched(NamedTuple):
    """What sequential tests of a group came to."""

    tests: list[Sprt]
    draws: int
    impossible: int


@cache
def _fresh(p: float, width: float, bias: float, share: float) -> Sprt:
    cap = 2.2 * draws_for(p, width, bias, share, 1e-3)
    growth = math.exp(cap * width * bias / (p * (1 - p)))
    return Sprt(p, bias - 2 * width, share / growth, 1e-3)


def sprt_of(law: Odds, cell: int, bias: float, share: float) -> Sprt:
    """A cell's test, valid for every probability of a right kernel.

    At p + w instead of p a likelihood ratio's mean grows by 1 + w bias / (p (1 - p)) with every
    draw; the share is divided by what that comes to at the cap.
    """
    return copy(_fresh(float(law.p[cell]), float(law.width[cell]), bias, share))


def watch(
    kernel: Kernel, cells: Group, bias: float, share: float, *, seed: int, tensor: int
) -> Watched:
    """Draw until every uncertain cell has its verdict, certain ones for a fixed number.

    share: of one cell. tensor: the first of a thousand numbers that are this group's alone.
    """
    law = cells.law
    certain = np.where(law.certain, math.ceil(CERTAIN_DRAWS / bias), 0)
    first = count(kernel, cells, certain, seed=seed, tensor=tensor)
    drawn, impossible = int(first.draws.sum()), first.impossible
    tests = {int(i): sprt_of(law, int(i), bias, share) for i in np.flatnonzero(~law.certain)}
    pending, batch = dict(tests), FIRST
    while pending:
        live, tensor = np.array(sorted(pending)), tensor + 1
        each = min(batch, *(test.remaining for test in pending.values()))
        launches = max(1, each * live.size // LAUNCH)
        copies = np.full(live.size, each // launches)
        found = run(kernel, part(cells, live), copies, launches, seed=seed, tensor=tensor)
        drawn, impossible = drawn + int(found.draws.sum()), impossible + found.impossible
        for place, i in enumerate(live.tolist()):
            if pending[i].update(int(found.far[place]), int(found.draws[place])):
                del pending[i]
        batch = min(2 * batch, LARGEST)
    return Watched(list(tests.values()), drawn, impossible)


def log_e(tests: list[Sprt]) -> float:
    """Average of the tests' e-values: at least 1 / share once one of them has failed."""
    values = np.array([test.log_e for test in tests])
    return float(np.logaddexp.reduce(values)) - math.log(values.size)
