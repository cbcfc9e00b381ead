"""No claim holds for zeros or for another claim's numbers, but those that say so."""

from __future__ import annotations

import pytest
from claim_cases import third

from qpapers import reproduce
from qpapers.vacuous import BY_CHANCE, main, mistaken, vacuous

HALF = third(id="half", expected=(0.5,), printed="0.5")
KEPT = {"third": (1 / 3,), "half": (0.5,)}


@pytest.mark.parametrize("paper", reproduce.PAPERS)
def test_a_claim_that_takes_other_numbers_is_a_guard(paper: str):
    claims = reproduce.paper_of(paper).claims
    found = vacuous(claims, reproduce.kept_of(paper).numbers)
    guards = {claim.id for claim in claims if claim.guard}
    assert {name: others for name, others in found.items() if name not in guards} == {}


@pytest.mark.parametrize(
    ("changes", "takes"),
    [
        ({}, []),
        ({"tolerance": 0.2}, ["half"]),
        ({"tolerance": 0.4}, ["zeros", "half"]),
        ({"relation": "<="}, ["zeros"]),
        ({"relation": ">="}, ["half"]),
        ({"expected": (0.0,)}, []),
        ({"expected": (0.0,), "tolerance": 0.5}, ["half"]),
        ({"expected": (0.0,), "relation": ">="}, ["zeros", "half"]),
        ({"expected": (0.5,), "tolerance": 0.1}, []),
        ({"expected": (0.0, 0.5), "tolerance": 0.6}, ["zeros"]),
    ],
)
def test_zeros_and_siblings_are_tried(changes: dict[str, object], takes: list[str]):
    one = third(**changes)
    assert mistaken(one, [one, HALF], KEPT) == takes
    assert vacuous([one, HALF], KEPT) == ({"third": takes} if takes else {})


def test_each_exception_is_needed():
    claims = {c.id: c for paper in reproduce.PAPERS for c in reproduce.paper_of(paper).claims}
    kept = {n: v for p in reproduce.PAPERS for n, v in reproduce.kept_of(p).numbers.items()}
    for name, others in BY_CHANCE.items():
        assert all(claims[name].matches(kept[other]) for other in others), name
        assert claims[name].tolerance < min(claims[name].expected) / 6, name


def test_the_command_lists_them(capsys: pytest.CaptureFixture[str]):
    assert main(["li2017"]) == 0
    text = capsys.readouterr().out
    assert "li2017 thm-3 (guard): zeros" in text and "NO GUARD" not in text
