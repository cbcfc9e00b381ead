"""One claim: what it refuses, what it is judged, how its code is named."""

from __future__ import annotations

from functools import cache

import pytest
from claim_cases import paper_of, third

from qpapers.ledger import Claim, place
from qtheory.lattice import Lattice
from qtheory.limits.generator import limit_law


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
        ({"relation": "<="}, (float("nan"),), "not reproduced"),
        ({"relation": ">="}, (5.0,), "holds"),
        ({"relation": ">="}, (0.3319,), "not reproduced"),
    ],
)
def test_a_verdict_follows_from_the_numbers(
    changes: dict[str, object], values: tuple[float, ...], verdict: str
):
    assert third(**changes).judge(values) == verdict


@pytest.mark.parametrize(
    ("changes", "value", "said"),
    [
        ({"number": "printed"}, 0.333, "holds"),
        ({"number": "noted"}, 0.333, "holds, noted"),
        ({"number": "ours"}, 0.333, "holds, ours"),
        ({"number": "ours", "guard": True}, 0.333, "guard, ours"),
        ({"number": "printed", "verdict": "holds corrected"}, 0.333, "holds corrected"),
        ({"guard": True, "verdict": "holds corrected"}, 0.333, "guard corrected, noted"),
        ({"number": "ours"}, 0.5, "not reproduced, ours"),
        ({"number": "ours", "guard": True}, 0.5, "not reproduced, guard, ours"),
    ],
)
def test_a_verdict_says_whose_number_was_met(changes: dict[str, object], value: float, said: str):
    assert third(**changes).says((value,)) == said


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"expected": ()}, "at least one"),
        ({"expected": (float("inf"),)}, "finite"),
        ({"tolerance": -1.0}, "a tolerance is finite and >= 0"),
        ({"why": ""}, "a sentence that derives it"),
        ({"statement": "a | b"}, "no |"),
        ({"printed_of": "1/3\n"}, "no line end"),
    ],
)
def test_a_claim_validates_itself(changes: dict[str, object], rule: str):
    with pytest.raises(ValueError, match=rule):
        third(**changes)


def test_other_numbers_than_expected_are_refused():
    with pytest.raises(ValueError, match="third obtains 1 numbers, got 2"):
        third(run=lambda: (1.0, 2.0)).obtain()


def test_nothing_is_printed_in_a_paper_that_was_not_at_hand():
    assert paper_of(third(number="printed"), verified=True).claims[0].says((0.333,)) == "holds"
    with pytest.raises(ValueError, match=r"printed if the print was at hand, got \['third'\]"):
        paper_of(third(number="printed"))


@cache
def cached() -> int:
    return 1


@pytest.mark.parametrize(
    ("code", "where"),
    [
        (limit_law, "qtheory/limits/generator.py:limit_law"),
        (Lattice, "qtheory/lattice.py:Lattice"),
        (Lattice.z, "qtheory/lattice.py:Lattice.z"),
        (Claim.where, "papers/qpapers/ledger.py:Claim.where"),
        (cached, "tests/papers/test_claim.py:cached"),
    ],
)
def test_code_is_named_by_file_and_name(code: object, where: str):
    assert place(code) == where


@pytest.mark.parametrize("code", [lambda: 1, 3, "qtheory/lattice.py:Lattice", len, pytest.raises])
def test_what_is_no_code_of_the_checkout_is_refused(code: object):
    with pytest.raises(ValueError, match="the code of a claim is named in the checkout, got"):
        place(code)


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
    assert third(**changes).decimals == decimals
