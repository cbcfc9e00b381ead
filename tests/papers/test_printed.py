"""Numbers to match in words are the numbers expected."""

from __future__ import annotations

import dataclasses

import pytest
from claim_cases import third

from qpapers import reproduce
from qpapers.printed import derived, given, untied


@pytest.mark.parametrize("paper", reproduce.PAPERS)
def test_each_expected_number_is_given(paper: str):
    found = {claim.id: untied(claim) for claim in reproduce.paper_of(paper).claims}
    assert {name: numbers for name, numbers in found.items() if numbers} == {}


@pytest.mark.parametrize(
    ("text", "value", "half"),
    [
        ("at most 0.032", 0.032, 0.0005),
        ("(Eq. -.0434)", -0.0434, 5e-5),
        ("5.3e-5 5.0e-9", 5e-9, 5e-11),
        ("up to 5e-7", 5e-7, 5e-7 / 10),
        ("10,000 draws", 10_000.0, 0.0),
        ("2^-14, 2^-2", 2.0**-14, 0.0),
        ("-2^7", -128.0, 0.0),
        ("3/7, 6/7", 3 / 7, 0.0),
        ("0.01185 / 0.00967", 0.01185 / 0.00967, 0.0),
        ("23 %", 0.23, 0.005),
        ("2.5 %", 0.025, 0.0005),
    ],
)
def test_a_number_is_read_with_half_a_unit_of_its_last_digit(text: str, value: float, half: float):
    near = [h for v, h in given(text) if v == pytest.approx(value, rel=1e-12)]
    assert near and near[0] == pytest.approx(half, rel=1e-12)


def test_words_have_no_numbers():
    assert list(given("at most, none - or all. Yes, a / b")) == []


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({}, []),
        ({"expected": (0.3334,)}, []),
        ({"expected": (0.334,)}, [0.334]),
        ({"expected": (0.333, 5.0)}, [5.0]),
        ({"printed": "a third"}, [0.333]),
        ({"printed": "a third", "printed_of": "1/3"}, []),
        ({"printed": "a third", "printed_of": "1/4"}, [0.333]),
        ({"printed": "the whole number 3", "expected": (3.2,)}, [3.2]),
    ],
)
def test_an_expected_number_that_is_not_given_is_found(
    changes: dict[str, object], missing: list[float]
):
    assert untied(third(**changes)) == missing


def test_expressions_are_evaluated():
    assert derived(third(printed_of="tanh(3), log(8e-133, 10), pi**2/8")) == pytest.approx(
        (0.99505475, -132.09691, 1.2337006), rel=1e-7
    )


def test_a_number_obtained_in_place_of_one_given_is_found():
    """Three that were measured, not proved: each is off by more than the digits given."""
    kept = reproduce.kept_of("li2017").numbers
    names = {"thm-1-floor-strong", "thm-2-example", "net-errors"}
    claims = [c for c in reproduce.paper_of("li2017").claims if c.id in names]
    assert len(claims) == 3
    for claim in claims:
        assert untied(dataclasses.replace(claim, expected=kept[claim.id]))
