"""Ladder (a): the plain reference has the exact law, by enumeration of words."""

from __future__ import annotations

import numpy as np

from qcuda.validate import aim
from qcuda.watch.odds import measured
from qtheory.algorithms import Spec, contract, spec_class
from qtheory.evidence import Claim
from qtheory.lattice import Lattice

EVERY_WORD = (np.arange(2**16, dtype=np.uint32) << 16) + 2**15
QUOTIENTS = [0.0, 1e-30, 2.0**-20, 1 / 32, 0.1831, 0.25, 0.5, 0.97, 1 - 2.0**-24, 1.0, 1.3, 2.5]
SPECIAL = [np.nan, np.inf, -np.inf, 3e38]


def specs(stem: str) -> list[Spec]:
    """Lattices that differ in size, spacing and symmetry; and other knobs, if there are any."""
    low = Lattice(size=4, spacing=0.5, low=-0.25)
    lattices = (Lattice.ternary(), Lattice.z(2), low, Lattice.ternary(0.1))
    made: list[Spec] = [spec_class(stem)(lattice) for lattice in lattices]
    return [*made, aim.turned(stem, Lattice.ternary(), -1)] if contract(stem).knobs else made


def increments(spec: Spec) -> np.ndarray:
    """Whole spacings, halves, their neighbours, tiny, huge and special ones, of both signs."""
    x = np.array(QUOTIENTS, np.float32)
    x = np.concatenate([x, np.nextafter(x[-6:], np.float32(0))])
    x = np.concatenate([x, -x]) * np.float32(spec.lattice.spacing)
    return np.concatenate([x, np.array(SPECIAL, np.float32)])


def every_word(stem: str) -> Claim:
    """`step` of a weight on every 16-bit word against the law: no level's share may be 2**-16 off.

    A place between two thresholds has a rounding of each: 2**-31 more.
    """
    from qreference import walker
    from qtheory.algorithms import law

    cells, wrong = 0, 0
    allowed = 2.0**-16 + (0.0 if contract(stem).destinations == "coin" else 2.0**-31)
    for spec in specs(stem):
        size = spec.lattice.size
        for x in increments(spec):
            for i in range(size):
                weight = np.full((1, 1), i), np.full((1, 1), x, np.float32)
                after = walker.step(spec, *weight, EVERY_WORD[:, None])
                found = np.bincount(after.ravel(), minlength=size) / 2**16
                expected = law(spec, i, float(measured(spec, x)))
                wrong += int(np.abs(found - expected).max() > allowed)
                cells += 1
    return Claim(
        f"{stem}: law = reference, all 16-bit words", "exact", cells * 2**16, wrong, 0.0,
        detail=f"{cells} cells",
    )  # fmt: skip


def edge_words(stem: str) -> Claim:
    """The words that decide: a weight goes to the place in whose interval of the law they fall.

    Thresholds are floor(2**32 P), P the law's probability of the places before; one more or less
    where P is a sum. On spacings that are powers of two, where law and reference measure alike.
    """
    from qreference import walker
    from qtheory.algorithms import law

    words_seen, wrong, slack = 0, 0, int(contract(stem).destinations != "coin")
    for spec in (s for s in specs(stem) if np.log2(s.lattice.spacing) % 1 == 0):
        x = np.tile(increments(spec), spec.lattice.size)
        index = np.repeat(np.arange(spec.lattice.size), x.size // spec.lattice.size)
        pmf = law(spec, index, measured(spec, x))
        thresholds, places = walker.outcomes(spec, index, x)
        for k in range(thresholds.shape[1]):
            before = np.zeros_like(pmf, bool)
            np.put_along_axis(before, places[:, : k + 1], True, -1)
            told = ~np.take_along_axis(before, places[:, k + 1 :], -1).any(-1)
            expected = np.floor((pmf * before).sum(-1) * 2.0**32).astype(np.int64)
            apart = np.abs(thresholds[:, k].astype(np.int64) - expected)
            wrong += int((told & (apart > slack)).sum())
            for offset in (-2, -1, 0, 1):
                word = np.clip(expected + offset, 0, 2**32 - 1)
                after = walker.step(spec, index, x, word.astype(np.uint32))
                below = np.take_along_axis(before, after[:, None], -1)[:, 0]
                clear = (word - expected < -slack) | (word - expected >= slack)
                wrong += int((told & clear & (below != (word < expected))).sum())
                wrong += int((np.take_along_axis(pmf, after[:, None], -1)[:, 0] == 0).sum())
                words_seen += word.size
    return Claim(
        f"{stem}: law = reference, words at the threshold", "exact", words_seen, wrong, 0.0
    )
