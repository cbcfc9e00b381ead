"""The condition for convergence, against networks with tiny noise, and its rates."""

import itertools
import math

import numpy as np
import pytest

from qtheory.gradients.networks.composition import copies, deviation, output, power_noises
from qtheory.gradients.networks.convergence import (
    NO_ERROR,
    LayerPlan,
    Rate,
    TailClass,
    centred_limit,
    judge,
    tail_class,
    tail_from_moment,
)
from qtheory.gradients.networks.stair_network import LayerNoise
from qtheory.noise import Cauchy, Gaussian, Logistic, StudentT, Triangular, Uniform

HEAVY = (Cauchy(1.0), StudentT(2.0, 1.0), StudentT(3.0, 1.0))
FAMILIES = (*HEAVY, Logistic(1.0), Gaussian(1.0), Uniform(1.0), Triangular(1.0))
EXPONENTS = (1.0, 2.0, 3.0, 4.0)


def two_plans(family, count, at, exponents, kappa):
    tail = tail_class(family)
    first = LayerPlan(tail, exponents[0], 1.0, kappa, gap=at)
    return first, LayerPlan(tail, exponents[1], float(count), kappa)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kappa", [1.5, 2.0, 3.0])
def test_the_verdict_is_what_copies_do(family, kappa):
    """At lam = 1e-6 limits 0 and 1 are told apart: the slowest power is lam**(1/2) = 1e-3, and
    K c is 4 / pi or 1 / pi, so that m - K e is off 0 by a quarter of m."""
    for count, at, *exponents in itertools.product((1, 4), (0.0, 0.5), EXPONENTS, EXPONENTS):
        network, x = copies(count, at)
        value = output(network, power_noises(family, tuple(exponents), 1e-6, kappa), x).item()
        verdict = judge(two_plans(family, count, at, exponents, kappa)).verdict
        assert verdict in ("converges", "fails")
        assert (value > 0.99) is (verdict == "converges")
        assert (value < 0.01) is (verdict == "fails")


@pytest.mark.parametrize("family", HEAVY)
def test_rates_are_those_of_the_errors(family):
    """lam = 1e-4: corrections are of relative order K e / m and m, at most 4 lam; the constant
    off 0 is told from one that is 1 % wrong."""
    for count, at, exponents in itertools.product(
        (1, 4), (0.0, 0.5), ((1.0, 1.0), (2.0, 1.0), (3.0, 2.0))
    ):
        judgement = judge(two_plans(family, count, at, exponents, 2.0))
        if judgement.verdict != "converges":
            continue
        network, x = copies(count, at)
        lam = 1e-4
        rate = judgement.layers[-1].error
        error = -deviation(network, power_noises(family, exponents, lam), x).item()
        assert error == pytest.approx(rate.constant * lam**rate.exponent, rel=0.01)


@pytest.mark.parametrize("family", HEAVY)
def test_tails_end_as_their_class_says(family):
    """G(u) u**a / C = 1 + O(u**-2)."""
    tail = tail_class(family)
    u = np.array([1e4])
    assert family.tail(u)[0] * u[0] ** tail.order / tail.constant == pytest.approx(1, rel=1e-6)


def test_other_tails_end_below_every_power():
    assert tail_class(Logistic(2.0)).kind == tail_class(Gaussian(2.0)).kind == "exponential"
    assert tail_class(Uniform(2.0)).kind == tail_class(Triangular(2.0)).kind == "compact"


def test_moments_bound_tails():
    """E abs(e) of Student-t 3 and E e**2 of the logistic law, at scale 1. The least constant is
    1/2: a coin of -1 and 1 has moment 1 and P(e > u) = 1/2 for u below 1."""
    assert tail_from_moment(1.0, 1.0).constant == tail_from_moment(2.0, 1.0).constant == 0.5
    for noise, order, moment in (
        (StudentT(3.0, 1.0), 1.0, 2 * StudentT(3.0, 1.0).excess(np.zeros(1))[0]),
        (Logistic(1.0), 2.0, Logistic(1.0).std ** 2),
    ):
        tail, u = tail_from_moment(order, moment), np.geomspace(0.1, 100, 50)
        assert (noise.tail(u) <= tail.constant * u**-tail.order).all()


@pytest.mark.parametrize(
    ("order", "exponents", "verdict"),
    [
        (1.0, (3.0, 2.0, 1.0), "converges"),
        (1.0, (1.0, 1.0, 1.0), "fails"),
        (1.0, (1.0, 2.0, 3.0), "fails"),
        (2.0, (3.0, 2.0, 1.0), "converges"),
        (2.0, (1.0, 1.0, 1.0), "converges"),
        (2.0, (1.0, 2.0, 3.0), "fails"),
        (2.0, (2.0, 3.0, 5.0), "converges"),
    ],
)
def test_what_moments_ask_of_exponents(order, exponents, verdict):
    """kappa = 2 and K = 16: a p_l > p_(l+1)."""
    tail = tail_from_moment(order, 1.0)
    assert judge(tuple(LayerPlan(tail, p, 16.0) for p in exponents)).verdict == verdict


def test_the_edge_is_borderline():
    """Student-t 2: C = 1/2, so K = 2 has K c = 1; K = 1.9 is below, 2.1 above."""
    tail = tail_class(StudentT(2.0, 1.0))
    verdicts = {
        count: judge(
            (LayerPlan(tail, 1.0, 1.0), LayerPlan(tail, 2.0, count), LayerPlan(tail, 1, 1))
        )
        for count in (1.9, 2.0, 2.1)
    }
    assert [v.verdict for v in verdicts.values()] == ["converges", "borderline", "fails"]
    assert verdicts[2.0].layers[2].verdict == "borderline"
    assert "before" in verdicts[2.1].layers[2].reason
    assert verdicts[1.9].layers[1].load == pytest.approx(0.95)


def test_what_fails_by_itself():
    """kappa <= 1 and mean 0, on thresholds; compact noise may have kappa = 1; none matter off."""
    heavy, compact = tail_class(Cauchy(1.0)), TailClass("compact")
    for plan, verdict in (
        (LayerPlan(heavy, 1.0, 1.0, kappa=1.0), "fails"),
        (LayerPlan(compact, 1.0, 1.0, kappa=1.0), "converges"),
        (LayerPlan(compact, 1.0, 1.0, kappa=0.9), "fails"),
        (LayerPlan(compact, 1.0, 1.0, centred=True), "fails"),
        (LayerPlan(heavy, 1.0, 1.0, kappa=0.5, gap=1.0, centred=True), "converges"),
    ):
        assert judge((plan,)).verdict == verdict
    assert judge((LayerPlan(compact, 1.0, 1.0, kappa=1.0),), Rate(1.0, 9.0)).verdict == "fails"


@pytest.mark.parametrize("exponents", [(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)])
@pytest.mark.parametrize("family", HEAVY)
def test_limits_with_mean_zero(family, exponents):
    """lam = 1e-3, errors relative to lam**2 at most: F has slope below 1/2."""
    first, second = two_plans(family, 1, 0.5, exponents, 2.0)
    incoming = judge((first,)).layers[0].error
    network, x = copies(1, 0.5)
    noises = tuple(LayerNoise(n.noise) for n in power_noises(family, exponents, 1e-3))
    want = centred_limit(family, second, incoming)
    assert abs(output(network, noises, x).item() - want) <= 1e-3


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: judge((), Rate(0.1, 0.0)), "an incoming error vanishes with lam"),
        (lambda: TailClass("power"), "a positive order and constant"),
        (lambda: TailClass("power", 1.0, 0.0), "a positive order and constant"),
        (lambda: LayerPlan(TailClass("compact"), 0.0, 1.0), "a plan has positive"),
        (lambda: LayerPlan(TailClass("compact"), 1.0, -1.0), "a plan has positive"),
        (lambda: LayerPlan(TailClass("compact"), 1.0, 1.0, math.nan), "a plan has positive"),
        (lambda: LayerPlan(TailClass("compact"), 1.0, 1.0, gap=-1.0), "a plan has positive"),
    ],
)
def test_bad_input_is_refused(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()
    assert NO_ERROR == Rate(0.0, math.inf)
