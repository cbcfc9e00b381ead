"""Binary weights with the mean of |W| as the gain of their filter, of XNOR-Net [rastegari2016].

A filter of n real weights W is seen as alpha sign(W), sign(0) = +1 and alpha = mean |W|: of all
numbers alpha and signs B these have the smallest |W - alpha B|^2. With the gradient G of what is
seen and the window 1[|W_i| <= 1] of the sign, the gradient of W_i is

    printed     G_i (1 / n + alpha 1[|W_i| <= 1])
    exact       alpha G_i 1[|W_i| <= 1] + sign(W_i) / n sum_j G_j sign(W_j)
    released    printed, with |W_i| < 1, and W stopped at -1 and 1

Exact is the derivative of alpha(W) sign(W) with that window; the 1 / n of the print is another
term. Released is the code of the authors without its constant factors, which belong to the
learning rate, and without the centring of filters before each step. Equations are quoted from
notes on the paper.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qtheory.algorithms.base import LATENT, Contract, Knob, Row
from qtheory.algorithms.reader import Clip, Reading, State, reading_law
from qtheory.arrays import Pmf
from qtheory.lattice import Lattice
from qtheory.noise import Points
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

GRADIENTS = ("printed", "exact", "released")


@dataclass(frozen=True, slots=True)
class XnorNet:
    """What the algorithm is; no state, no randomness.

    lattice: -1 and 1, in units of the gain. gradient: see the module.

    Raises ValueError if the lattice is another one or the gradient is not known.
    """

    lattice: Lattice = field(default_factory=Lattice.binary)
    gradient: str = "printed"

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if self.lattice != Lattice.binary():
            raise ValueError(f"binary weights are -1 and 1 times a gain, got {self.lattice}")
        if self.gradient not in GRADIENTS:
            raise ValueError(f"a gradient is one of {GRADIENTS}, got {self.gradient!r}")


def reading(spec: XnorNet) -> Reading:
    """Its row."""
    released = spec.gradient == "released"
    return Reading(
        Stair.step(-1.0),
        bound=1.0 if released else float("inf"),
        gain="mean",
        group="filter",
        window=Clip(-1.0, 1.0, closed=not released),
        factor="gain",
        gain_slope="exact" if spec.gradient == "exact" else "printed",
    )


def law(spec: XnorNet, latent: Points, state: State | None = None) -> Pmf:
    """Law of the level, shape (..., 2): certain. Raises ValueError if a latent is NaN.

    >>> import numpy as np
    >>> law(XnorNet(), np.array([-0.1, 0.0])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return reading_law(reading(spec), latent, state)


CONTRACT = Contract(
    spec=XnorNet,
    source="rastegari2016",
    family="reader",
    destinations="any",
    knobs=(Knob("gradient", "a rule", default="printed", examples=GRADIENTS, choices=GRADIENTS),),
    planes=(LATENT,),
    words_per_step=0,
    lattices=(Lattice.binary(),),
    rows=(
        Row("BWN", XnorNet(), "rastegari2016, Sec. 3.1"),
        Row("BWN, exact gradient", XnorNet(gradient="exact"), "derived"),
        Row("BWN, released", XnorNet(gradient="released"), "allenai/XNOR-Net at 4006d59"),
    ),
    reading=reading,
)
