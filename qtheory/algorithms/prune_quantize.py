"""Ternary weights as pruned binary ones: the mask by size, by a threshold, or by scores.

A weight is seen as 0 or as a gain with a sign. Rules which weights are pruned, of n in a group:

    size        those up to the k-th smallest |W|, k = floor(zeros n + 1/2); the gain is the mean
                of |W| over the others, and the gradient of W is that of what is seen
    threshold   those up to a learned threshold a, which starts at `zeros` times the mean of |W|;
                gain and gradient of W are as before, and a has the gradient of the stair under
                uniform noise of half width a / 2, with the gain held
    scores      weights W never change; each has a score s, and those up to the k-th smallest |s|
                are pruned. The gain is the mean of |W| over the others, the sign that of W, and
                the gradient of s is W sign(s) times that of what is seen: straight through the
                mask, which is of |s| [ramanujan2020] [diffenderfer2021]

With weights of one size, signed constants, what is seen by scores is exactly the mask times W. A
mask of -1, 0 and 1 over signed constants, by a fixed threshold on a latent [koster2022], needs no
rule of its own: the product of the latent and the sign is a ternary latent with that threshold.

A schedule of zeros is a schedule of specs. Rules are quoted from notes on public code.
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

RULES = ("size", "threshold", "scores")


@dataclass(frozen=True, slots=True)
class PruneQuantize:
    """What the algorithm is; no state, no randomness.

    lattice: -1, 0 and 1, in units of the gain. rule: see the module. zeros: the share of weights
    that are pruned, or the first threshold in means of |W|. group: what shares a threshold and a
    gain.

    Raises ValueError if the lattice is another one, a word is not known, or zeros are not above 0
    and at most 1.
    """

    lattice: Lattice = field(default_factory=Lattice.ternary)
    rule: str = "size"
    zeros: float = 0.5
    group: str = "layer"

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if self.lattice != Lattice.ternary():
            raise ValueError(f"pruned weights are -1, 0 and 1 times a gain, got {self.lattice}")
        if self.rule not in RULES:
            raise ValueError(f"a rule of pruning is one of {RULES}, got {self.rule!r}")
        if not 0 < self.zeros <= 1:
            raise ValueError(f"a share of zeros is above 0 and at most 1, got {self.zeros}")
        if self.group not in GROUPS:
            raise ValueError(f"a group is one of {GROUPS}, got {self.group!r}")


def reading(spec: PruneQuantize) -> Reading:
    """Its row."""
    stair = Stair((-1.0, 0.0, 1.0), (-1.0, 1.0), "inward")
    if spec.rule == "threshold":
        return Reading(
            stair, unit="threshold", gain="survivors", group=spec.group, start=spec.zeros
        )
    kept = "fixed" if spec.rule == "scores" else None
    return Reading(
        stair,
        unit="rank",
        gain=kept or "survivors",
        group=spec.group,
        factor=kept or "straight",
        signs=kept or "own",
        zeros=spec.zeros,
    )


def law(spec: PruneQuantize, latent: Points, state: State | None = None) -> Pmf:
    """Law of the level, shape (..., 3): certain. Raises ValueError if a latent is NaN.

    >>> import numpy as np
    >>> law(PruneQuantize(), np.array([-1.0, 0.25, 0.5, 0.75])).argmax(axis=1).tolist()
    [0, 1, 1, 2]
    """
    return reading_law(reading(spec), latent, state)


CONTRACT = Contract(
    spec=PruneQuantize,
    source="ramanujan2020",
    family="reader",
    destinations="any",
    knobs=(
        Knob("rule", "a rule", default="size", examples=RULES, choices=RULES),
        Knob("zeros", "a share", default=0.5, high=1.0, examples=(0.5, 0.7, 0.8, 1.0)),
        Knob("group", "what shares a gain", default="layer", examples=GROUPS, choices=GROUPS),
    ),
    planes=(LATENT,),
    words_per_step=0,
    lattices=(Lattice.ternary(),),
    rows=(
        Row("pruned by size", PruneQuantize(), "zhu2017, code: a share of zeros"),
        Row("pruned by a threshold", PruneQuantize(rule="threshold"), "derived"),
        Row("edge-popup", PruneQuantize(rule="scores", zeros=0.7), "ramanujan2020; share: noted"),
        Row("multi-prize", PruneQuantize(rule="scores", zeros=0.8), "diffenderfer2021, code"),
    ),
    reading=reading,
)
