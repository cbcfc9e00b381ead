"""Schedules: against plain loops over epochs, tables worked out by hand, and bad windows."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from scipy import special

from qtheory.gradients.networks.synchronisation import NoisePlan
from qtheory.noise import Gaussian, Logistic, Triangular, Uniform, scale_of
from qtheory.schedules import (
    INTERVALS,
    POWERS,
    STARTS_2019,
    Policy,
    Shares,
    Unbounded,
    Window,
    cooled,
    design,
    gradient_reach,
    input_first,
    linear_2019,
    scale_with_mass,
    sharpness,
)

EPOCHS = np.arange(-10.0, 400.0, 0.5)
POLICIES = [Policy(i, p, r) for i in INTERVALS for p in POWERS for r in (False, True)]


@pytest.mark.parametrize("power", [0, 1, 2, 14])
def test_a_window_is_its_formula_in_fractions(power):
    """Powers of rationals: one rounding of the share, then at most 14 products of 2**-53 each."""
    window = Window(-0.5, 50.0, 120.0, power)
    for t, found in zip(EPOCHS, window(EPOCHS), strict=True):
        left = min(max((Fraction(120) - Fraction(t)) / 70, Fraction(0)), Fraction(1))
        exact = float(Fraction(-1, 2) * left**power)
        assert abs(found - exact) <= abs(exact) * 32 * 2.0**-53


def test_windows_end_where_they_end():
    """Half-way points and ends: before, at, inside, at the end, after; power 0 never ends."""
    t = np.array([-math.inf, 49.0, 50.0, 85.0, 120.0, 121.0, math.inf])
    assert Window(0.5, 50.0, 120.0, 1)(t).tolist() == [0.5, 0.5, 0.5, 0.25, 0.0, 0.0, 0.0]
    assert Window(0.5, 50.0, 120.0, 0)(t).tolist() == [0.5] * 7


@pytest.mark.parametrize("share", [0.02, 0.25, 0.9])
@pytest.mark.parametrize("power", [1, 2, 7, 14])
def test_hard_times_invert_the_window(share, power):
    """The share left has a relative error of 2**-52 over itself, at least .02, times the power."""
    window = Window(0.5, 30.0, 380.0, power)
    value = float(window(window.time_to(share))) / 0.5
    assert abs(value - share) <= 16 * power * 2.0**-52 * 380 / 350 / share ** (1 / power)
    assert Window(0.5, 0.0, 1.0, 0).time_to(share) == math.inf


def test_an_unbounded_schedule_by_a_loop():
    schedule = Unbounded(0.5, 10.0, 2, 0.01)
    for t in range(40):
        factor = 1.0 if t < 10 else 1.0 / (t - 9.0) ** 2
        assert schedule(t) == pytest.approx(0.0 if factor < 0.01 else 0.5 * factor, rel=1e-15)
    assert schedule(19) > 0 and schedule(20) == 0.0  # 1 / 100 is kept, 1 / 121 cut


def test_intervals_by_hand():
    """Three layers, period 10."""
    expected = {
        "overlapped": [(0, 30), (0, 30), (0, 30)],
        "partition": [(0, 10), (10, 20), (20, 30)],
        "same start": [(0, 10), (0, 20), (0, 30)],
        "same end": [(20, 30), (10, 30), (0, 30)],
    }
    for intervals, ends in expected.items():
        windows = Policy(intervals).windows(3, 10, 0.5)
        assert [(w.begin, w.end) for w in windows] == ends
        assert Policy(intervals, reverse=True).windows(3, 10, 0.5) == windows[::-1]


@pytest.mark.parametrize("policy", POLICIES)
def test_powers_and_ends(policy):
    """Scales have twice the powers of means; the last window ends at period * layers."""
    scales, means = policy.windows(7, 50, 0.5), policy.windows(7, 50, -0.5, times=1)
    assert [s.power for s in scales] == [2 * m.power for m in means]
    assert [(s.begin, s.end) for s in scales] == [(m.begin, m.end) for m in means]
    assert max(s.end for s in scales) == 350
    base = [m.power for m in means][:: -1 if policy.reverse else 1]
    assert base == ([7, 6, 5, 4, 3, 2, 1] if policy.powers == "progressive" else [1] * 7)


@pytest.mark.parametrize("policy", [p for p in POLICIES if not p.reverse])
def test_earlier_layers_are_never_softer_except_with_the_same_end(policy):
    """s_0 <= s_1 <= ...: at every epoch; with one end and homogeneous powers it is the reverse."""
    values = np.array([w(EPOCHS) for w in policy.windows(7, 50, 0.5)])
    increases = (np.diff(values, axis=0) >= 0).all()
    if policy.intervals == "same end":
        assert not increases
        if policy.powers == "homogeneous":
            assert (np.diff(values, axis=0) <= 0).all()
    else:
        assert increases


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("share", [0.0, 0.02])
def test_the_reach_of_gradients_by_a_walk(policy, share):
    """Epoch by epoch from the output down, until a hard layer."""
    windows, counted = policy.windows(5, 20, 0.5), [0] * 5
    for t in range(110):
        for layer in reversed(range(5)):
            if windows[layer](t) <= share * 0.5:
                break
            counted[layer] += 1
    assert gradient_reach(windows, 110, share) == tuple(counted)


@pytest.mark.parametrize("intervals", INTERVALS)
@pytest.mark.parametrize("powers", POWERS)
def test_plans_of_stair_networks_have_the_same_schedules(intervals, powers):
    """Scales and means as `NoisePlan` has them: powers up to 8 of one quotient, 2**-53 each."""
    policy = Policy(intervals, powers)
    plan = NoisePlan(Uniform(0.5), policy, mean=-0.5)
    scales, means = policy.windows(4, 10, 0.5), policy.windows(4, 10, -0.5, times=1)
    for time in np.linspace(0.0, 1.0, 41):
        for layer, noise in enumerate(plan.at(float(time), 4)):
            scale = 0.0 if noise.noise is None else scale_of(noise.noise)
            assert abs(scales[layer](40 * time) - scale) <= 0.5 * 64 * 2.0**-53
            assert abs(means[layer](40 * time) - noise.mean) <= 0.5 * 64 * 2.0**-53


def test_the_rule_of_2019():
    forward, backward = linear_2019()
    values = np.array([w(EPOCHS * 2) for w in forward])
    moving = (values > 0) & (values < 0.5)
    assert (moving.sum(axis=0) <= 1).all()
    assert not moving[:, (EPOCHS * 2 > 50) & (EPOCHS * 2 < 100)].any()  # the gap
    assert (np.array([w(EPOCHS * 2) for w in backward]) == 0.5).all()
    assert all(w.end == s + 50 for w, s in zip(forward, STARTS_2019, strict=True))


@pytest.mark.parametrize(
    ("noise", "inside"),
    [
        (Gaussian(3.0), lambda s: special.erf(0.5 / (s * math.sqrt(2)))),
        (Logistic(0.1), lambda s: math.tanh(0.25 / s)),
        (Uniform(2.0), lambda s: min(0.5 / s, 1.0)),
        (Triangular(2.0), lambda s: 1 - (1 - 0.5 / s) ** 2),
    ],
)
@pytest.mark.parametrize("mass", [0.5, 0.95])
def test_the_scale_with_a_mass(noise, inside, mass):
    """Masses by closed forms; whatever the scale at hand. Quantiles are good to 1e-14."""
    assert abs(inside(scale_with_mass(noise, mass, 0.5)) - mass) <= 1e-12


def test_the_design_by_its_filters():
    units = design("uniform")
    assert len(set(units)) == len(units)
    moving = [u for u in units if u.moving_mean or u.moving_scale]
    assert len(moving) == 64 and len(units) == 66
    assert not any(u.forward == "expectation" and not u.moving_scale for u in units)
    assert all((u.policy is None) == (not u.moving_mean and not u.moving_scale) for u in units)


def test_shares_by_a_loop():
    shares = Shares((5.0, 10.0, 20.0), (0.2, 0.5, 1.0))
    for t in range(30):
        known = [s for e, s in zip(shares.epochs, shares.shares, strict=True) if e <= t]
        assert shares(t) == (known[-1] if known else 0.0)
        for rank in (0.1, 0.2, 0.21, 1.0):
            assert shares.hard(rank, t) == (shares(t) >= rank)


def test_sharpness_by_a_loop():
    """3960 factors: 4000 roundings of 2**-53 against one of a logarithm, times 3960 log 1.02."""
    value = 1.0
    for k in range(0, 4000 * 200, 200):
        assert abs(float(sharpness(k)) / min(value, 1e35) - 1) <= 1e-11
        assert sharpness(k + 199) == sharpness(k)
        value *= 1.02


def test_the_rule_input_first():
    forward, backward = input_first(4, 100)
    assert [w.begin for w in forward] == [0.0] * 4
    assert [w.end for w in forward] == pytest.approx([17.5, 35.0, 52.5, 70.0], rel=1e-15)
    assert all(a.end < b.end for a, b in pairwise(forward))
    for soft, kept in zip(forward, backward, strict=True):
        assert np.array_equal(kept(EPOCHS), np.maximum(soft(EPOCHS), 0.125))
        assert (kept(EPOCHS) > soft(EPOCHS)).any() and (kept(EPOCHS) == soft(EPOCHS)).any()


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: Window(0.5, 10, 10, 1), "finite begin < end"),
        (lambda: Window(0.5, 10, math.inf, 1), "finite begin < end"),
        (lambda: Window(math.nan, 0, 1, 1), "finite first value"),
        (lambda: Window(0.5, 0, 1, -1), "the power of a window is >= 0"),
        (lambda: Window(0.5, 0, 1, 1).time_to(1.0), "a share is inside"),
        (lambda: Unbounded(0.5, 0, 1, 1.0), "an unbounded schedule"),
        (lambda: Policy("at once"), "intervals are one of"),
        (lambda: Policy("partition", "quadratic"), "powers are one of"),
        (lambda: Policy("partition").windows(0, 50, 0.5), "layers >= 1"),
        (lambda: Policy("partition").windows(3, 0, 0.5), "a period > 0"),
        (lambda: linear_2019(starts=(0.0, 40.0)), "disjoint and in order"),
        (lambda: Shares((1.0, 1.0), (0.5, 1.0)), "epochs of blocks increase"),
        (lambda: Shares((1.0, 2.0), (0.5, 1.5)), "accumulated shares"),
        (lambda: Shares((1.0,), (0.5, 1.0)), "a share for each epoch"),
        (lambda: sharpness(1, factor=0.5), "at least 1"),
        (lambda: sharpness(np.array([0, -1])), "iterations are at least 0"),
        (lambda: gradient_reach((), 10), "got 0 layers"),
        (lambda: gradient_reach(Policy("partition").windows(3, 5, 0.5), 10, 1.0), "share 1.0"),
        (lambda: scale_with_mass(Gaussian(1.0), 1.0, 0.5), "a mass is inside"),
        (lambda: scale_with_mass(Gaussian(1.0), 0.5, 0.0), "a half width is positive"),
        (lambda: input_first(3, 100, soft=0.0), "soft is in"),
        (lambda: input_first(0, 100), "layers >= 1"),
        (lambda: cooled(0.0, 1.0, 0.1), "a temperature and a rate are positive"),
        (lambda: cooled(1.0, -1.0, 0.1), "a spread is at least 0"),
        (lambda: cooled(1.0, 1.0, 0.1, 2.0), "got 1.0, 0.1, 1.0, 2.0"),
    ],
)
def test_bad_schedules_are_refused(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()
