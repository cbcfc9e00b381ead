"""Ternary weights by a threshold and gains: TWN [li2016] and TTQ [zhu2017].

A weight W is seen as 0 if |W| <= D, else as a gain with the sign of W:

    means     of each group D = t mean |W|, t = 0.7 or 0.75, and the gain is the mean of |W| over
              |W| > D, which for these signs has the smallest squared error; the gradient of W is
              that of what is seen
    learned   of each group D = t max |W|, t = 0.05, and two learned gains p above and m below 0.
              With the gradient G of what is seen, that of W is p G, G or m G where the level is
              above, at or below 0; that of p is the sum of G over the levels above 0, and that of
              m is minus the sum over those below

Learned gains start at 1. The gradients of TTQ are those of the code of its authors; its equations
are not at hand, and neither are those of TWN, whose rule is quoted from notes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qtheory.algorithms.base import LATENT, Contract, Knob, Row
from qtheory.algorithms.reader import GROUPS, Reading, State, reading_law
from qtheory.arrays import Pmf
from qtheory.lattice import Lattice
from qtheory.noise import Points
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

GAINS = ("means", "learned")


@dataclass(frozen=True, slots=True)
class TernaryWeights:
    """What the algorithm is; no state, no randomness.

    lattice: -1, 0 and 1, in units of the gains. gains: "means" or "learned". threshold: t, in units
    of the mean or of the largest |W|. group: what shares D and gains, a "filter" or a "layer".

    Raises ValueError if the lattice is another one, a word is not known, or the threshold is not
    positive and finite, or not below 1 for learned gains.
    """

    lattice: Lattice = field(default_factory=Lattice.ternary)
    gains: str = "means"
    threshold: float = 0.7
    group: str = "filter"

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if self.lattice != Lattice.ternary():
            raise ValueError(f"ternary weights are -1, 0 and 1 times a gain, got {self.lattice}")
        if self.gains not in GAINS:
            raise ValueError(f"gains are one of {GAINS}, got {self.gains!r}")
        if self.group not in GROUPS:
            raise ValueError(f"a group is one of {GROUPS}, got {self.group!r}")
        most = 1.0 if self.gains == "learned" else 2.0**64
        if not 0 < self.threshold < most:
            raise ValueError(f"a threshold is above 0 and below {most}, got {self.threshold}")


def reading(spec: TernaryWeights) -> Reading:
    """Its row."""
    t = spec.threshold
    stair = Stair((-1.0, 0.0, 1.0), (-t, t), "inward")
    if spec.gains == "learned":
        return Reading(stair, unit="largest", gain="sides", group=spec.group, factor="sides")
    return Reading(stair, unit="mean", gain="survivors", group=spec.group)


def law(spec: TernaryWeights, latent: Points, state: State | None = None) -> Pmf:
    """Law of the level, shape (..., 3): certain. Raises ValueError if a latent is NaN.

    >>> import numpy as np
    >>> law(TernaryWeights(), np.array([-1.0, 0.25, 0.5])).argmax(axis=1).tolist()
    [0, 1, 2]
    """
    return reading_law(reading(spec), latent, state)


CONTRACT = Contract(
    spec=TernaryWeights,
    source="li2016",
    family="reader",
    destinations="any",
    knobs=(
        Knob("gains", "a rule", default="means", examples=GAINS, choices=GAINS),
        Knob("threshold", "mean or largest size", default=0.7, examples=(0.7, 0.75, 0.05)),
        Knob("group", "what shares a gain", default="filter", examples=GROUPS, choices=GROUPS),
    ),
    planes=(LATENT,),
    words_per_step=0,
    lattices=(Lattice.ternary(),),
    rows=(
        Row("TWN", TernaryWeights(), "li2016, code"),
        Row("TWN, later text", TernaryWeights(threshold=0.75), "li2016, later version"),
        Row("TTQ", TernaryWeights(Lattice.ternary(), "learned", 0.05, "layer"), "zhu2017, code"),
    ),
    reading=reading,
)
