"""The condition for convergence [leonardi2020]: verdicts, rates and bounds against two steps."""

from __future__ import annotations

import itertools

from qpapers.ledger import Claim, Values
from qtheory.gradients.networks.composition import (
    copies,
    deviation,
    error_bounds,
    one_step_bound,
    output,
    power_noises,
)
from qtheory.gradients.networks.convergence import (
    LayerPlan,
    Rate,
    TailClass,
    judge,
    tail_class,
    tail_from_moment,
)
from qtheory.noise import Cauchy, Gaussian, Logistic, StudentT, Triangular, Uniform

TEST = "tests/theory/gradients/networks/test_convergence.py"
CAUCHY, STUDENT, LOGISTIC = Cauchy(1.0), StudentT(2.0, 1.0), Logistic(1.0)
FAMILIES = (
    CAUCHY,
    STUDENT,
    StudentT(3.0, 1.0),
    LOGISTIC,
    Gaussian(1.0),
    Uniform(1.0),
    Triangular(1.0),
)


def slow_verdicts() -> Values:
    """The same judged from the error lam**2 of the first layer: 1 converges, 1/2 borderline, 0."""
    score = {"converges": 1.0, "borderline": 0.5, "fails": 0.0}
    plans = (LayerPlan(tail_class(LOGISTIC), p, 1.0) for p in (1.0, 2.0, 3.0))
    return tuple(score[judge((plan,), Rate(1.0, 2.0)).verdict] for plan in plans)


def verdicts_against_outputs() -> Values:
    """Cases; those judged to fail; those whose output at lam = 1e-6 says otherwise."""
    sizes = (1.0, 2.0, 3.0, 4.0)
    cases = list(itertools.product(FAMILIES, (1, 4), (0.0, 0.5), sizes, sizes, (1.5, 2.0, 3.0)))
    failing = wrong = 0
    for noise, count, at, first, second, kappa in cases:
        tail = tail_class(noise)
        plans = (
            LayerPlan(tail, first, 1.0, kappa, gap=at),
            LayerPlan(tail, second, float(count), kappa),
        )
        network, x = copies(count, at)
        value = output(network, power_noises(noise, (first, second), 1e-6, kappa), x).item()
        seen = "converges" if value > 0.99 else "fails" if value < 0.01 else "neither"
        verdict = judge(plans).verdict
        failing, wrong = failing + (verdict == "fails"), wrong + (verdict != seen)
    return float(len(cases)), float(failing), float(wrong)


def rates() -> Values:
    """Error at lam = 1e-4 over constant * lam**exponent, for Cauchy (K = 4, p = 2, 1 and K = 1,
    p = 1, 1) and Student-t with 2 df (K = 4, p = 1, 1, and z_1 = 1/2, p = 1, 3)."""
    found = list[float]()
    for noise, count, at, first, second in (
        (CAUCHY, 4, 0.0, 2.0, 1.0),
        (CAUCHY, 1, 0.0, 1.0, 1.0),
        (STUDENT, 4, 0.0, 1.0, 1.0),
        (STUDENT, 4, 0.5, 1.0, 3.0),
    ):
        tail = tail_class(noise)
        plans = (LayerPlan(tail, first, 1.0, gap=at), LayerPlan(tail, second, float(count)))
        rate = judge(plans).layers[-1].error
        network, x = copies(count, at)
        error = -deviation(network, power_noises(noise, (first, second), 1e-4), x).item()
        found.append(error / (rate.constant * 1e-4**rate.exponent))
    return tuple(found)


def attained() -> Values:
    """Error over the bound for copies at their threshold, p = 2, 1, lam = .1, seven noises whose
    error is not 0; the others give 1."""
    network, x = copies(4, 0.0)
    found = list[float]()
    for noise in FAMILIES:
        noises = power_noises(noise, (2.0, 1.0), 0.1)
        error = -deviation(network, noises, x).item()
        bound = error_bounds(network, noises, x)[-1]
        found.append(error / bound if bound > 0 else 1.0 + error)
    return tuple(found)


def from_moments() -> Values:
    """1 if the condition holds for three layers with K = 16, kappa = 2: exponents (3, 2, 1),
    (1, 1, 1), (1, 2, 3) under a first moment, a second moment, and compact support."""
    tails = (tail_from_moment(1.0, 1.0), tail_from_moment(2.0, 1.0), TailClass("compact"))
    orders = ((3.0, 2.0, 1.0), (1.0, 1.0, 1.0), (1.0, 2.0, 3.0))
    return tuple(
        float(judge(tuple(LayerPlan(tail, p, 16.0) for p in order)).verdict == "converges")
        for tail, order in itertools.product(tails, orders)
    )


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="compose-verdict",
        statement="Verdict of the condition against outputs at lam = 1e-6: seven noises, K = 1 "
        "and 4, z_1 = 0 and 1/2, exponents 1 to 4, kappa = 1.5, 2, 3: cases, cases judged to "
        "fail, wrong ones",
        code=judge,
        test=f"{TEST}::test_the_verdict_is_what_copies_do",
        printed="1344, 109, 0 (derived)",
        number="ours",
        expected=(1344.0, 109.0, 0.0),
        tolerance=0.0,
        why="whole numbers",
        run=verdicts_against_outputs,
    ),
    Claim(
        id="compose-slow-verdicts",
        statement="The condition on these, given the error lam^2: converges (1), borderline "
        "(1/2), fails (0)",
        code=judge,
        test=f"{TEST}::test_the_edge_is_borderline",
        printed="1, borderline, 0",
        number="ours",
        expected=(1.0, 0.5, 0.0),
        tolerance=0.0,
        why="whole exponents are compared",
        run=slow_verdicts,
        printed_of="1, 1/2, 0",
    ),
    Claim(
        id="compose-rate",
        statement="e = D C (1 - c)^-a lam^(a (kappa - 1) p), and gam in place of 1 - c, kappa of "
        "kappa - 1 off thresholds: error at lam = 1e-4 over this; Cauchy, K = 4, p = (2, 1); K = "
        "1, p = (1, 1); Student-t 2 df, K = 4, p = (1, 1); z_1 = 1/2, p = (1, 3)",
        code=judge,
        test=f"{TEST}::test_rates_are_those_of_the_errors",
        printed="1 (derived)",
        number="ours",
        expected=(1.0, 1.0, 1.0, 1.0),
        tolerance=0.002,
        why="next order is a K e / m = 4e-4 / π, 0, 2 * 2e-4 and 2 * 8e-4",
        run=rates,
    ),
    Claim(
        id="compose-bound",
        statement="e_l <= D max(G((m - K e) / s), G((gam - m - K e) / s)), attained by copies: "
        "error over bound, p = (2, 1), lam = .1, seven noises",
        code=one_step_bound,
        test="tests/theory/gradients/networks/test_composition.py::test_copies_attain_the_bound",
        printed="1; with the sum of the two tails to match, the maximum is enough",
        number="ours",
        expected=(1.0,) * 7,
        tolerance=1e-9,
        why="the same tail twice, at arguments that differ by roundings: 1e-13 of exponents below "
        "1e3",
        run=attained,
        verdict="holds corrected",
    ),
    Claim(
        id="compose-moments",
        statement="The condition for all noises with a first moment, a second moment, compact "
        "support, kappa = 2: exponents (3, 2, 1), (1, 1, 1), (1, 2, 3), 1 if it holds",
        code=tail_from_moment,
        test=f"{TEST}::test_what_moments_ask_of_exponents",
        printed="decreasing for a first moment; equal suffices for a second; any if compact",
        number="ours",
        expected=(1, 0, 0, 1, 1, 0, 1, 1, 1),
        tolerance=0.0,
        why="whole exponents are compared",
        run=from_moments,
        printed_of="1, 0, 0, 1, 1, 0, 1, 1, 1",
    ),
)
