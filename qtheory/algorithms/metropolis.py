"""Metropolis and heat bath: propose a neighbouring level, accept it by its energy [metropolis1953].

With probability q a neighbour is proposed, up or down equally often. An increment of x lattice
spacings is minus the change of the energy, in the same units, that one spacing up brings, to first
order. At the temperature T, in spacings,

    P(up) = (q / 2) a(x / T)          P(down) = (q / 2) a(-x / T)

    Metropolis    a(z) = min(1, exp(z))
    heat bath     a(z) = 1 / (1 + exp(-z))      [glauber1963; barker1965]

A proposal beyond an end of the lattice is refused. Both have a(z) / a(-z) = exp(z), so that the
chain of a weight under exact differences of an energy is in detailed balance with the Gibbs law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qtheory.algorithms.base import Contract, Knob
from qtheory.algorithms.walker import check_temperature, on_lattice
from qtheory.arrays import Numbers, Pmf
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

ACCEPTANCES = ("metropolis", "heat_bath")
FAR = 48.0
"""Temperatures beyond which exp(-x / T) is below 2**-69 and counts as 0."""


@dataclass(frozen=True, slots=True)
class Metropolis:
    """What the algorithm is; no state, no randomness.

    temperature: T > 0, in lattice spacings of the increment. proposal: q in (0, 1], the probability
    that a neighbour is proposed. acceptance: "metropolis" or "heat_bath". readout: the stair
    through which hidden levels are seen, None if the levels themselves are.

    Raises ValueError if the temperature is not finite and at least 2**-100 in float32, the proposal
    is not in (0, 1], or the acceptance is not known.
    """

    lattice: Lattice
    temperature: float = 0.25
    proposal: float = 1.0
    acceptance: str = "metropolis"
    readout: Stair | None = None

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        with np.errstate(over="ignore", under="ignore"):
            proposal = np.float32(self.proposal)
        if not 0 < proposal <= 1:
            raise ValueError(f"the probability of a proposal is in (0, 1], got {self.proposal}")
        if self.acceptance not in ACCEPTANCES:
            raise ValueError(
                f"an acceptance is one of {', '.join(ACCEPTANCES)}, got {self.acceptance!r}"
            )


def law(spec: Metropolis, index: Numbers, increment: Numbers) -> Pmf:
    """Exact law of the next level, shape (..., size) [metropolis1953].

    index, increment: arrays that broadcast, or numbers; the increment is in weight units. NaN
    does not move the weight.
    Raises ValueError if the index is not on the lattice.

    >>> law(Metropolis(Lattice.ternary(), temperature=1.0), 1, 0.0).tolist()
    [0.5, 0.0, 0.5]
    >>> law(Metropolis(Lattice.binary(), acceptance="heat_bath"), 0, np.inf).tolist()
    [0.5, 0.5]
    """
    size = spec.lattice.size
    i, d = np.broadcast_arrays(np.asarray(index), np.asarray(increment, dtype=np.float64))
    on_lattice(spec.lattice, i)
    with np.errstate(over="ignore", under="ignore"):
        z = d / spec.lattice.spacing / spec.temperature
        unlikely = np.exp(-np.abs(z))
    if spec.acceptance == "metropolis":
        with_it, against = np.ones_like(unlikely), unlikely
    else:
        with_it, against = 1.0 / (1.0 + unlikely), unlikely / (1.0 + unlikely)
    half = 0.5 * spec.proposal * ~np.isnan(d)
    up = half * np.where(z >= 0, with_it, np.where(np.isnan(z), 0.0, against)) * (i < size - 1)
    down = half * np.where(z > 0, against, np.where(np.isnan(z), 0.0, with_it)) * (i > 0)
    pmf = np.zeros((*i.shape, size))
    places = ((i - 1).clip(0), down), ((i + 1).clip(max=size - 1), up), (i, 1.0 - up - down)
    for place, mass in places:
        there = np.take_along_axis(pmf, place[..., None], -1)
        np.put_along_axis(pmf, place[..., None], there + mass[..., None], -1)
    return pmf


def panels(spec: Metropolis) -> np.ndarray:
    """Points in spacings, 0 to 48 T: between them exp(-x / T) is smooth, and beyond them 0."""
    return spec.temperature * np.arange(FAR + 1.0)


CONTRACT = Contract(
    spec=Metropolis,
    source="metropolis1953",
    destinations="neighbours",
    knobs=(
        Knob(
            "temperature",
            "lattice spacings of the increment",
            default=0.25,
            examples=(1e-3, 0.05, 0.25, 1.0, 30.0),
        ),
        Knob("proposal", "a probability", default=1.0, high=1.0, examples=(1.0, 0.17, 1e-6)),
        Knob(
            "acceptance",
            "a rule",
            default="metropolis",
            examples=ACCEPTANCES,
            choices=ACCEPTANCES,
        ),
    ),
    steepness=lambda spec: 1.0 / spec.temperature,
    panels=panels,
)
