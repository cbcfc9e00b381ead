"""Numbers beyond the range of a float: as fraction times 2**exponent, or refused."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

Fractions = Float[ndarray, "levels"]
Exponents = Int64[ndarray, "levels"]
Values = TypeVar("Values", float, ndarray)


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


def within_range(values: Values, quantity: str) -> Values:
    """The values. Raises OverflowError if one is infinite or NaN: the one message for this fact.

    >>> within_range(float("inf"), "a mean time")
    Traceback (most recent call last):
    ...
    OverflowError: a mean time is above 2**1022, beyond the range of a float
    """
    if not np.isfinite(values).all():
        raise OverflowError(beyond_range(quantity))
    return values


def beyond_range(quantity: str) -> str:
    """What is said of a quantity that no float holds."""
    return f"{quantity} is above 2**1022, beyond the range of a float"
