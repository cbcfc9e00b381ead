"""A claim and a paper to try rules on."""

from __future__ import annotations

from types import ModuleType

from qpapers.ledger import Claim, Paper


def third(**changes: object) -> Claim:
    """One third, to four decimals."""
    values: dict[str, object] = {
        "id": "third",
        "statement": "a third",
        "code": Claim,
        "test": "tests/papers/test_ledger.py::test_a_disagreement_is_found",
        "printed": "0.333",
        "number": "noted",
        "expected": (0.333,),
        "tolerance": 1e-3,
        "why": "three decimals are given",
        "run": lambda: (1 / 3,),
    }
    return Claim(**{**values, **changes})  # pyright: ignore[reportArgumentType]


def paper_of(*claims: Claim, verified: bool = False, key: str = "li2017") -> Paper:
    """A paper of one chapter."""
    chapter = ModuleType("qpapers.li2017.numbers", "Numbers to try.")
    chapter.CLAIMS = claims  # pyright: ignore[reportAttributeAccessIssue]
    return Paper(key, chapters=(chapter,), verified=verified)
