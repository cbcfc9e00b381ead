"""Ladder (c), joint: whether decisions are independent, and right for arbitrary increments."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from qcuda.validate import aim
from qcuda.validate.kernels import Draw, Kernel
from qcuda.watch.odds import odds
from qtheory.algorithms import Spec
from qtheory.evidence import TILTS, EProcess, audit_terms

SIDE = 8  # tensors, and iterations, of the coins
LANES = 16


def coins(kernel: Kernel, spec: Spec, bits: int, *, seed: int) -> np.ndarray:
    """Decisions of probability 1/2, bool: SIDE tensors after SIDE iterations each.

    `bits` of them, if some increment has its first threshold within 2**-20 of 2**31, as every
    coin's; a threshold as near as float32 writes it is fair to 1e-6, and the agreement of two to
    2e-12. Otherwise decisions of any probability are taken in pairs, and of those that differ
    the first is a fair bit, whatever the probability (von Neumann's trick).
    """
    place = spec.lattice.size // 2
    step = aim.steps(spec, np.array([place]), np.array([2**31]))
    x = (step * np.float32(spec.lattice.spacing)).astype(np.float32)
    outcomes = aim.reference(spec, np.array([place]), x)
    fair = abs(int(outcomes.thresholds[0, 0]) - 2**31) <= 2**12
    first = outcomes.destinations[0, 0]
    each = bits // SIDE**2
    index, increments = np.full(each, place, np.int64), np.full(each, x[0])
    launches = [
        kernel(index, increments, Draw(spec, seed, iteration, tensor)) == first
        for iteration in range(SIDE)
        for tensor in range(SIDE)
    ]
    decisions = np.concatenate(launches)
    if fair:
        return decisions
    one, other = decisions.reshape(2, -1)
    return one[one != other]


class Audited(NamedTuple):
    """The audit of several launches with arbitrary increments."""

    log_e: float
    detectable: float  # bias shared by all decisions that is surely seen
    decisions: int
    impossible: int


def audit(
    kernel: Kernel, spec: Spec, launches: int, size: int, *, seed: int, share: float, miss: float
) -> Audited:
    """Conditional audit, by sign, probability, lane and level, and of all decisions at once."""
    tilts, lattice = np.array(TILTS), spec.lattice
    process, rng = EProcess(), np.random.default_rng(seed)
    total, expected, decisions, impossible = np.zeros(tilts.size), 0.0, 0, 0
    for iteration in range(launches):
        index = rng.integers(0, lattice.size, size)
        x = rng.normal(0.05, 0.6, size) * rng.choice([0.01, 0.3, 1.0, 1.0], size)
        increments = (x * lattice.spacing).astype(np.float32)
        law = odds(spec, index, increments, np.arange(size) // LANES)
        after = kernel(index, increments, Draw(spec, seed, iteration, 9))
        off = (after < 0) | (after >= lattice.size)
        after = np.where(off, index, after)
        possible = np.take_along_axis(law.support, after[:, None], 1)[:, 0]
        impossible += int((off | ~possible).sum())
        keep = ~law.certain
        moved, p = (after == law.far)[keep], law.p[keep]
        sign, lane = (x < 0)[keep] * 1, np.flatnonzero(keep) % LANES
        strata = [(np.zeros_like(lane), 1), (sign * 8 + np.minimum(p * 8, 7).astype(int), 16)]
        strata += [(lane, LANES), (sign * lattice.size + index[keep], 2 * lattice.size)]
        terms = [audit_terms(moved, p, s, tilts.tolist(), count=n) for s, n in strata]
        margins = [np.bincount(s, law.width[keep], n) for s, n in strata]
        growth = np.expm1(np.abs(tilts))  # of the mean of an e-value, for each unit of edge
        process.multiply(
            np.concatenate([t - m[:, None] * growth for t, m in zip(terms, margins, strict=True)])
        )
        total -= audit_terms(np.zeros_like(moved), p, None, tilts.tolist())[0] - margins[0] * growth
        expected, decisions = expected + float(p.sum()), decisions + p.size
    wanted = math.log(process.terms.size / share) + total
    return Audited(
        process.log_e, _smallest(tilts, wanted, expected, decisions, miss), decisions, impossible
    )


def _smallest(
    tilts: np.ndarray, wanted: np.ndarray, expected: float, decisions: int, miss: float
) -> float:
    """The smallest bias of all decisions that one of the tilts surely sees.

    A tilt l needs l S >= wanted of the number S of moves, and S deviates from its mean towards the
    claim by more than sqrt(n log(1 / miss) / 2) with probability at most miss (Hoeffding).
    """
    slack = math.sqrt(decisions * math.log(1 / miss) / 2)
    excess = (wanted / tilts - expected) * np.sign(tilts) + slack
    return float(max(excess[tilts > 0].min(), excess[tilts < 0].min())) / decisions
