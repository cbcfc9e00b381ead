"""How far floats are from rational numbers."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction


def relative_error(
    found: Iterable[float], exact: Iterable[Fraction | int], total: Fraction | int = 1
) -> float:
    """Largest |found / (exact / total) - 1|, rounded once; exact numbers are positive.

    Whole numbers of many digits are divided as they are: common divisors would take all the time.
    """
    errors: list[float] = []
    for number, e in zip(found, exact, strict=True):
        p, q = float(number).as_integer_ratio()
        n, d = e.numerator * total.denominator, e.denominator * total.numerator
        errors.append(abs(p * d - n * q) / (n * q))
    return max(errors)
