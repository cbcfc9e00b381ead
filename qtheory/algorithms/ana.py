"""Additive noise annealing (ANA): a stair under noise that is taken away [spallanzani2022].

A latent x is seen through the nearest level of x - e, a tie to the upper one, e a noise of a family
and a scale in spacings (half width of uniform and triangular, std of normal, scale of logistic):

    expectation   the mean over e, as in [spallanzani2019]; off the lattice
    mode          the likeliest level, the lowest of equally likely ones
    random        drawn anew at each read
    hard          without e; the noise is the window of the slope alone (straight-through)

and, whichever it is, the slope is that of the expectation. A schedule lowers the scale; with none
left every pass is the hard one. Uniform noise of scale 1/2 has the clipped identity for its slope.
Means of the noise are not here. Formulas are those of notes on the public code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import NormalDist

from qtheory.algorithms.base import LATENT, Contract, Knob, Row
from qtheory.algorithms.reader import Reading, State, reading_law
from qtheory.arrays import Pmf
from qtheory.lattice import Lattice
from qtheory.noise import (
    Gaussian,
    Logistic,
    Points,
    Smoothing,
    Triangular,
    Uniform,
)
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

FAMILIES: dict[str, Callable[[float], Smoothing]] = {
    "uniform": Uniform,
    "triangular": Triangular,
    "normal": Gaussian,
    "logistic": Logistic,
}
PASSES = ("expectation", "mode", "random", "hard")


@dataclass(frozen=True, slots=True)
class NoiseAnnealing:
    """What the algorithm is; no state, no randomness.

    lattice: the levels. family, scale: of the noise, the scale in spacings. shown: the forward
    pass.

    Raises ValueError if a word is not known or the scale is not positive and finite.
    """

    lattice: Lattice = field(default_factory=Lattice.ternary)
    family: str = "uniform"
    scale: float = 0.5
    shown: str = "expectation"

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"a noise is one of {[*FAMILIES]}, got {self.family!r}")
        if self.shown not in PASSES:
            raise ValueError(f"a forward pass is one of {PASSES}, got {self.shown!r}")
        if not 0 < self.scale <= 2.0**64:
            raise ValueError(f"the scale of a noise is positive and below 2**64, got {self.scale}")


def reading(spec: NoiseAnnealing) -> Reading:
    """Its row."""
    noise = FAMILIES[spec.family](spec.scale * spec.lattice.spacing)
    return Reading(
        Stair.nearest(spec.lattice),
        noise=None if spec.shown == "hard" else noise,
        shown=spec.shown,
        window=noise,
    )


def law(spec: NoiseAnnealing, latent: Points, state: State | None = None) -> Pmf:
    """Law of the level, shape (..., size). Raises ValueError if a latent is NaN.

    >>> import numpy as np
    >>> law(NoiseAnnealing(), np.array([0.25])).tolist()
    [[0.0, 0.75, 0.25]]
    """
    return reading_law(reading(spec), latent, state)


UPPER = {"logistic": math.log(39.0), "normal": NormalDist().inv_cdf(0.975)}
"""Where 97.5 % of the mass of an unbounded family of scale 1 lie below."""


def first_scale(family: str) -> float:
    """The first scale of a family in spacings: 95 % of the mass within half a spacing, or all.

    >>> round(first_scale("logistic"), 6), round(first_scale("normal"), 6)
    (0.136479, 0.255107)
    """
    return 0.5 / UPPER[family] if family in UPPER else 0.5


def _started(family: str, shown: str) -> NoiseAnnealing:
    return NoiseAnnealing(Lattice.ternary(), family, first_scale(family), shown)


CONTRACT = Contract(
    spec=NoiseAnnealing,
    source="spallanzani2022",
    family="reader",
    destinations="any",
    knobs=(
        Knob("family", "a law", default="uniform", examples=(*FAMILIES,), choices=(*FAMILIES,)),
        Knob("scale", "spacings", default=0.5, examples=(0.5, 0.25, 1.5)),
        Knob("shown", "a forward pass", default="expectation", examples=PASSES, choices=PASSES),
    ),
    planes=(LATENT,),
    words_per_step=0,
    words_per_read=1,
    rows=(
        Row("ANA", NoiseAnnealing(), "spallanzani2019, code"),
        Row("ANA, logistic", _started("logistic", "expectation"), "spallanzani2022, code"),
        Row("ANA, mode", _started("normal", "mode"), "spallanzani2022, code"),
        Row("ANA, random", _started("triangular", "random"), "spallanzani2022, code"),
        Row("ANA, straight-through", NoiseAnnealing(shown="hard"), "derived"),
    ),
    reading=reading,
)
