"""The ledger: what is spent, what is declared, what a person reads."""

import json
import math

import pytest
from jaxtyping import TypeCheckError

from qtheory.evidence import Claim, Suite


@pytest.mark.parametrize(
    ("kind", "evidence", "share", "holds"),
    [
        ("exact", 0, 0.0, True),
        ("exact", 1, 0.0, False),
        ("p-value", 1.01e-9, 1e-9, True),
        ("p-value", 1e-9, 1e-9, False),
        ("p-value", 0.0, 1e-9, False),
        ("e-value", 20.7, 1e-9, True),
        ("e-value", 20.8, 1e-9, False),  # log(1e9) = 20.72
        ("e-value", -math.inf, 1e-9, True),
        ("e-value", math.inf, 1e-9, False),
    ],
)
def test_a_claim_fails_at_its_share(kind, evidence: float, share: float, holds: bool):
    assert Claim("c", kind, 10, evidence, share).holds is holds


@pytest.mark.parametrize(
    "wrong",
    [
        {"evidence": math.nan},
        {"evidence": -0.1},
        {"evidence": 1.1},
        {"share": 0.0},
        {"share": 1.0},
        {"kind": "exact"},
        {"miss": 0.0},
    ],
)
def test_a_claim_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="got"):
        Claim(**{"name": "c", "kind": "p-value", "draws": 1, "evidence": 0.5, "share": 0.1} | wrong)


def test_a_kind_that_is_none_is_refused():
    with pytest.raises((ValueError, TypeCheckError), match="chi-square"):
        Claim("c", "chi-square", 1, 0.5, 0.1)  # type: ignore[arg-type]


def test_shares_sum_to_the_budget_at_most():
    for n in (3, 7, 10, 49, 1000):
        suite = Suite(1e-6, {str(i): 1e-6 / n for i in range(n)})
        assert math.fsum(suite.shares.values()) <= 1e-6 * (1 + 2.0**-52)
    with pytest.raises(ValueError, match="sum to at most 1e-06"):
        Suite(1e-6, {"a": 5e-7, "b": 5.001e-7})
    with pytest.raises(ValueError, match="got 0"):
        Suite(1e-6, {"a": 0.0})
    with pytest.raises(ValueError, match="got 2"):
        Suite(2, {})


def test_a_manifest_is_fixed_when_the_suite_is_made():
    shares = {"a": 1e-7}
    suite = Suite(1e-6, shares)
    shares["b"] = 1.0
    with pytest.raises(ValueError, match="'b'"):
        suite.share("b")


def test_a_claim_spends_what_it_declared_once():
    suite = Suite(1e-6, {"a": 1e-7})
    for claim in (
        Claim("a", "p-value", 1, 0.5, 2e-7),
        Claim("a", "exact", 1, 0, 0.0),
        Claim("b", "p-value", 1, 0.5, 1e-7),
    ):
        with pytest.raises(ValueError, match="declared"):
            suite.add(claim)
    suite.add(Claim("a", "p-value", 1, 0.5, 1e-7))
    with pytest.raises(ValueError, match="judged once"):
        suite.add(Claim("a", "p-value", 1, 0.5, 1e-7))
    assert [claim.name for claim in suite.claims] == ["a"]


def test_one_failure_fails_the_suite_and_nothing_does_not_hold():
    suite = Suite(1e-6, {"a": 1e-7, "b": 1e-7})
    assert not suite.holds and suite.missing == ("a", "b")
    suite.add(Claim("a", "e-value", 5, 1.0, 1e-7, 0.2))
    suite.add(Claim("words", "exact", 5, 0, 0.0))
    assert suite.holds and suite.missing == ("b",)
    suite.add(Claim("b", "p-value", 5, 0.0, 1e-7))
    assert not suite.holds


def test_the_table_and_the_json_say_what_was_claimed():
    suite = Suite(1e-6, {"lags": 1e-7, "cells": 2e-7, "audit": 3e-7})
    suite.add(Claim("words", "exact", 4_000_000, 0, 0.0))
    suite.add(Claim("lags", "p-value", 1_000, 3e-12, 1e-7, 1e-3, detail="lag 4"))
    suite.add(Claim("cells", "e-value", 1_000, math.inf, 2e-7, 1e-3))
    assert suite.table().splitlines() == [
        "claim      draws       evidence  false alarm  detectable  verdict",
        "words  4,000,000  0 unexplained            0              holds",
        "lags       1,000      p = 3e-12      1.0e-07       0.001  FAILS (lag 4)",
        "cells      1,000    log e = inf      2.0e-07       0.001  FAILS",
        "audit                                3.0e-07              did not run",
        "false alarm of the whole run: at most 6e-07",
    ]
    report = json.loads(json.dumps(suite.to_dict(), allow_nan=False))
    assert report["did_not_run"] == ["audit"] and report["holds"] is False
    assert [claim["evidence"] for claim in report["claims"]] == [0, 3e-12, "inf"]
    assert [claim["holds"] for claim in report["claims"]] == [True, False, False]
