"""Ledgers: tables and code agree, and a disagreement is noticed."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest

from qpapers import li2017, reproduce
from qpapers.ledger import (
    BEGIN,
    END,
    Claim,
    Kept,
    Paper,
    between_markers,
    dumped,
    loaded,
    table,
    with_table,
)

ROOT = Path(__file__).resolve().parents[2]
PAPERS = reproduce.PAPERS


def disagreements(paper: str, claims: Iterable[Claim], note: str, numbers: str) -> list[str]:
    """Where note, kept numbers and claims differ; the claims that are not slow are run."""
    claims, kept = list(claims), loaded(numbers)
    found = [] if between_markers(note) == table(claims, kept) else [f"{paper}.md: the table"]
    found += [] if numbers == dumped(claims, kept) else [f"{paper}.json: its claims"]
    for claim in claims:
        if claim.id not in kept:
            found.append(f"{claim.id}: not run")
        elif not claim.slow and not claim.agree(claim.obtain(), kept[claim.id]):
            found.append(f"{claim.id}: other numbers")
    return found


def misplaced(claim: Claim) -> list[str]:
    """References "file.py:function" and "file.py::test" of a claim that lead nowhere."""

    def defines(reference: str, separator: str) -> bool:
        file, _, name = reference.partition(separator)
        if not (ROOT / file).is_file():
            return False
        kinds = (ast.FunctionDef, ast.ClassDef)
        tree = ast.walk(ast.parse((ROOT / file).read_text()))
        return any(isinstance(node, kinds) and node.name == name for node in tree)

    found = [] if defines(claim.where, ":") else [f"{claim.id}: no {claim.where}"]
    return found + ([] if defines(claim.test, "::") else [f"{claim.id}: no {claim.test}"])


def kept_of(paper: str) -> tuple[str, str]:
    folder = ROOT / "papers"
    return (folder / f"{paper}.md").read_text(), (
        folder / "qpapers" / paper / "numbers.json"
    ).read_text()


@pytest.mark.parametrize("paper", PAPERS)
def test_table_and_code_agree(paper: str):
    assert disagreements(paper, reproduce.claims_of(paper), *kept_of(paper)) == []


@pytest.mark.parametrize("paper", PAPERS)
def test_code_and_tests_that_a_claim_names_exist(paper: str):
    claims = reproduce.claims_of(paper)
    assert [line for claim in claims for line in misplaced(claim)] == []
    lost = dataclasses.replace(claims[0], where="papers/qpapers/ledger.py:nothing", test="a.py::b")
    assert len(misplaced(lost)) == 2


@pytest.mark.parametrize("paper", PAPERS)
def test_every_claim_is_reproduced(paper: str):
    kept = loaded(kept_of(paper)[1])
    judged = {c.id: c.judge(kept[c.id]) for c in reproduce.claims_of(paper)}
    known = {c.id for c in reproduce.claims_of(paper) if c.verdict == "not reproduced"}
    assert {name for name, verdict in judged.items() if verdict == "not reproduced"} == known
    assert all(c.matches(kept[c.id]) for c in reproduce.claims_of(paper))


def claim(**changes: object) -> Claim:
    """One third, to four decimals."""
    values: dict[str, object] = {
        "id": "third",
        "statement": "a third",
        "where": "papers/qpapers/ledger.py:Claim",
        "test": "tests/papers/test_ledger.py::test_a_disagreement_is_found",
        "printed": "0.333",
        "expected": (0.333,),
        "tolerance": 1e-3,
        "why": "three decimals are given",
        "run": lambda: (1 / 3,),
    }
    return Claim(**{**values, **changes})  # pyright: ignore[reportArgumentType]


def note_and_numbers(claims: list[Claim], kept: Kept) -> tuple[str, str]:
    return f"{BEGIN}\n{table(claims, kept)}\n{END}\n", dumped(claims, kept)


def test_a_disagreement_is_found():
    one = claim()
    right = note_and_numbers([one], {"third": (0.33333,)})
    assert disagreements("x", [one], *right) == []
    wrong = {
        "x.md: the table": disagreements(
            "x", [one], right[0].replace("0.3333", "0.3334"), right[1]
        ),
        "third: other numbers": disagreements(
            "x", [one], *note_and_numbers([one], {"third": (0.3335,)})
        ),
        "third: not run": disagreements("x", [one], *note_and_numbers([one], {})),
    }
    assert all(lines == [name] for name, lines in wrong.items()), wrong
    reworded = dataclasses.replace(one, statement="a fourth")
    assert disagreements("x", [reworded], *right) == ["x.md: the table"]
    stale = '{"third": [0.33333], "gone": [1.0]}\n'
    assert disagreements("x", [one], right[0], stale) == ["x.json: its claims"]


@pytest.mark.parametrize(
    ("changes", "values", "verdict"),
    [
        ({}, (0.3339,), "holds"),
        ({}, (0.3341,), "not reproduced"),
        ({}, (float("nan"),), "not reproduced"),
        ({}, (0.333, 0.333), "not reproduced"),
        ({"verdict": "holds corrected"}, (0.333,), "holds corrected"),
        ({"relation": "<="}, (-5.0,), "holds"),
        ({"relation": "<="}, (0.3341,), "not reproduced"),
        ({"relation": ">="}, (5.0,), "holds"),
        ({"relation": ">="}, (0.3319,), "not reproduced"),
    ],
)
def test_a_verdict_follows_from_the_numbers(
    changes: dict[str, object], values: tuple[float, ...], verdict: str
):
    assert claim(**changes).judge(values) == verdict


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"expected": ()}, "at least one"),
        ({"expected": (float("inf"),)}, "finite"),
        ({"tolerance": -1.0}, "a tolerance is finite and >= 0"),
        ({"why": ""}, "a sentence that derives it"),
        ({"statement": "a | b"}, "no |"),
    ],
)
def test_a_claim_validates_itself(changes: dict[str, object], rule: str):
    with pytest.raises(ValueError, match=rule):
        claim(**changes)


def test_other_numbers_than_expected_are_refused():
    with pytest.raises(ValueError, match="third obtains 1 numbers, got 2"):
        claim(run=lambda: (1.0, 2.0)).obtain()


def test_markers_stand_once_and_in_order():
    for text in ("", f"{BEGIN}\n{BEGIN}\n{END}", f"{END}\n{BEGIN}"):
        with pytest.raises(ValueError, match="a note has one"):
            with_table(text, "new")
    assert with_table(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\nnew\n{END}\nb"


def test_claims_are_there_and_have_ids_of_their_own(monkeypatch: pytest.MonkeyPatch):
    for found, rule in (
        ((), "a ledger needs claims, got none for li2017"),
        ((claim(), claim()), "a claim has an id of its own, got"),
    ):
        chapter = SimpleNamespace(CLAIMS=found)
        monkeypatch.setattr(li2017, "PAPER", Paper("li2017", chapters=(chapter,)))
        with pytest.raises(ValueError, match=rule):
            reproduce.claims_of("li2017")


@pytest.mark.parametrize(
    ("changes", "decimals"),
    [
        ({}, 4),
        ({"tolerance": 0.5}, 2),
        ({"tolerance": 1e-14}, 14),
        ({"tolerance": 0.0}, 15),
        ({"tolerance": 0.0, "relation": "<="}, 4),
    ],
)
def test_numbers_are_shown_as_far_as_they_are_known(changes: dict[str, object], decimals: int):
    assert claim(**changes).decimals == decimals
