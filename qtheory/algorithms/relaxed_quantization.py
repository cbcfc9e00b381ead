"""Relaxed quantisation (RQ) of weights, with learned spacing and noise [louizos2019].

A latent x has logistic noise of a learned scale r, cut off half a spacing beyond the end levels and
renormalised, and is rounded to levels that are whole multiples of a learned spacing a. The law of
the level, and its mean, are those of `qtheory.gradients.stochastic.relaxed_quantization`:

    random        drawn anew at each read, one word a weight
    expectation   the mean, off the levels

and the slopes in x, a and r are those of the mean, with the error of rounding held where a level is
drawn. In evaluation x is rounded to the nearest level, a tie upwards (the paper names no rule).

The paper relaxes the draw: with one Gumbel variable for each level, RQ sees a concrete sample, off
the levels, and RQ straight-through a level with the gradient of that sample. Neither is a reader
here, where a weight takes one word a read and shows what a word decides: the law of the level is
the paper's, the gradient is that of the mean, with no temperature. Both relaxed forms are in
`qtheory.gradients.stochastic.relaxed_quantization`, and `qtheory reproduce louizos2019` trains by
them.

A read costs a pass over the weights for each level, so that rows end at 4 bits. The spacing starts
as a learned step does, the scale at a third of it, both ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from qtheory.algorithms.base import LATENT, Contract, Knob, Row
from qtheory.algorithms.reader import Reading, State, reading_law
from qtheory.arrays import Pmf
from qtheory.lattice import Lattice
from qtheory.noise import Logistic, Points
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

PASSES = ("random", "expectation")


def signed(bits: int) -> Lattice:
    """-2**(bits - 1), ..., 2**(bits - 1) - 1, in spacings; bits >= 2.

    >>> signed(2).levels.tolist()
    [-2.0, -1.0, 0.0, 1.0]
    """
    if bits < 2:
        raise ValueError(f"levels on both sides of 0 have 2 bits or more, got {bits}")
    return Lattice(2**bits, 1.0, -(2.0 ** (bits - 1)))


@dataclass(frozen=True, slots=True)
class RelaxedQuantization:
    """What the algorithm is; no state, no randomness.

    lattice: the levels in spacings, 0 and both sides of it among them. shown: "random" or
    "expectation". scale: the first scale of the noise in spacings.

    Raises ValueError if the lattice does not have 0 inside, a word is not known, or the scale is
    not positive and below 2**10.
    """

    lattice: Lattice = field(default_factory=lambda: signed(2))
    shown: str = "random"
    scale: float = 1 / 3

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if not self.lattice.low < 0 < self.lattice.high or 0.0 not in self.lattice.levels:
            raise ValueError(f"levels go to both sides of 0 and have it, got {self.lattice}")
        if self.shown not in PASSES:
            raise ValueError(f"a forward pass is one of {PASSES}, got {self.shown!r}")
        if not 0 < self.scale <= MOST:
            raise ValueError(f"a first scale is above 0 and at most {MOST}, got {self.scale}")


MOST = 2.0**10


def reading(spec: RelaxedQuantization) -> Reading:
    """Its row."""
    return Reading(
        Stair.nearest(spec.lattice),
        Logistic(1.0),
        shown=spec.shown,
        unit="step",
        gain="step",
        start=2.0 / math.sqrt(spec.lattice.high),
        first_scale=spec.scale,
        ends="cut",
    )


def law(spec: RelaxedQuantization, latent: Points, state: State) -> Pmf:
    """Law of the level, shape (..., size). Raises ValueError if a latent is NaN.

    >>> import numpy as np
    >>> state = {"step": np.array([0.5]), "scale": np.array([0.3])}
    >>> law(RelaxedQuantization(), np.array([50.0]), state).round(4).tolist()
    [[0.0055, 0.029, 0.1534, 0.8122]]
    """
    return reading_law(reading(spec), latent, state)


CONTRACT = Contract(
    spec=RelaxedQuantization,
    source="louizos2019",
    family="reader",
    destinations="any",
    knobs=(
        Knob("shown", "a forward pass", default="random", examples=PASSES, choices=PASSES),
        Knob("scale", "spacings", default=1 / 3, high=MOST, examples=(1 / 3, 0.6, 2.0)),
    ),
    planes=(LATENT,),
    words_per_step=0,
    words_per_read=1,
    lattices=(*(signed(bits) for bits in (2, 3, 4)), Lattice.ternary()),
    rows=(
        *(
            Row(f"RQ, drawn, {b} bits", RelaxedQuantization(signed(b)), "louizos2019; mean's slope")
            for b in (2, 4)
        ),
        Row("RQ, mean", RelaxedQuantization(shown="expectation"), "derived"),
    ),
    reading=reading,
)
