"""Schedules over layers: their windows, and what they leave of a smoothed network."""

import math
from itertools import pairwise

import numpy as np
import pytest

from qtheory.gradients.networks.composition import on_thresholds, output
from qtheory.gradients.networks.random import random_levels, ternary_network
from qtheory.gradients.networks.synchronisation import NoisePlan, mean_error
from qtheory.noise import Logistic, Uniform
from qtheory.schedules import INTERVALS, POWERS, Policy
from qtheory.stairs.stair import Stair

TERNARY = Stair((-1.0, 0.0, 1.0), (-0.5, 0.5))
PROGRESSIVE = Policy("overlapped", "progressive")
REVERSED = Policy("overlapped", "progressive", reverse=True)
LAST_FIRST = Policy("partition", reverse=True)
POLICIES = (
    *(Policy(intervals, powers) for intervals in INTERVALS for powers in POWERS),
    REVERSED,
    LAST_FIRST,
)
NOISES = (Uniform(0.5), Logistic(0.5 / math.log(39)))


def case(biases, seed=0, points=200):
    network = ternary_network(24, 4, TERNARY, seed, biases, spacing=0.25)
    return network, random_levels(TERNARY, points, 24, 50 + seed)


@pytest.mark.parametrize("policy", POLICIES)
def test_noise_falls_from_its_first_value_to_nothing(policy):
    plan = NoisePlan(Uniform(0.5), policy, mean=-0.5)
    steps = [plan.at(t, 4) for t in np.linspace(0, 1, 33)]
    assert all(n.noise == Uniform(0.5) and n.mean == -0.5 for n in steps[0])
    assert all(n.noise is None and n.mean == 0 for n in steps[-1])
    for before, after in pairwise(steps):
        for a, b in zip(before, after, strict=True):
            assert a.mean <= b.mean
            assert b.noise is None or b.noise.half_width <= a.noise.half_width
    for at in steps:
        for n in at:
            if n.noise is not None:
                assert n.noise.half_width == pytest.approx(0.5 * (n.mean / 0.5) ** 2)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("mean", [0.0, -0.5])
def test_everything_is_hard_in_the_end(noise, policy, mean):
    for biases in ("none", "generic"):
        network, x = case(biases)
        plan = NoisePlan(noise, policy, mean=mean)
        assert mean_error(network, plan, 1.0, x) == 0.0
        assert mean_error(network, plan, 0.5, x) > 0.0


@pytest.mark.parametrize("policy", POLICIES)
def test_a_dynamic_mean_is_exact_on_a_lattice_in_the_end(policy):
    """u = 4 * .03 in a window of one period: mean .06, half width .0072, spacing .25."""
    network, x = case("none")
    assert on_thresholds(network, x).mean() > 0.1
    plan = NoisePlan(Uniform(0.5), policy, mean=-0.5)
    assert mean_error(network, plan, 0.97, x) == 0.0
    if policy.intervals == "overlapped":
        assert mean_error(network, plan, 0.1, x) > 0.0


def test_a_static_mean_leaves_a_plateau_on_a_lattice():
    """Only the last layer has noise at the end of a partition: 1/2 on each unit on a threshold, so
    half of their share is exact."""
    network, x = case("none")
    share = on_thresholds(network, x)[:, -1].mean()
    for intervals in ("partition", "same start"):
        plan = NoisePlan(Uniform(0.5), Policy(intervals))
        assert mean_error(network, plan, 0.999, x) == pytest.approx(0.5 * share, rel=1e-12)
    found = [
        mean_error(network, NoisePlan(Uniform(0.5), policy), t, x)
        for policy in (Policy("overlapped"), PROGRESSIVE, REVERSED)
        for t in (0.9, 0.999)
    ]
    assert max(found) - min(found) <= 1e-12
    assert found[0] > share


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("biases", "mean"), [("none", -0.5), ("generic", 0.0)])
def test_input_first_is_sooner_hard(noise, biases, mean):
    network, x = case(biases, seed=1)
    right, *others = (
        mean_error(network, NoisePlan(noise, policy, mean), 0.5, x)
        for policy in (PROGRESSIVE, Policy("overlapped"), REVERSED)
    )
    assert 2 * right < min(others)
    early = mean_error(network, NoisePlan(noise, Policy("partition"), mean), 0.75, x)
    late = mean_error(network, NoisePlan(noise, LAST_FIRST, mean), 0.75, x)
    assert early < late


def test_at_the_end_of_its_window_a_layer_is_the_stair():
    """At t/T = 1/4 of a partition, the first of four layers is hard and the others as at first."""
    network, x = case("none")
    at = NoisePlan(Uniform(0.5), Policy("partition"), mean=-0.5).at(0.25, 4)
    assert at[0].noise is None and [n.noise for n in at[1:]] == [Uniform(0.5)] * 3
    plan = NoisePlan(Uniform(0.5), Policy("partition"), mean=-0.5)
    assert np.array_equal(output(network, at, x), output(network, plan.at(0.25, 4), x))


@pytest.mark.parametrize("time", [-0.1, 1.1, math.nan])
def test_bad_input_is_refused(time):
    with pytest.raises(ValueError, match="a time is a share of the whole"):
        NoisePlan(Uniform(0.5), Policy("overlapped")).at(time, 4)
