"""BinaryConnect: a real latent, seen through the nearest or a random level [courbariaux2015].

The latent x is kept in [-H, H], H the highest level, and trained by any optimiser; the gradient of
the visible weight is taken for its own. On a lattice with the spacing s a read gives

    nearest      Q_d(x), ties away from the value 0 and upwards at it
    stochastic   Q_s(x): one of the two levels around x, with mean x

which for two levels are the sign, and +H with the probability of the hard sigmoid,
clip((x / H + 1) / 2, 0, 1). Other lattices are those of [li2017, Eq. 7].
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qtheory.algorithms.base import LATENT, Contract, Knob, Row
from qtheory.algorithms.reader import Reading, reading_law
from qtheory.arrays import Pmf
from qtheory.lattice import Lattice
from qtheory.noise import Points, Uniform
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

READINGS = ("nearest", "stochastic")


@dataclass(frozen=True, slots=True)
class BinaryConnect:
    """What the algorithm is; no state, no randomness.

    lattice: the levels that are seen. reading: "nearest" is deterministic, "stochastic" is drawn
    anew at each read.

    Raises ValueError if the reading is neither.
    """

    lattice: Lattice = field(default_factory=Lattice.binary)
    reading: str = "nearest"

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if self.reading not in READINGS:
            raise ValueError(f"a reading is 'nearest' or 'stochastic', got {self.reading!r}")


def reading(spec: BinaryConnect) -> Reading:
    """Its row: uniform noise as wide as a spacing before the nearest level, or none."""
    noise = Uniform(0.5 * spec.lattice.spacing) if spec.reading == "stochastic" else None
    bound = max(abs(spec.lattice.low), abs(spec.lattice.high))
    shown = "hard" if noise is None else "random"
    return Reading(Stair.nearest(spec.lattice, "away"), noise, bound, shown)


def law(spec: BinaryConnect, latent: Points) -> Pmf:
    """Exact law of the visible level, shape (..., size). Raises ValueError if a latent is NaN.

    >>> import numpy as np
    >>> law(BinaryConnect(reading="stochastic"), np.array([-1.0, 0.0, 0.5]))[:, 1].tolist()
    [0.0, 0.5, 0.75]
    >>> law(BinaryConnect(), np.array([-1e-9, 0.0]))[:, 1].tolist()
    [0.0, 1.0]
    """
    return reading_law(reading(spec), latent)


CONTRACT = Contract(
    spec=BinaryConnect,
    source="courbariaux2015",
    family="reader",
    destinations="any",
    knobs=(Knob("reading", "a rule", default="nearest", examples=READINGS, choices=READINGS),),
    planes=(LATENT,),
    words_per_step=0,
    words_per_read=1,
    rows=(
        Row("BinaryConnect", BinaryConnect(), "courbariaux2015"),
        Row("BinaryConnect, stochastic", BinaryConnect(reading="stochastic"), "courbariaux2015"),
    ),
    reading=reading,
)
