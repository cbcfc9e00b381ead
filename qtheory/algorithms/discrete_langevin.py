"""Discrete Langevin proposals: any level, by a force and a distance [zhang2022, not verified].

An increment of x lattice spacings is minus the change of the energy, in the same units, that one
spacing up brings, to first order. At the temperature T and with the step a, in squared spacings, a
weight on level i proposes level j with

    q(j | i) = w(j - i) / Z_i      w(d) = exp(x d / (2 T) - d**2 / (2 a))      Z_i = sum_k w(k - i)

where k goes through the lattice, and goes there. Adjusted, it is accepted as by Metropolis and
Hastings. With the energy of first order, exp(x (j - i) / T) q(i | j) / q(j | i) = Z_i / Z_j: the
test makes up for nothing but the ends of the lattice, and for j other than i

    P(i -> j) = w(j - i) / max(Z_i, Z_j)

is in detailed balance with the Gibbs law exp(x i / T). Without the test the chain is in balance
with Z_i exp(x i / T): nearly the same for small steps, and Gibbs at 2 T for large ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qtheory.algorithms.base import Contract, Knob
from qtheory.algorithms.walker import check_temperature, on_lattice
from qtheory.arrays import Numbers, Pmf
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

LEAST_STEP = 2.0**-6
MOST_ADJUSTED = 16
"""Levels of a lattice on which proposals are adjusted: each asks for the sums of all others."""
FAR = 48.0
"""Exponents below the largest by so much count as 0: exp(-48) is below 2**-69."""


@dataclass(frozen=True, slots=True)
class DiscreteLangevin:
    """What the algorithm is; no state, no randomness.

    temperature: T > 0, in lattice spacings of the increment. step: a, in squared spacings; without
    a force, moves by d levels have the weight exp(-d**2 / (2 a)). adjusted: "yes" or "no", whether
    proposals are accepted as by Metropolis and Hastings or always. readout: the stair through which
    hidden levels are seen, None if the levels themselves are.

    Raises ValueError if the temperature is not finite and at least 2**-100 in float32, the step is
    not finite and above 2**-6 (below, no word moves a weight without a force), adjusted is another
    word, or it is "yes" on more than 16 levels.
    """

    lattice: Lattice
    temperature: float = 0.25
    step: float = 0.5
    adjusted: str = "no"
    readout: Stair | None = None

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        with np.errstate(over="ignore", under="ignore"):
            step = np.float32(self.step)
        if not (math.isfinite(step) and step > LEAST_STEP):
            raise ValueError(f"a step is finite and above 2**-6 squared spacings, got {self.step}")
        if self.adjusted not in ("no", "yes"):
            raise ValueError(f"adjusted is no or yes, got {self.adjusted!r}")
        if self.adjusted == "yes" and self.lattice.size > MOST_ADJUSTED:
            raise ValueError(
                f"proposals are adjusted on at most {MOST_ADJUSTED} levels, got {self.lattice.size}"
            )


def law(spec: DiscreteLangevin, index: Numbers, increment: Numbers) -> Pmf:
    """Exact law of the next level, shape (..., size) [zhang2022].

    index, increment: arrays that broadcast, or numbers; the increment is in weight units. NaN
    does not move the weight.
    Raises ValueError if the index is not on the lattice.

    >>> import math
    >>> spec = DiscreteLangevin(Lattice.binary(), temperature=1.0, step=0.5 / math.log(3))
    >>> law(spec, 0, 0.0).round(12).tolist()
    [0.75, 0.25]
    >>> law(spec, 0, np.inf).tolist()
    [0.0, 1.0]
    """
    i, d = np.broadcast_arrays(np.asarray(index), np.asarray(increment, dtype=np.float64))
    on_lattice(spec.lattice, i)
    levels, g = np.arange(spec.lattice.size), 0.5 / spec.step
    far = 2 * levels.size * g + 800.0  # exp(-800) is 0
    with np.errstate(over="ignore", under="ignore"):
        h = np.clip(0.5 * d / spec.lattice.spacing / spec.temperature, -far, far)
    h = np.where(np.isnan(d), 0.0, h)[..., None]
    moves = levels - i[..., None]
    best = np.take_along_axis(moves, (h * moves - g * moves**2).argmax(-1)[..., None], -1)
    own = _relative(h, g, moves, best)
    mass = _sum(own)[..., None]
    pmf = own / mass
    if spec.adjusted == "yes":
        every = _relative(h[..., None], g, levels - levels[:, None], best[..., None])
        kept = mass / np.maximum(_sum(every), mass)
        refused = _sum(pmf * (1.0 - kept))
        pmf = np.minimum(pmf * kept + (moves == 0) * refused[..., None], 1.0)
    return np.where(np.isnan(d)[..., None], moves == 0, pmf)


def _relative(h: np.ndarray, g: float, moves: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Weights of moves over that of the best: exponents as a product, so that none cancels."""
    with np.errstate(over="ignore", under="ignore"):
        return np.exp((moves - best) * (h - g * (moves + best)))


def _sum(terms: np.ndarray) -> np.ndarray:
    """Along the last axis, in its order whatever the layout."""
    return np.add.accumulate(terms, axis=-1)[..., -1]


def steepness(spec: DiscreteLangevin) -> float:
    """A bound: a share p has the slope p (d - mean d) / (2 T), and d spans the lattice."""
    return (spec.lattice.size - 1) / (2 * spec.temperature)


def panels(spec: DiscreteLangevin) -> np.ndarray:
    """Points in spacings, 2 T h for h from 0 on: between them the law is smooth.

    It is analytic within pi of the real h where the sums Z_i are polynomials of exp(h) with real
    zeros alone, as they are for 2 g > ln 4 (by Kurtz's criterion on their coefficients), and within
    2 pi / size for any g. Adjusted, it has kinks where Z_i = Z_j: windows of a symmetric weight
    have equal sums if its maximum h / (2 g) is half-way between their middles, so at multiples of
    g: h = g (size - 1 - i - j).
    """
    size, g = spec.lattice.size, 0.5 / spec.step
    width = 1.0 if 2 * g > math.log(4.0) else 2.0 / size
    grid = width * np.arange(math.ceil((2 * size * g + FAR) / width) + 1)
    kinks = g * np.arange(size if spec.adjusted == "yes" else 0)
    return 2 * spec.temperature * np.unique(np.concatenate([grid, kinks]))


CONTRACT = Contract(
    spec=DiscreteLangevin,
    source="zhang2022",
    destinations="any",
    knobs=(
        Knob(
            "temperature",
            "lattice spacings of the increment",
            default=0.25,
            examples=(0.25, 1e-3, 0.05, 1.0, 30.0),
        ),
        Knob(
            "step",
            "squared lattice spacings",
            default=0.5,
            low=LEAST_STEP,
            examples=(0.5, 0.02, 0.1, 2.0, 1e4),
        ),
        Knob("adjusted", "a word", default="no", examples=("no", "yes"), choices=("no", "yes")),
    ),
    steepness=steepness,
    panels=panels,
)
