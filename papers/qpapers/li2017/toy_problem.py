"""The one-dimensional toy problem of [li2017, Eq. 8] as an exact chain.

    f(w) = w**2 + 2              for w < 1
           (w - 2.5)**2 + 0.75   for 1 <= w < 3.5
           (w - 4.75)**2 + 0.19  for w >= 3.5

Three parabolas, the last one lowest; continuous at 1, with a jump of 0.0025 at 3.5. Weights start
at 4.0 on a lattice of spacing 1/2, so the minimiser 4.75 is half way between two levels. The
formula is written from memory of the paper and not verified against the print; the law of the
gradient noise is not known to us, and is an argument here.
"""

from __future__ import annotations

import numpy as np

from qtheory.algorithms import StochasticRounding
from qtheory.arrays import Pmf
from qtheory.chain import MarkovChain
from qtheory.increments import noisy_increments_at_levels
from qtheory.lattice import Lattice
from qtheory.noise import Noise, Points
from qtheory.transition import weight_chain

START, SPACING, MINIMISER = 4.0, 0.5, 4.75
WIDE = Lattice.uniform(-10.0, 15.0, 51)
"""So wide that its ends do not matter at learning rates up to 0.1 and a noise of std 3."""
NARROW = Lattice.uniform(-2.0, 8.0, 21)


def loss(weights: Points) -> Points:
    """f(w), elementwise.

    >>> loss(np.array([0.0, 1.0, 2.5, 4.5, 4.75, 5.0])).tolist()
    [2.0, 3.0, 0.75, 0.2525, 0.19, 0.2525]
    """
    right = np.where(weights < 3.5, (weights - 2.5) ** 2 + 0.75, (weights - 4.75) ** 2 + 0.19)
    return np.where(weights < 1.0, weights**2 + 2.0, right)


def gradient(weights: Points) -> Points:
    """f'(w), elementwise, from the right where f has a kink.

    >>> gradient(np.array([0.5, 1.0, 3.5, 5.0])).tolist()
    [1.0, -3.0, -2.5, 0.5]
    """
    centre = np.where(weights < 1.0, 0.0, np.where(weights < 3.5, 2.5, MINIMISER))
    return 2.0 * (weights - centre)


def chain(learning_rate: float, noise: Noise | None, lattice: Lattice = WIDE) -> MarkovChain:
    """The exact chain of a weight under stochastic rounding, on the levels of the lattice.

    noise: of the gradient, the same at every weight. Raises ValueError as
    `noisy_increments_at_levels` does.
    """

    def at(weight: float) -> float:
        return float(gradient(np.array([weight]))[0])

    laws = noisy_increments_at_levels(at, lattice, learning_rate, noise)
    return weight_chain(StochasticRounding(lattice), laws)


def mean_loss(law: Pmf, lattice: Lattice = WIDE) -> float:
    """E f under a law on the levels."""
    return float(law @ loss(lattice.levels))


def near_the_minimiser(law: Pmf, lattice: Lattice = WIDE) -> float:
    """Probability of the two best levels, 4.5 and 5.0. Raises ValueError if one is no level."""
    best = np.abs(lattice.levels - MINIMISER) == 0.5 * SPACING
    if best.sum() != 2:
        raise ValueError(f"4.5 and 5.0 are levels of the lattice, got {lattice}")
    return float(law[best].sum())
