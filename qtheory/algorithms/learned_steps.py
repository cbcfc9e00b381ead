"""Learned step size quantisation, LSQ [esser2020]: levels are whole multiples of a learned step.

With levels -Q_N, ..., Q_P (whole, two or more) a latent v is seen as s q(v / s), q the nearest
level, ties away from 0. With the gradient G of what is seen, of n latents that share a step,

    latent   G 1[-Q_N < v / s < Q_P]
    step     sum_j G_j (q - v / s) inside, G_j times the end outside; times 1 / sqrt(n Q_P)

The step starts at 2 mean |v| / sqrt(Q_P), one a layer. Equations are quoted from memory of the
paper; the factor and the start are also those of independent code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from qtheory.algorithms.base import LATENT, Contract, Knob, Row
from qtheory.algorithms.reader import GROUPS, Clip, Reading, State, reading_law
from qtheory.arrays import Pmf
from qtheory.lattice import Lattice
from qtheory.noise import Points
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

SCALES = ("size", "none")


def signed(bits: int) -> Lattice:
    """The levels of a signed number of bits; of one bit -1 and 1.

    >>> signed(3).levels.tolist()
    [-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
    """
    return Lattice.binary() if bits == 1 else Lattice(2**bits, 1.0, -(2.0 ** (bits - 1)))


@dataclass(frozen=True, slots=True)
class LearnedSteps:
    """What the algorithm is; no state, no randomness.

    lattice: the levels in steps; the highest is Q_P > 0 and the lowest -Q_N < 0. group: what shares
    a step. scale: of the step's gradient, "size" for 1 / sqrt(n Q_P), "none" for 1.

    Raises ValueError if the lattice does not reach to both sides of 0, or a word is not known.
    """

    lattice: Lattice = field(default_factory=Lattice.ternary)
    group: str = "layer"
    scale: str = "size"

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if not self.lattice.low < 0 < self.lattice.high:
            raise ValueError(f"steps go to both sides of 0, got {self.lattice}")
        if self.group not in GROUPS:
            raise ValueError(f"a group is one of {GROUPS}, got {self.group!r}")
        if self.scale not in SCALES:
            raise ValueError(f"a scale of a step's gradient is one of {SCALES}, got {self.scale!r}")


def reading(spec: LearnedSteps) -> Reading:
    """Its row."""
    low, high = spec.lattice.low, spec.lattice.high
    return Reading(
        Stair.nearest(spec.lattice, "away"),
        unit="step",
        gain="step",
        group=spec.group,
        window=Clip(low, high, closed=False),
        steadied=spec.scale == "size",
        start=2.0 / math.sqrt(high),
    )


def law(spec: LearnedSteps, latent: Points, state: State) -> Pmf:
    """Law of the level, shape (..., size): certain. Raises ValueError if a latent is NaN.

    >>> import numpy as np
    >>> law(LearnedSteps(), np.array([-0.3, 0.05]), {"step": np.array([0.2])}).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    return reading_law(reading(spec), latent, state)


CONTRACT = Contract(
    spec=LearnedSteps,
    source="esser2020",
    family="reader",
    destinations="any",
    knobs=(
        Knob("group", "what shares a step", default="layer", examples=GROUPS, choices=GROUPS),
        Knob("scale", "a rule", default="size", examples=SCALES, choices=SCALES),
    ),
    planes=(LATENT,),
    words_per_step=0,
    lattices=(Lattice.ternary(), *(signed(bits) for bits in (1, 2, 3, 4))),
    rows=(
        Row("LSQ, ternary", LearnedSteps(), "esser2020"),
        *(Row(f"LSQ, {b} bits", LearnedSteps(signed(b)), "esser2020") for b in (1, 2, 3, 4)),
    ),
    reading=reading,
)
