"""Ladder (a): the plain reference has the exact law, by enumeration of words."""

from __future__ import annotations

import numpy as np

from qcuda.watch.odds import law_of, measured, odds
from qtheory.algorithms import DST, SPECS, Spec
from qtheory.evidence import Claim
from qtheory.lattice import Lattice

EVERY_WORD = (np.arange(2**16, dtype=np.uint32) << 16) + 2**15
QUOTIENTS = [0.0, 1e-30, 2.0**-20, 1 / 32, 0.1831, 0.25, 0.5, 0.97, 1 - 2.0**-24, 1.0, 1.3, 2.5]
SPECIAL = [np.nan, np.inf, -np.inf, 3e38]


def specs(stem: str) -> list[Spec]:
    """Lattices that differ in size, spacing and symmetry; DST with another nonlinearity too."""
    cls = SPECS[stem]
    low = Lattice(size=4, spacing=0.5, low=-0.25)
    made: list[Spec] = [cls(Lattice.ternary()), cls(Lattice.z(2)), cls(low)]
    made.append(cls(Lattice.ternary(0.1)))
    return [*made, DST(Lattice.ternary(), 1.0)] if cls is DST else made


def increments(spec: Spec) -> np.ndarray:
    """Whole spacings, halves, their neighbours, tiny, huge and special ones, of both signs."""
    x = np.array(QUOTIENTS, np.float32)
    x = np.concatenate([x, np.nextafter(x[-6:], np.float32(0))])
    x = np.concatenate([x, -x]) * np.float32(spec.lattice.spacing)
    return np.concatenate([x, np.array(SPECIAL, np.float32)])


def every_word(stem: str) -> Claim:
    """`step` on every 16-bit word against the law: no level's share may be 2**-16 off."""
    from qreference import algorithm

    cells, wrong = 0, 0
    for spec in specs(stem):
        plain, size = algorithm(spec), spec.lattice.size
        for x in increments(spec):
            moves = np.full(2**16, x, np.float32)
            for i in range(size):
                after = plain.step(spec, np.full(2**16, i), moves, EVERY_WORD)
                measured_pmf = np.bincount(after, minlength=size) / 2**16
                expected = law_of(spec)(spec, i, measured(spec, x))
                wrong += int(np.abs(measured_pmf - expected).max() > 2.0**-16)
                cells += 1
    return Claim(
        f"{stem}: law = reference, all 16-bit words", "exact", cells * 2**16, wrong, 0.0,
        detail=f"{cells} cells",
    )  # fmt: skip


def edge_words(stem: str) -> Claim:
    """The word that decides: below floor(2**32 p) the reference takes the far level, else not.

    On spacings that are powers of two, where law and reference measure increments alike.
    """
    from qreference import algorithm

    words_seen, wrong = 0, 0
    for spec in (s for s in specs(stem) if np.log2(s.lattice.spacing) % 1 == 0):
        x = np.tile(increments(spec), spec.lattice.size)
        index = np.repeat(np.arange(spec.lattice.size), x.size // spec.lattice.size)
        law = odds(spec, index, x)
        threshold = np.floor(law.p * 2.0**32).astype(np.int64)
        for offset in (-2, -1, 0, 1):
            word = np.clip(threshold + offset, 0, 2**32 - 1)
            after = algorithm(spec).step(spec, index, x, word.astype(np.uint32))
            wrong += int((((after == law.far) != (word < threshold)) & ~law.certain).sum())
            wrong += int(((after != law.far) & law.certain).sum())
            words_seen += word.size
    return Claim(
        f"{stem}: law = reference, words at the threshold", "exact", words_seen, wrong, 0.0
    )
