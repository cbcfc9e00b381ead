"""Ledgers: what a paper claims, in our notation, and what running the claim gives.

A `Claim` names a statement, the code that evaluates it, the test that checks it, the numbers to
match and a function that obtains them. Its verdict is

    holds             the numbers match, and so does the statement as it is usually quoted
    holds corrected   they match a corrected statement, which the text gives
    not reproduced    they do not match; or the statement is known not to be seen, and the numbers
                      to match are those seen instead

`papers/qpapers/<key>/numbers.json` keeps the numbers last obtained and `papers/<key>.md` has their
table between two markers; `qtheory reproduce <key>` rewrites both, and a test fails when they and
the claims disagree.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["holds", "holds corrected", "not reproduced"]
Relation: TypeAlias = Literal["=", "<=", ">="]
Values: TypeAlias = tuple[float, ...]
Kept: TypeAlias = Mapping[str, Values]
"""Numbers obtained, by the id of the claim."""

BEGIN, END = "<!-- ledger: begin -->", "<!-- ledger: end -->"
MOST_DECIMALS, BOUND_DECIMALS = 15, 4


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement of a paper and the numbers that decide it.

    id: unique within the paper. statement: in our notation. where: "file.py:function" of the code
    that evaluates it. test: "file.py::function" of a test that checks it. printed: the numbers to
    match as they are given, in words if there is something to say. expected, tolerance, relation:
    each number obtained is `relation` the expected one, up to an absolute tolerance; why: a
    sentence that derives the tolerance. run: obtains the numbers. verdict: what it means if they
    match. slow: longer than a second or two, so not run by the tests.

    Raises ValueError if nothing is expected, a number is not finite, or the tolerance is negative
    or has no derivation.
    """

    id: str
    statement: str
    where: str
    test: str
    printed: str
    expected: Values
    tolerance: float
    why: str
    run: Callable[[], Sequence[float]]
    verdict: Verdict = "holds"
    slow: bool = False
    relation: Relation = "="

    def __post_init__(self) -> None:
        if not self.expected or not all(math.isfinite(x) for x in self.expected):
            raise ValueError(f"a claim expects finite numbers, at least one, got {self.expected}")
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise ValueError(f"a tolerance is finite and >= 0, got {self.tolerance}")
        if not self.why:
            raise ValueError(f"a tolerance has a sentence that derives it, got none for {self.id}")
        texts = (self.id, self.statement, self.where, self.test, self.printed, self.why)
        if any("|" in text or "\n" in text for text in texts):
            raise ValueError(f"a text of a table has no | and no line end, got one in {self.id}")

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
    """A paper and its claims: key is that of references.bib, chapters are modules with CLAIMS."""

    key: str
    chapters: tuple[ModuleType, ...]

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The claims of all chapters, in their order."""
        return tuple(claim for chapter in self.chapters for claim in chapter.CLAIMS)


def shown(value: float, decimals: int) -> str:
    """A number with so many decimals, without trailing zeros; smaller ones with an exponent.

    >>> shown(0.3117400001, 5), shown(-0.0, 3), shown(2.5e-8, 9), shown(-4.44e-16, 3)
    ('0.31174', '0', '2.5e-08', '-4.4e-16')
    """
    if not math.isfinite(value) or 0 < abs(value) < max(1e-4, 10.0**-decimals):
        return f"{value:.2g}"
    text = f"{value:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.removeprefix("-") if float(text) == 0 else text


def table(claims: Iterable[Claim], kept: Kept) -> str:
    """The ledger as a table in Markdown; a claim without numbers says "not run"."""
    head = "| id | claim, in our notation | code | test | to match | within | obtained | verdict |"
    lines = [head, "|" + "---|" * 8]
    for claim in claims:
        values = kept.get(claim.id)
        sign = "" if claim.relation == "=" else f"{claim.relation} "
        cells = [
            claim.id,
            claim.statement,
            f"`{claim.where}`",
            f"`{claim.test}`",
            claim.printed,
            f"{sign}{', '.join(f'{e:g}' for e in claim.expected)} ± {claim.tolerance:.2g}: "
            f"{claim.why}",
            ", ".join(shown(v, claim.decimals) for v in values) if values else "not run",
            claim.judge(values) if values else "not run",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def between_markers(text: str) -> str:
    """What stands between the markers of a note. Raises ValueError if they are not there once."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"a note has one {BEGIN} and, after it, one {END}")
    return text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip("\n")


def with_table(text: str, new: str) -> str:
    """The note with another table between its markers. Raises ValueError as `between_markers`."""
    between_markers(text)
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    return f"{before}\n{new}\n{after}"


def dumped(claims: Iterable[Claim], kept: Kept) -> str:
    """Kept numbers as JSON, in the order of the claims; those of no claim are dropped."""
    return json.dumps({c.id: list(kept[c.id]) for c in claims if c.id in kept}, indent=1) + "\n"


def loaded(text: str) -> dict[str, Values]:
    """Kept numbers from JSON."""
    return {name: tuple(float(v) for v in values) for name, values in json.loads(text).items()}
