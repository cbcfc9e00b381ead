"""Schedules of the public code of [spallanzani2019] [spallanzani2022], 7 layers and period 50."""

from __future__ import annotations

import math

import numpy as np

from qpapers.ledger import Claim, Values
from qtheory.schedules import (
    INTERVALS,
    Policy,
    Shares,
    Unbounded,
    Window,
    design,
    gradient_reach,
    input_first,
    linear_2019,
    sharpness,
)

TEST = "tests/theory/test_schedules.py"
LAYERS, PERIOD, TOTAL = 7, 50.0, 350
PROGRESSIVE = Policy("overlapped", "progressive")
BLOCKS = Shares(
    tuple(150.0 + 100.0 * k for k in range(11)),
    (0.2, 0.4, 0.6, 0.7, 0.8, 0.85, 0.9, 0.9375, 0.96875, 0.984375, 1.0),
)
"""Shares for a ternary net on CIFAR-10 in the public code."""


def ends() -> Values:
    """Begin and end of the first and the last layer, intervals in order."""
    found = [Policy(i).windows(LAYERS, PERIOD, 0.5) for i in INTERVALS]
    return tuple(x for w in found for x in (w[0].begin, w[0].end, w[-1].begin, w[-1].end))


def powers() -> Values:
    """Powers of the scales, layers from the input."""
    return tuple(float(w.power) for w in PROGRESSIVE.windows(LAYERS, PERIOD, 0.5))


def halfway() -> Values:
    """Scale over its first value at half the time, then mean over scale, first and last layer."""
    scales = PROGRESSIVE.windows(LAYERS, PERIOD, 0.5)
    means = PROGRESSIVE.windows(LAYERS, PERIOD, -0.5, times=1)
    t = TOTAL / 2
    ratios = [float(m(t) / s(t)) for m, s in zip(means, scales, strict=True)]
    shares = [float(s(t)) / 0.5 for s in scales]
    return shares[0], shares[-1], ratios[0], ratios[-1]


def hard_times() -> Values:
    """When layer l is at .02 of its first scale, over the whole time."""
    scales = PROGRESSIVE.windows(LAYERS, PERIOD, 0.5)
    return tuple(w.time_to(0.02) / TOTAL for w in scales)


def reach(*policies: Policy, share: float = 0.0) -> Values:
    """Epochs with a gradient, layers from the input."""
    found = [gradient_reach(p.windows(LAYERS, PERIOD, 0.5), TOTAL, share) for p in policies]
    return tuple(float(n) for layers in found for n in layers)


def sums_of_reach() -> Values:
    """Layer-epochs with a gradient: the four intervals, then reversed; at most 7 * 350."""
    policies = [Policy(i, reverse=r) for r in (False, True) for i in INTERVALS]
    return tuple(sum(reach(p)) for p in policies)


def linear() -> Values:
    """Epochs 0 to 599 in which a layer moves, in which two move, and the last epoch of any."""
    t = np.arange(600.0)
    forward, _ = linear_2019()
    moving = np.array([(w(t) < 0.5) & (w(t) > 0) for w in forward]).sum(axis=0)
    still = np.array([w(t) for w in forward]).sum(axis=0)
    return float((moving == 1).sum()), float((moving > 1).sum()), float(np.argmax(still == 0))


def runs() -> Values:
    """Of a family; in which something moves; of four families; with static means: of the first
    family, and with the two runs in which nothing moves for each of three others."""
    units, static = design("uniform"), design("uniform", moving_means=(False,))
    moving = sum(u.policy is not None for u in units)
    still = sum(u.policy is None for u in static)
    return tuple(
        map(float, (len(units), moving, 4 * len(units), len(static), len(static) + 3 * still))
    )


def shares() -> Values:
    """Before and at the first block, before and at the last but one, at the last."""
    return tuple(float(BLOCKS(t)) for t in (149.0, 150.0, 1049.0, 1050.0, 1150.0))


def growth() -> Values:
    """The factor after 500 changes; changes until it is 1e35."""
    changes = np.arange(5000)
    return float(sharpness(500 * 200)), float(np.argmax(sharpness(changes * 200) >= 0.999999e35))


def unbounded() -> Values:
    """First epoch at 0: power 1 and 2, cut at .01."""
    t = np.arange(200)
    return tuple(float(np.argmax(Unbounded(0.5, 0.0, p, 0.01)(t) == 0)) for p in (1, 2))


def our_rule() -> Values:
    """Ends of the windows for 4 layers and 100 epochs; the least backward scale."""
    forward, backward = input_first(4, 100.0)
    return (*(w.end for w in forward), float(backward[0](99.0)))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="schedule-intervals",
        statement="7 layers, period 50: begin and end of the windows of the first and of the last "
        "layer; overlapped, partition, same start, same end",
        code=Policy,
        test=f"{TEST}::test_intervals_by_hand",
        printed="0 350 0 350, 0 50 300 350, 0 50 0 350, 300 350 0 350 (public code)",
        number="noted",
        expected=(0, 350, 0, 350, 0, 50, 300, 350, 0, 50, 0, 350, 300, 350, 0, 350),
        tolerance=0.0,
        why="whole numbers",
        run=ends,
    ),
    Claim(
        id="schedule-powers",
        statement="Progressive powers of the scales, 2 (L - l), layers from the input",
        code=Policy,
        test=f"{TEST}::test_powers_and_ends",
        printed="14, 12, ..., 2 (public code)",
        number="noted",
        expected=(14, 12, 10, 8, 6, 4, 2),
        tolerance=0.0,
        why="whole numbers",
        run=powers,
        printed_of="14, 12, 10, 8, 6, 4, 2",
    ),
    Claim(
        id="schedule-values",
        statement="Overlapped, progressive, at half the time: scale over first scale, first and "
        "last layer; and mean over scale, which grows as (1 - t/T)^-(L - l)",
        code=Window,
        test=f"{TEST}::test_a_window_is_its_formula_in_fractions",
        printed="2^-14, 2^-2; -2^7, -2 (derived)",
        number="ours",
        expected=(2.0**-14, 0.25, -128.0, -2.0),
        tolerance=0.0,
        why="powers of 2",
        run=halfway,
    ),
    Claim(
        id="schedule-hard",
        statement="Overlapped windows, scale (1 - t/T)^(2(L - l)), L = 7: layer l is at 0.02 of "
        "its first scale at t/T = 1 - 0.02^(1/(2(L - l))), earlier layers first",
        code=Window,
        test=f"{TEST}::test_hard_times_invert_the_window",
        printed=".244 .278 .324 .387 .479 .624 .859",
        number="noted",
        expected=(0.244, 0.278, 0.324, 0.387, 0.479, 0.624, 0.859),
        tolerance=0.5e-3,
        why="half a unit of the third decimal",
        run=hard_times,
    ),
    Claim(
        id="schedule-reach",
        statement="Partition, backward noise tied: a hard layer passes no gradient, so layer l is "
        "trained for 50 (l + 1) epochs if the first hardens first, and for 50 if the last does",
        code=gradient_reach,
        test=f"{TEST}::test_the_reach_of_gradients_by_a_walk",
        printed="50 to 350; 50 each",
        number="noted",
        expected=(50, 100, 150, 200, 250, 300, 350, 50, 50, 50, 50, 50, 50, 50),
        tolerance=0.0,
        why="counts",
        run=lambda: reach(Policy("partition"), Policy("partition", reverse=True)),
        printed_of="50, 100, 150, 200, 250, 300, 350",
    ),
    Claim(
        id="schedule-reach-sums",
        statement="Layer-epochs with a gradient, of 2450: overlapped, partition, same start, same "
        "end; then with layers reversed; only a scale of exactly 0 counts as hard",
        code=gradient_reach,
        test=f"{TEST}::test_the_reach_of_gradients_by_a_walk",
        printed="2450, 1400, 1400, 2450; 2450, 350, 350, 2450 (derived)",
        number="ours",
        expected=(2450, 1400, 1400, 2450, 2450, 350, 350, 2450),
        tolerance=0.0,
        why="counts: 50 (1 + ... + 7) = 1400, 7 times 50 = 350",
        run=sums_of_reach,
    ),
    Claim(
        id="schedule-reach-soft",
        statement="If a layer below 0.02 of its first scale is called hard: epochs with a "
        "gradient, overlapped and progressive, then with layers reversed",
        code=gradient_reach,
        test=f"{TEST}::test_the_reach_of_gradients_by_a_walk",
        printed="ceil(350 t/T) of schedule-hard; reversed: the last hardens first, at 86 (derived)",
        number="ours",
        expected=(86, 98, 114, 136, 168, 219, 301, 86, 86, 86, 86, 86, 86, 86),
        tolerance=0.0,
        why="counts",
        run=lambda: reach(PROGRESSIVE, Policy("overlapped", "progressive", True), share=0.02),
        printed_of="ceiling(350*(1 - 0.02**(1/14))), ceiling(350*(1 - 0.02**(1/12))), "
        "ceiling(350*(1 - 0.02**(1/10))), ceiling(350*(1 - 0.02**(1/8))), "
        "ceiling(350*(1 - 0.02**(1/6))), ceiling(350*(1 - 0.02**(1/4))), "
        "ceiling(350*(1 - 0.02**(1/2)))",
    ),
    Claim(
        id="schedule-2019",
        statement="Nine linear windows of 50 epochs, the first idle from 50 to 100: epochs in "
        "which one layer moves, more than one moves; first epoch with all hard",
        code=linear_2019,
        test=f"{TEST}::test_the_rule_of_2019",
        printed="9 times 49 inner epochs, 0, 500",
        number="noted",
        expected=(441, 0, 500),
        tolerance=0.0,
        why="counts",
        run=linear,
        printed_of="9*49, 0, 500",
    ),
    Claim(
        id="schedule-design",
        statement="Runs of the CIFAR-10 design: 3 strategies, mean and scale that move or not, 4 "
        "intervals, 2 powers, less expectation with a static scale: per family, moving, of 4 "
        "families; with static means: of uniform noise, of the whole design",
        code=design,
        test=f"{TEST}::test_the_design_by_its_filters",
        printed="66, 64, 264; 26, 32",
        number="noted",
        expected=(66, 64, 264, 26, 32),
        tolerance=0.0,
        why="counts",
        run=runs,
    ),
    Claim(
        id="schedule-shares",
        statement="Blocks of weights as a schedule of zeros and ones: shares quantised at epochs "
        "149, 150, 1049, 1050, 1150 of the public setting for a ternary net",
        code=Shares,
        test=f"{TEST}::test_shares_by_a_loop",
        printed="0, .2, .96875, .984375, 1",
        number="noted",
        expected=(0.0, 0.2, 0.96875, 0.984375, 1.0),
        tolerance=0.0,
        why="numbers of a table",
        run=shares,
    ),
    Claim(
        id="schedule-mirror",
        statement="Sharpness of mirror descent, 1.02 more every 200 iterations: after 500 changes; "
        "changes until its cap of 1e35",
        code=sharpness,
        test=f"{TEST}::test_sharpness_by_a_loop",
        printed="2.0e4; log 1e35 / log 1.02 = 4069.7",
        number="noted",
        expected=(1.02**500, math.ceil(35 * math.log(10) / math.log(1.02))),
        tolerance=1e-6,
        why="500 products of 2^-53 each, times 2e4, is 1e-9; a count",
        run=growth,
        printed_of="1.02**500, 4070",
    ),
    Claim(
        id="schedule-unbounded",
        statement="The schedule (t + 1)^-power cut below 0.01: first epoch at 0, power 1 and 2",
        code=Unbounded,
        test=f"{TEST}::test_an_unbounded_schedule_by_a_loop",
        printed="100, 10 (derived)",
        number="ours",
        expected=(100, 10),
        tolerance=0.0,
        why="counts",
        run=unbounded,
    ),
    Claim(
        id="schedule-ours",
        statement="The rule `input_first`, 4 layers and 100 epochs: ends of the quadratic windows, "
        "least backward scale",
        code=input_first,
        test=f"{TEST}::test_the_rule_input_first",
        printed="17.5, 35, 52.5, 70; 1/8 (ours)",
        number="ours",
        expected=(17.5, 35.0, 52.5, 70.0, 0.125),
        tolerance=1e-13,
        why="products of numbers below 100, each rounded to 2^-53",
        run=our_rule,
    ),
)
