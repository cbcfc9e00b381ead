"""Ledgers: what a paper claims, in our notation, and what running the claim gives.

A `Claim` names a statement, the code that evaluates it, the test that checks it, the numbers to
match, whose numbers these are, and a function that obtains them. Its verdict is

    holds             the numbers match, and so does the statement as it is usually quoted
    holds corrected   they match a corrected statement, which the text gives
    not reproduced    they do not match; or the statement is known not to be seen, and the numbers
                      to match are those seen instead

The verdict of a claim that only excludes something says "guard" in place of "holds". A verdict on
numbers that are not printed in the paper says whose they are, after a comma.

`qpapers.tables` writes the ledger into `papers/<key>.md`, `qpapers.kept` keeps the numbers last
obtained in `papers/qpapers/<key>/numbers.json`, and `qpapers.digest` ties the numbers to match to
a file that no command writes.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["holds", "holds corrected", "not reproduced"]
Relation: TypeAlias = Literal["=", "<=", ">="]
Origin: TypeAlias = Literal["printed", "noted", "ours"]
Values: TypeAlias = tuple[float, ...]

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""
MOST_DECIMALS, BOUND_DECIMALS = 15, 4


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement of a paper and the numbers that decide it.

    id: unique within the paper. statement: in our notation. code: the function, class or method
    that evaluates it. test: "file.py::function" of a test that checks it. printed: the numbers to
    match as they are given, in words if there is something to say. number: whose they are -
    "printed" in the paper; "noted" from elsewhere, such as memory of the paper, its public code,
    another text or an earlier simulation; or "ours", derived here. expected, tolerance, relation:
    each number obtained is `relation` the expected one, up to an absolute tolerance; why: a
    sentence that derives the tolerance. run: obtains the numbers. verdict: what it means if they
    match. slow: longer than a second or two, so not run by the tests. guard: numbers that say
    nothing, such as zeros or those of another claim, match as well, so that the claim only
    excludes something. printed_of: the numbers that `printed` gives, computed another way, if
    they are not those expected; see `qpapers.printed`.

    Raises ValueError if nothing is expected, a number is not finite, or the tolerance is negative
    or has no derivation.
    """

    id: str
    statement: str
    code: object
    test: str
    printed: str
    number: Origin
    expected: Values
    tolerance: float
    why: str
    run: Callable[[], Sequence[float]]
    verdict: Verdict = "holds"
    slow: bool = False
    relation: Relation = "="
    guard: bool = False
    printed_of: str = ""

    def __post_init__(self) -> None:
        if not self.expected or not all(math.isfinite(x) for x in self.expected):
            raise ValueError(f"a claim expects finite numbers, at least one, got {self.expected}")
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise ValueError(f"a tolerance is finite and >= 0, got {self.tolerance}")
        if not self.why:
            raise ValueError(f"a tolerance has a sentence that derives it, got none for {self.id}")
        texts = (self.id, self.statement, self.test, self.printed, self.why, self.printed_of)
        if any("|" in text or "\n" in text for text in texts):
            raise ValueError(f"a text of a table has no | and no line end, got one in {self.id}")

    @property
    def where(self) -> str:
        """The code as "file.py:name", the file as seen from the checkout."""
        return place(self.code)

    def obtain(self) -> Values:
        """Run it. Raises ValueError if it gives another number of numbers than are expected."""
        values = tuple(float(value) for value in self.run())
        if len(values) != len(self.expected):
            raise ValueError(
                f"{self.id} obtains {len(self.expected)} numbers, got {len(values)}: {values}"
            )
        return values

    def judge(self, values: Values) -> Verdict:
        """The verdict on numbers obtained."""
        return self.verdict if self.matches(values) else "not reproduced"

    def says(self, values: Values) -> str:
        """The verdict as the ledger shows it: whether it is a guard, and whose number was met."""
        verdict: str = self.judge(values)
        if self.guard:
            guard = verdict.replace("holds", "guard")
            verdict = guard if guard != verdict else f"{verdict}, guard"
        return verdict if self.number == "printed" else f"{verdict}, {self.number}"

    def matches(self, values: Values) -> bool:
        """Whether numbers obtained are those expected; NaN is never a match."""
        return len(values) == len(self.expected) and all(map(self._within, values, self.expected))

    def _within(self, value: float, expected: float) -> bool:
        if self.relation == "<=":
            return value <= expected + self.tolerance
        if self.relation == ">=":
            return value >= expected - self.tolerance
        return abs(value - expected) <= self.tolerance

    @property
    def decimals(self) -> int:
        """Decimals that are shown: a tenth of the tolerance is seen, or rounding errors are not.

        4 for a bound, 15 for what is exact.
        """
        if self.relation != "=":
            return BOUND_DECIMALS
        if self.tolerance == 0:
            return MOST_DECIMALS
        more = 1 if self.tolerance > 1e-9 else 0
        return min(max(math.ceil(-math.log10(self.tolerance)) + more, 0), MOST_DECIMALS)

    def agree(self, values: Values, others: Values) -> bool:
        """Whether two sets of numbers obtained are the same up to one unit of what is shown.

        The same numbers in another order of additions may fall to either side of a rounding
        boundary of the last decimal, no further.
        """
        unit = 10.0**-self.decimals
        return len(values) == len(others) and all(
            abs(a - b) <= unit for a, b in zip(values, others, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Paper:
    """A paper and its claims: key is that of references.bib, chapters are modules with CLAIMS.

    verified: whether the paper's print was at hand. Raises ValueError if it was not, and a claim
    says that its number is printed there.
    """

    key: str
    chapters: tuple[ModuleType, ...]
    verified: bool

    def __post_init__(self) -> None:
        said = [claim.id for claim in self.claims if claim.number == "printed"]
        if said and not self.verified:
            raise ValueError(
                f"a number is said to be printed if the print was at hand, got {said} of {self.key}"
            )

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The claims of all chapters, in their order."""
        return tuple(claim for chapter in self.chapters for claim in chapter.CLAIMS)


def place(code: object) -> str:
    """A function, class or method as "file.py:name", the file as seen from the checkout.

    Raises ValueError for what has no source in the checkout.

    >>> place(Claim.judge)
    'papers/qpapers/ledger.py:Claim.judge'
    """
    if isinstance(code, property):
        code = code.fget
    found = inspect.unwrap(code) if callable(code) else code
    name = getattr(found, "__qualname__", "")
    file = Path(getattr(inspect.getmodule(found), "__file__", ""))
    ours = file.is_relative_to(ROOT) and "site-packages" not in file.parts
    if not name or "<" in name or not ours:
        raise ValueError(f"the code of a claim is named in the checkout, got {code}")
    return f"{file.relative_to(ROOT).as_posix()}:{name}"
