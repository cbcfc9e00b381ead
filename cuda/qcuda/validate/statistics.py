"""Ladder (c): every statistical claim about one kernel, with the manifest that pays for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qcuda.validate import aim, cells, joint, sequential
from qcuda.validate.cells import Group
from qcuda.validate.kernels import Kernel, key
from qtheory.algorithms import Spec
from qtheory.evidence import Claim, Sprt, Suite, repeated_windows, smallest_bias, worst_lag

MISS = 1e-3
RARE = (1, 96)  # words of 2**32: probabilities of a single word, and of fewer than 24 bits


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run buys. bias: of any transition probability, missed with probability 1e-3.

    rare: draws at each of the rare probabilities; 0 leaves them out. looks: whether cells are
    watched sequentially. bits: of the coins. launches, size: of the audit.
    """

    bias: float
    rare: int
    looks: bool
    bits: int
    launches: int
    size: int


BITS = 64 * (2**16 + 37)  # each of 64 launches is longer than a 16-bit counter
DEFAULT = Plan(1e-3, 2**30, False, BITS, 16, 2**17)
DEEP = Plan(1e-4, 2**32, True, BITS, 64, 2**17)
OBVIOUS = 2e-2  # a bias that a first look sees
QUICK = Plan(1e-1, 0, False, 2**12, 1, 2**12)


def names(title: str, plan: Plan) -> list[str]:
    """The statistical claims of a kernel with this title."""
    made = [f"{title}: transition probabilities"]
    made += [] if plan.looks else [f"{title}: all cells together"]
    made += [f"{title}: rare moves"] if plan.rare else []
    made += [f"{title}: arbitrary increments"]
    return [*made, f"{title}: coins at every lag", f"{title}: windows of 64 coins"]


def first_look(
    name: str, kernel: Kernel, groups: Sequence[Group], seed: int, share: float
) -> Claim:
    """Cells that are watched until each is far from OBVIOUS, or that far off."""
    tests, total, impossible = _watched(kernel, groups, OBVIOUS, seed, share)
    failed = sum(test.verdict == "fail" for test in tests)
    log_e = math.inf if impossible else sequential.log_e(tests)
    seen = f"{failed} of {len(tests)} cells are obviously off, {impossible} impossible moves"
    return Claim(name, "e-value", total, log_e, share, OBVIOUS, MISS, seen)


def decisions(groups: Sequence[Group], plan: Plan, share: float) -> int:
    """How many random decisions `judge` asks for, about."""
    cells_of = cells.plan(groups, plan.bias, share, MISS)
    audit = plan.launches * plan.size + plan.bits
    return sum(int(n.sum()) for n in cells_of) + len(RARE) * plan.rare + audit


def judge(
    suite: Suite, title: str, kernel: Kernel, groups: Sequence[Group], plan: Plan, seed: int
) -> None:
    """Draw, and enter every claim of `names` and that nothing impossible was seen."""
    spec, share = groups[0].spec, suite.share(names(title, plan)[0])
    watch = _watch if plan.looks else _count
    found, drawn, impossible = watch(title, kernel, groups, plan, seed, share)
    for claim in found:
        suite.add(claim)
    if plan.rare:
        suite.add(_rare(f"{title}: rare moves", kernel, spec, plan, seed, share))
    audited = joint.audit(
        kernel, spec, plan.launches, plan.size, seed=key(seed, title + " audit"), share=share,
        miss=MISS,
    )  # fmt: skip
    suite.add(
        Claim(
            f"{title}: arbitrary increments", "e-value", audited.decisions, audited.log_e, share,
            audited.detectable, MISS,
        )
    )  # fmt: skip
    bits = joint.coins(kernel, spec, plan.bits, seed=key(seed, title + " coins"))
    affordable = int(math.sqrt(share * 2.0**65) / 2)  # windows whose bound the share pays for
    worst, repeats = worst_lag(bits), repeated_windows(bits[:affordable])
    pairs = bits.size // 2  # the worst of the lags up to half of all coins
    least = smallest_bias(pairs, 0.5, share / (bits.size - 1), MISS)
    suite.add(
        Claim(
            f"{title}: coins at every lag", "p-value", bits.size, worst.p_value, share, least,
            MISS, f"worst lag {worst.lag}",
        )
    )  # fmt: skip
    suite.add(
        Claim(
            f"{title}: windows of 64 coins", "p-value", min(affordable, bits.size),
            repeats.p_value, share, None, MISS, f"{repeats.count} repeats",
        )
    )  # fmt: skip
    total = drawn + plan.launches * plan.size
    wrong = impossible + audited.impossible
    suite.add(Claim(f"{title}: impossible moves", "exact", total, wrong, 0.0))


def _count(
    title: str, kernel: Kernel, groups: Sequence[Group], plan: Plan, seed: int, share: float
) -> tuple[list[Claim], int, int]:
    """Cells with fixed numbers of draws: one by one, and together."""
    draws = cells.plan(groups, plan.bias, share, MISS)
    counted = [
        cells.count(kernel, g, n, seed=key(seed, title), tensor=place)
        for place, (g, n) in enumerate(zip(groups, draws, strict=True))
    ]
    total = sum(int(c.draws.sum()) for c in counted)
    pooled = cells.Pooled.of(groups, counted, plan.bias)
    keep = [~g.law.certain for g in groups]
    far = np.concatenate([c.far[k] for c, k in zip(counted, keep, strict=True)])
    claims = [
        Claim(
            f"{title}: transition probabilities", "p-value", total,
            cells.p_value(groups, counted), share, cells.detectable(groups, counted, share), MISS,
            f"{far.size} cells",
        ),
        Claim(
            f"{title}: all cells together", "e-value", total, pooled.log_e(far), share,
            pooled.detectable(share, MISS), MISS,
        ),
    ]  # fmt: skip
    return claims, total, sum(c.impossible for c in counted)


def _watch(
    title: str, kernel: Kernel, groups: Sequence[Group], plan: Plan, seed: int, share: float
) -> tuple[list[Claim], int, int]:
    """Cells that are watched until each has its verdict."""
    tests, total, impossible = _watched(kernel, groups, plan.bias, key(seed, title), share)
    failed = sum(test.verdict == "fail" for test in tests)
    claim = Claim(
        f"{title}: transition probabilities", "e-value", total, sequential.log_e(tests), share,
        plan.bias, MISS, f"{failed} of {len(tests)} cells fail, sequential",
    )  # fmt: skip
    return [claim], total, impossible


def _watched(
    kernel: Kernel, groups: Sequence[Group], bias: float, seed: int, share: float
) -> tuple[list[Sprt], int, int]:
    """The cells' tests, the decisions, and how many were impossible."""
    each = share / cells.uncertain(groups)
    found = [
        sequential.watch(kernel, g, bias, each, seed=seed, tensor=1000 * place)
        for place, g in enumerate(groups)
    ]
    tests = [test for f in found for test in f.tests]
    return tests, sum(f.draws for f in found), sum(f.impossible for f in found)


def _rare(name: str, kernel: Kernel, spec: Spec, plan: Plan, seed: int, share: float) -> Claim:
    """Moves that a coarse uniform number makes too often, or never."""
    targets = np.array(RARE, np.int64)
    steps = aim.steps(spec, np.full(targets.size, spec.lattice.centre), targets)
    at = cells.rarest(cells.group(spec, [spec.lattice.centre], steps.tolist()))
    draws = np.full(at.index.size, plan.rare)
    found = cells.count(kernel, at, draws, seed=key(seed, name), tensor=0)
    least = cells.detectable([at], [found], share)
    seen = ", ".join(
        f"{n} for {p * d:.3g}" for n, p, d in zip(found.far, at.law.p, found.draws, strict=True)
    )
    value = 0.0 if found.impossible else cells.p_value([at], [found])
    return Claim(name, "p-value", int(found.draws.sum()), value, share, least, MISS, seen)
