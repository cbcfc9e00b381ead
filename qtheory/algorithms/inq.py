"""Incremental network quantisation (INQ): weights are frozen on powers of two [zhou2017].

The levels of b bits are 0 and K = 2**(b - 2), at least 1, powers of two of each sign, the largest
2**n_1 with n_1 = floor(log2(4/3 max |W|)), so that max |W| < 3/2 2**n_1. For neighbours p < q of
these sizes, p = 0 among them, W is frozen as

    sign(W) q    for (p + q) / 2 <= |W| < 3/2 q,

which is the nearest level, ties away from 0; within 2**(n_1 - K) it is 0. A share of a layer's
weights is frozen, the others are trained and seen as they are, and the share grows to 1. Rules
which weights are frozen first, `order`:

    largest     of those that are free the largest |W| ("pruning-inspired")
    random      of those that are free any
    resorted    the largest of all, chosen anew each time, as the released code does: a weight that
                is frozen may thaw
    redrawn     any of all, chosen anew each time, as random partition relaxation does

n_1 is that of the first weights frozen; where all are chosen anew it is measured again.

The lattice has the codes -K .. K: the level of code c != 0 is sign(c) 2**(n_1 + |c| - K). Formulas
are quoted from notes on the paper.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from qtheory.algorithms.base import LATENT, Contract, Knob, Plane, Row
from qtheory.algorithms.reader import ORDERS, Reading, State, reading_law, taken
from qtheory.arrays import Pmf, Words
from qtheory.lattice import Lattice
from qtheory.noise import Points
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

Frozen = Bool[ndarray, "..."]
"""Whether a weight is frozen."""


def codes(bits: int) -> Lattice:
    """The codes of 2 to 5 bits, one bit of them for 0. Raises ValueError for other numbers of bits.

    >>> codes(3).levels.tolist()
    [-2.0, -1.0, 0.0, 1.0, 2.0]
    """
    if bits not in range(2, 6):
        raise ValueError(f"powers of two have 2 to 5 bits, got {bits}")
    return Lattice(2 ** (bits - 1) + 1, 1.0, -(2.0 ** (bits - 2)))


@dataclass(frozen=True, slots=True)
class IncrementalQuantization:
    """What the algorithm is; no state, no randomness.

    lattice: the codes of 2 to 5 bits. order: which weights are frozen first.

    Raises ValueError if the lattice is another one or the order is not known.
    """

    lattice: Lattice = field(default_factory=Lattice.ternary)
    order: str = "largest"

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if self.lattice not in LATTICES:
            raise ValueError(f"codes of powers of two are of 2 to 5 bits, got {self.lattice}")
        if self.order not in ORDERS:
            raise ValueError(f"an order is one of {[*ORDERS]}, got {self.order!r}")


def powers(lattice: Lattice) -> Stair:
    """Levels and thresholds in units of 2**n_1.

    >>> powers(codes(3)).levels, powers(codes(3)).thresholds[2:]
    ((-1.0, -0.5, 0.0, 0.5, 1.0), (0.25, 0.75))
    """
    top = lattice.size // 2
    sizes = [0.0, *(2.0 ** (k - top) for k in range(1, top + 1))]
    middles = [0.5 * (p + q) for p, q in pairwise(sizes)]
    levels = (*(-s for s in sizes[:0:-1]), *sizes)
    return Stair(levels, (*(-m for m in middles[::-1]), *middles), "away")


def reading(spec: IncrementalQuantization) -> Reading:
    """Its row."""
    return Reading(powers(spec.lattice), unit="power", gain="power", order=spec.order)


def law(spec: IncrementalQuantization, latent: Points, state: State | None = None) -> Pmf:
    """Law of the level at which each weight is frozen, shape (..., size): certain.

    Raises ValueError if a latent is NaN.

    >>> law(IncrementalQuantization(), np.array([-1.0, 0.49, 0.5])).argmax(axis=1).tolist()
    [0, 1, 2]
    """
    return reading_law(reading(spec), latent, state)


def partition(
    spec: IncrementalQuantization,
    latent: Points,
    share: float,
    frozen: Frozen | None = None,
    words: Words | None = None,
) -> Frozen:
    """Which weights of a layer are frozen when a share of them is to be.

    floor(share n + 1/2) of n, and never fewer than before where those that are frozen stay so; of
    equal ones those that come first. frozen: before, none if it is not given. words: one a weight
    where the order is random; the smallest are frozen first.

    Raises ValueError if the share is not in [0, 1], or words are missing, or given for another
    order.

    >>> partition(IncrementalQuantization(), np.array([0.1, -0.9, 0.5, 0.2]), 0.5).tolist()
    [False, True, True, False]
    """
    order, before = ORDERS[spec.order], np.zeros(np.shape(latent), bool)
    if not 0 <= share <= 1:
        raise ValueError(f"a share of weights is in [0, 1], got {share}")
    if order.by_size != (words is None):
        raise ValueError(f"words are for an order that is random, got {spec.order!r}")
    if order.keeps and frozen is not None:
        before = frozen
    rank = -np.abs(latent) if words is None else words
    chosen = np.lexsort((rank.ravel(), ~before.ravel()))
    after = np.zeros(before.size, bool)
    after[chosen[: max(taken(share, before.size), int(before.sum()))]] = True
    return after.reshape(before.shape)


LATTICES = tuple(codes(bits) for bits in range(2, 6))

SHARES = {
    "AlexNet, 5 bits": (0.3, 0.6, 0.8, 1.0),
    "VGG-16 and ResNets, 5 bits": (0.5, 0.75, 0.875, 1.0),
    "GoogLeNet, 5 bits": (0.2, 0.4, 0.6, 0.8, 1.0),
    "ResNet-18, 4 bits": (0.3, 0.5, 0.8, 0.9, 0.95, 1.0),
    "ResNet-18, 3 bits": (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
    "ResNet-18, 2 bits": (0.2, 0.4, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975, 1.0),
}
"""Published shares of weights that are frozen, one after the other [zhou2017]; noted. A schedule
of epochs and shares is `qtheory.schedules.Shares`."""

CONTRACT = Contract(
    spec=IncrementalQuantization,
    source="zhou2017",
    family="reader",
    destinations="any",
    knobs=(Knob("order", "a rule", default="largest", examples=(*ORDERS,), choices=(*ORDERS,)),),
    planes=(LATENT, Plane("frozen", "int8")),
    words_per_step=0,
    lattices=LATTICES,
    rows=(
        *(
            Row(f"INQ, {b} bits", IncrementalQuantization(codes(b)), "zhou2017")
            for b in range(2, 6)
        ),
        Row("INQ, random", IncrementalQuantization(codes(5), "random"), "zhou2017"),
        Row(
            "INQ, released",
            IncrementalQuantization(codes(5), "resorted"),
            "AojunZhou/Incremental-Network-Quantization at c7f6a60",
        ),
        Row(
            "RPR, ternary",
            IncrementalQuantization(order="redrawn"),
            "pulp-platform/quantlib at d3c829e",
        ),
    ),
    reading=reading,
)
