"""What validation asks of a spec's reference: specs to try, and increments that hit a threshold.

A step of less than a spacing, up from an inner level, has K destinations and K - 1 thresholds
between them. Which word a black box drew, an event of a wanted probability, and words placed on
the edge are all questions of the same kind: for which increment is the first threshold, cumulative,
a given number? It is found by bisection over the numbers that float32 can write, on the assumption
that the threshold is monotone in the increment.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qtheory.algorithms import Knob, Spec, contract, spec_class, walkers
from qtheory.arrays import Outcomes
from qtheory.lattice import Lattice

SMALLEST = 2.0**-64  # of a spacing: what is smaller moves nothing
Room = Callable[[Spec, np.ndarray, np.ndarray], Outcomes]
Decision = Callable[[np.ndarray], np.ndarray]


def turned(stem: str, lattice: Lattice, side: int) -> Spec:
    """A spec with every knob at the example next to its default, below it or above (side -1, 1).

    A knob of words is at the next word; where there is no such example it stays.
    """
    values = {knob.name: _beside(knob, side) for knob in contract(stem).knobs}
    return spec_class(stem)(lattice, **values)


def _beside(knob: Knob, side: int) -> float | str:
    if knob.choices:
        place = knob.choices.index(str(knob.default))
        return knob.choices[(place + side) % len(knob.choices)]
    beyond = [v for v in knob.examples if side * (knob.number(v) - knob.number(knob.default)) > 0]
    return min(beyond, key=lambda v: side * knob.number(v)) if beyond else knob.default


def reference(spec: Spec, index: np.ndarray, increments: np.ndarray) -> Outcomes:
    """Outcomes of the plain reference."""
    from qreference import walker

    return walker.outcomes(spec, index, increments)


def has_edge(spec: Spec) -> bool:
    """Whether a kernel's thresholds may lie elsewhere than the reference's."""
    from qreference import edge

    step = np.array([0.25 * spec.lattice.spacing], np.float32)
    thresholds = reference(spec, np.array([spec.lattice.size // 2]), step).thresholds
    return bool(edge(spec, thresholds).any())


def reach(spec: Spec) -> float:
    """Steps to ask about are below it, in spacings: a coin's go one level at most."""
    return 1.0 if contract(spec).destinations == "coin" else 2.0**10


def launches(most: float) -> int:
    """Halvings of the numbers that float32 writes from SMALLEST to `most`."""
    ends = np.array([SMALLEST, most], np.float32).view(np.int32).astype(np.int64)
    return int(ends[1] - ends[0] - 1).bit_length()


def bisect(count: int, most: float, passed: Decision) -> tuple[np.ndarray, np.ndarray]:
    """Neighbouring float32 numbers of spacings: the last not passed, and the first passed.

    passed: whether each of `count` numbers is; monotone, false at SMALLEST and true at `most`,
    which are never asked.
    """
    low = np.full(count, np.float32(SMALLEST).view(np.int32), np.int64)
    high = np.full(count, np.float32(most).view(np.int32), np.int64)
    while (high - low).max() > 1:
        middle = (low + high) // 2
        yes = passed(middle.astype(np.int32).view(np.float32))
        low, high = np.where(yes, low, middle), np.where(yes, middle, high)
    return low.astype(np.int32).view(np.float32), high.astype(np.int32).view(np.float32)


def first_threshold(spec: Spec, index: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The reference's first threshold for steps up, int64; steps are stopped below `reach`."""
    most = np.nextafter(np.float32(reach(spec)), np.float32(0))
    x = np.minimum(steps, most) * np.float32(spec.lattice.spacing)
    return reference(spec, index, x).thresholds[:, 0].astype(np.int64)


def falls(spec: Spec) -> bool:
    """Whether the first threshold falls as a step up grows; a coin's rises."""
    ends = np.array([SMALLEST, reach(spec)], np.float32)
    near, far = first_threshold(spec, np.full(2, spec.lattice.size // 2), ends).tolist()
    return near > far


def steps(spec: Spec, index: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Steps up, in spacings, whose first threshold is nearest to the targets, float32 (n,).

    index: inner levels. targets: int64 (n,), 0 .. 2**32.
    """
    down, most = falls(spec), reach(spec)

    def passed(step: np.ndarray) -> np.ndarray:
        found = first_threshold(spec, index, step)
        return found < targets if down else found >= targets

    ends = bisect(targets.size, most, passed)
    away = [np.abs(first_threshold(spec, index, end) - targets) for end in ends]
    found = np.where(away[0] < away[1], *ends)
    return np.minimum(found, np.nextafter(np.float32(most), np.float32(0)))


def is_unbiased(spec: Spec) -> bool:
    """Whether one level more has the probability of the fraction, as in stochastic rounding."""
    fractions = np.array([2.0**-20, 0.25, 0.6875, 0.96875], np.float32)
    found = first_threshold(spec, np.full(fractions.size, spec.lattice.centre), fractions)
    return np.array_equal(found, fractions * 2.0**32)


def unbiased_stems() -> list[str]:
    """Stems of coins that are."""
    coins = [stem for stem in walkers() if contract(stem).destinations == "coin"]
    return [stem for stem in coins if is_unbiased(spec_class(stem)(Lattice.ternary()))]
