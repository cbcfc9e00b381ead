"""Numbers in a text, and whether they are those that a claim expects.

`Claim.printed` has the numbers to match as they are given. Each expected number, rounded to the
digits that are given, has to be among them: then neither can be changed without the other. Where
the text gives a number in another form, such as a formula, `Claim.printed_of` has an expression
whose value is that number, up to the claim's tolerance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import SupportsFloat, cast

from sympy import sympify

from qpapers.ledger import Claim, Values

NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:e-?\d+)?"
SHARE = re.compile(rf"(-?)({NUMBER})(?:\^\(?(-?\d+)\)?)?( ?%)?")
EXACT = 1e-9
"""Relative difference between two forms of one number, such as a quotient and its decimals."""


def untied(claim: Claim) -> list[float]:
    """Expected numbers that are neither given nor the value of an expression."""
    found = [(value, half + EXACT * abs(value)) for value, half in given(claim.printed)]
    found += [(value, claim.tolerance + EXACT * abs(value)) for value in derived(claim)]
    return [e for e in claim.expected if not any(abs(e - value) <= near for value, near in found)]


def derived(claim: Claim) -> Values:
    """The values of the expressions in `printed_of`."""
    values = cast(Sequence[SupportsFloat], sympify(f"[{claim.printed_of}]"))
    return tuple(float(value) for value in values)


def given(text: str) -> Iterator[tuple[float, float]]:
    """Numbers in a text, each with half a unit of its last digit; whole numbers are exact.

    A per cent counts as a hundredth too, and a / b as a quotient.

    >>> [value for value, _ in given("-.0434, 2^-2; 1/4, 1.5 / 0.5 and 1,000")]
    [-0.0434, 0.25, 1.0, 4.0, 0.25, 1.5, 0.5, 3.0, 1000.0]
    """
    last: tuple[float, int] | None = None
    for match in SHARE.finditer(text):
        sign, digits, power, per_cent = match.groups()
        if not re.search(r"\d", digits):
            continue
        value, half = _value(digits)
        value = value ** int(power) if power else value
        value = -value if sign and not _minus(text, match.start()) else value
        yield value, half
        if per_cent:
            half = half or 0.5
            yield value, half
            yield value / 100, half / 100
        if last and text[last[1] : match.start()].strip() == "/" and value:
            yield last[0] / value, 0.0
        last = value, match.end()


def _minus(text: str, at: int) -> bool:
    """Whether a sign between two numbers is a difference, as in 3-2."""
    return at > 0 and text[at - 1].isalnum()


def _value(digits: str) -> tuple[float, float]:
    mantissa, _, power = digits.replace(",", "").partition("e")
    decimals = len(mantissa.partition(".")[2])
    half = 0.0 if decimals == 0 and not power else 0.5 * 10.0 ** (int(power or 0) - decimals)
    return float(digits.replace(",", "")), half
