"""Numbers written as fraction times 2**exponent: products that leave the range of a float."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

Fractions = Float[ndarray, "levels"]
Exponents = Int64[ndarray, "levels"]


def shifted(fraction: Fractions, powers: Exponents) -> Fractions:
    """fraction 2**powers; powers below -2000 count as -2000."""
    return np.ldexp(fraction, np.maximum(powers, -2000).astype(np.int32))


def law_of(fraction: Fractions, exponent: Exponents) -> Fractions:
    """Weights fraction 2**exponent divided by their sum.

    Entries below 2**-1022 of the largest lose digits or vanish.

    >>> law_of(np.array([1.0, 0.75]), np.array([2000, 2002])).tolist()
    [0.25, 0.75]
    """
    fraction, more = np.frexp(fraction)
    powers = exponent + more
    law = shifted(fraction, powers - powers[fraction > 0].max())
    return law / law.sum()
