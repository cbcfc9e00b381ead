"""Two ways to make a claim hold by changing it, and that both are caught after a rewrite."""

from __future__ import annotations

import dataclasses

import pytest
from claim_cases import third

from qpapers import reproduce
from qpapers.digest import changed, digests, main
from qpapers.ledger import Claim

PAPERS = reproduce.PAPERS


def kept_digests(paper: str) -> str:
    return (reproduce.ledger_folder() / "qpapers" / paper / "digest.txt").read_text()


@pytest.mark.parametrize("paper", PAPERS)
def test_claims_have_the_digests_that_are_kept_by_hand(paper: str):
    assert changed(reproduce.paper_of(paper).claims, kept_digests(paper)) == []


@pytest.mark.parametrize("paper", PAPERS)
def test_a_tolerance_ten_times_wider_is_caught(paper: str):
    for claim in reproduce.paper_of(paper).claims:
        wider = dataclasses.replace(claim, tolerance=10 * claim.tolerance or 1e-16)
        lines = changed([wider], digests([claim]))
        assert len(lines) == 1 and lines[0].startswith(f"{claim.id}: ")


@pytest.mark.parametrize("paper", PAPERS)
def test_an_expected_number_that_is_the_one_obtained_is_caught(paper: str):
    kept = reproduce.kept_of(paper).numbers
    missed = [
        claim.id
        for claim in reproduce.paper_of(paper).claims
        if apart(claim, kept[claim.id])
        and not changed([dataclasses.replace(claim, expected=kept[claim.id])], digests([claim]))
    ]
    assert missed == []


def apart(claim: Claim, values: tuple[float, ...]) -> bool:
    """Whether a number obtained is another one than expected, in twelve digits."""
    return any(f"{a:.12g}" != f"{b:.12g}" for a, b in zip(claim.expected, values, strict=True))


@pytest.mark.parametrize(
    "changes",
    [
        {"expected": (1 / 3,)},
        {"tolerance": 2e-3},
        {"relation": "<="},
        {"verdict": "holds corrected"},
        {"number": "ours"},
        {"guard": True},
        {"printed": "0.334"},
        {"printed_of": "1/3"},
        {"id": "fourth"},
    ],
)
def test_whatever_decides_the_verdict_is_in_the_digest(changes: dict[str, object]):
    assert changed([third(**changes)], digests([third()])) != []


@pytest.mark.parametrize("changes", [{"statement": "1/3"}, {"why": "so"}, {"test": "a"}, {}])
def test_words_and_last_digits_are_not_in_the_digest(changes: dict[str, object]):
    last = third(expected=(0.333 * (1 + 2.0**-50),), **changes)
    assert changed([last], digests([third()])) == []


def test_a_claim_that_is_gone_and_one_that_is_new_are_named():
    told = digests([third(), third(id="gone")])
    lines = changed([third(), third(id="new")], told)
    assert [line.split(":")[0] for line in lines] == ["new", "gone"]


def test_the_lines_are_printed_for_a_person_to_copy(capsys: pytest.CaptureFixture[str]):
    assert main(["chains"]) == 0
    assert capsys.readouterr().out == kept_digests("chains")
