"""Ledgers: tables and code agree, and a disagreement is noticed."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest
from claim_cases import paper_of, third

from qpapers import li2017, reproduce
from qpapers.kept import Kept, dumped, loaded
from qpapers.ledger import Claim, Paper
from qpapers.tables import between_markers, ledger, overview

ROOT = Path(__file__).resolve().parents[2]
PAPERS = reproduce.PAPERS


def disagreements(paper: Paper, note: str, numbers: str) -> list[str]:
    """Where note, kept numbers and claims differ; the claims that are not slow are run."""
    kept = loaded(numbers)
    found = [] if between_markers(note) == ledger(paper, kept.numbers) else ["the ledger"]
    found += [] if numbers == dumped(paper.claims, kept) else ["numbers.json: its claims"]
    for claim in paper.claims:
        if claim.id not in kept.numbers:
            found.append(f"{claim.id}: not run")
        elif not claim.slow and not claim.agree(claim.obtain(), kept.numbers[claim.id]):
            found.append(f"{claim.id}: other numbers")
    return found


def lost(claim: Claim) -> list[str]:
    """A reference "file.py::test" of a claim that leads nowhere."""
    file, _, name = claim.test.partition("::")
    tree = ast.walk(ast.parse((ROOT / file).read_text())) if (ROOT / file).is_file() else ()
    there = any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree)
    return [] if there else [f"{claim.id}: no {claim.test}"]


def texts_of(paper: str) -> tuple[str, str]:
    """The note and the kept numbers."""
    folder = ROOT / "papers"
    numbers = folder / "qpapers" / paper / "numbers.json"
    return (folder / f"{paper}.md").read_text(), numbers.read_text()


@pytest.mark.parametrize("paper", PAPERS)
def test_ledger_and_code_agree(paper: str):
    assert disagreements(reproduce.paper_of(paper), *texts_of(paper)) == []


def test_the_overview_is_of_all_papers():
    kept = {name: reproduce.kept_of(name).numbers for name in PAPERS}
    table = overview(map(reproduce.paper_of, PAPERS), kept)
    assert between_markers((ROOT / "papers" / "README.md").read_text()) == table
    assert table.count("\n") == len(PAPERS) + 2


@pytest.mark.parametrize("paper", PAPERS)
def test_code_and_tests_that_a_claim_names_exist(paper: str):
    claims = reproduce.paper_of(paper).claims
    assert [line for claim in claims for line in lost(claim)] == []
    assert all((ROOT / claim.where.partition(":")[0]).is_file() for claim in claims)
    for test in ("tests/nothing.py::b", "tests/papers/test_ledger.py::nothing"):
        assert lost(dataclasses.replace(claims[0], test=test)) == [f"{claims[0].id}: no {test}"]


@pytest.mark.parametrize("paper", PAPERS)
def test_every_claim_is_reproduced(paper: str):
    kept, claims = reproduce.kept_of(paper).numbers, reproduce.paper_of(paper).claims
    assert [claim.id for claim in claims if not claim.matches(kept[claim.id])] == []


def note_and_numbers(paper: Paper, kept: Kept) -> tuple[str, str]:
    note = f"<!-- ledger: begin -->\n{ledger(paper, kept.numbers)}\n<!-- ledger: end -->\n"
    return note, dumped(paper.claims, kept)


def test_a_disagreement_is_found():
    one = paper_of(third())
    right = note_and_numbers(one, Kept({"third": (0.33333,)}))
    assert disagreements(one, *right) == []
    wrong = {
        "the ledger": disagreements(one, right[0].replace("0.3333", "0.3334"), right[1]),
        "third: other numbers": disagreements(
            one, *note_and_numbers(one, Kept({"third": (0.3335,)}))
        ),
        "third: not run": disagreements(one, *note_and_numbers(one, Kept({}))),
    }
    assert all(lines == [name] for name, lines in wrong.items()), wrong
    for changes in ({"statement": "a fourth"}, {"why": "so"}, {"code": Paper}, {"number": "ours"}):
        assert disagreements(paper_of(third(**changes)), *right) == ["the ledger"]
    stale = note_and_numbers(paper_of(third(), third(id="gone")), Kept({"gone": (1.0,)}))[1]
    assert disagreements(one, right[0], stale) != []


def test_claims_are_there_and_have_ids_of_their_own(monkeypatch: pytest.MonkeyPatch):
    for claims, rule in (
        ((), "a ledger needs claims, got none for li2017"),
        ((third(), third()), "a claim has an id of its own, got"),
    ):
        monkeypatch.setattr(li2017, "PAPER", paper_of(*claims))
        with pytest.raises(ValueError, match=rule):
            reproduce.paper_of("li2017")
