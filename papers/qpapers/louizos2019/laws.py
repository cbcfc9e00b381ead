"""Laws of relaxed quantisation [louizos2019], and where they part from a stair under noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qtheory.algorithms import stochastic_rounding
from qtheory.algorithms.stochastic_rounding import StochasticRounding
from qtheory.gradients.stochastic.relaxed_limits import far_law, neglected
from qtheory.gradients.stochastic.relaxed_quantization import (
    RelaxedQuantizer,
    kept,
    law,
    log_slopes,
    logits,
    mean,
    mean_slopes,
    relaxed,
    relaxed_slopes,
    rounded,
)
from qtheory.lattice import Lattice
from qtheory.noise import (
    Cauchy,
    Gaussian,
    Logistic,
    Smoothing,
    Triangular,
    Uniform,
    scale_of,
    std_of,
    with_scale,
)
from qtheory.stairs import smoothing

TEST = "tests/theory/gradients/stochastic/test_relaxed_quantization.py"
TWO_BITS = RelaxedQuantizer.of_bits(2, 1.0, Logistic(0.6), signed=True)
SIX_BITS = RelaxedQuantizer.of_bits(6, 1.0, Logistic(0.6), signed=True)
NOISES: tuple[Smoothing, ...] = (
    Logistic(0.6),
    Gaussian(0.6),
    Cauchy(0.5),
    Uniform(3.1),
    Triangular(4.2),
)
X = np.linspace(-4.03, 4.0, 31)
FOURTH = "half a unit of the fourth decimal"


def size(x: np.ndarray) -> float:
    """Largest absolute value."""
    return float(np.abs(x).max())


def sums() -> Values:
    """Largest abs(sum - 1): fuzz 0, 1e-6, .3, whole lattice and a reach of 1.2 spacings."""
    specs = [RelaxedQuantizer(-2, 4, 1.0, noise, 0.2) for noise in NOISES]
    inner = X[np.abs(X) < 2]
    return tuple(
        largest(
            size(law(replace(spec, fuzz=fuzz), inner, reach).sum(axis=-1) - 1.0)
            for spec in specs
            for reach in (math.inf, 1.2)
        )
        for fuzz in (0.0, 1e-6, 0.3)
    )


def ends() -> Values:
    """Total variation distance of the laws of RQ and of a stair under the same noise, over
    t - p t / (1 - t): 15 scales and 5 scales inside the end of the last bin, at the last level."""
    x = SIX_BITS.levels[-1] + 0.5 - np.array([15 * 0.6, 5 * 0.6, 0.5])
    stair = smoothing.law(SIX_BITS.stair(), SIX_BITS.noise, x)
    tail = SIX_BITS.noise.tail(SIX_BITS.levels[-1] + 0.5 - x)
    bin_mass = stair[:, -1] - tail
    gap = 0.5 * np.abs(law(SIX_BITS, x) - stair).sum(axis=-1)
    return tuple(float(v) for v in gap / (tail - bin_mass * tail / (1.0 - tail)))


def rounds_at_random() -> Values:
    """Largest differences from the law of stochastic rounding, and of mean - x."""
    spec = RelaxedQuantizer(-2, 4, 0.5, Uniform(0.25))
    x = np.arange(-63, 32) / 64.0
    other = stochastic_rounding.law(StochasticRounding(Lattice(4, 0.5, -1.0)), 2, x)
    return size(law(spec, x) - other), size(mean(spec, x) - x)


def outside() -> Values:
    """The same noise 0.4 spacings above the last level and 1.1: position of the level, and 1 if
    refused."""
    spec = RelaxedQuantizer(-2, 4, 0.5, Uniform(0.25))
    p = law(spec, np.array([0.7]))[0]
    try:
        law(spec, np.array([1.05]))
        refused = 0.0
    except ValueError:
        refused = 1.0
    return float(p.argmax()), float(p.max()), refused


def far() -> Values:
    """The law at 1e4, and its mean."""
    p = law(TWO_BITS, np.array([1e4]))[0]
    return *(float(v) for v in p), float(p @ TWO_BITS.levels)


def far_with_fuzz() -> Values:
    """Mean at 2, 8, 16, 32 and 1e4, with a fuzz of 1e-6."""
    spec = replace(TWO_BITS, fuzz=1e-6)
    x = np.array([2.0, 8.0, 16.0, 32.0, 1e4])
    return tuple(float(v) for v in mean(spec, x))


def means() -> Values:
    """Means at 0, .8, 1.8, 3: RQ, then the stair under the same noise."""
    x = np.array([0.0, 0.8, 1.8, 3.0])
    stair = smoothing.expectation(TWO_BITS.stair(), TWO_BITS.noise, x)
    return *(float(v) for v in mean(TWO_BITS, x)), *(float(v) for v in stair)


def slopes_beyond() -> Values:
    """Largest slope in x of RQ's mean and of the stair's, -6 to 6; and their slopes at the last
    level."""
    x = np.linspace(-6.0, 6.0, 1201)
    at = np.array([1.0])
    relaxed_ones = [float(mean_slopes(TWO_BITS, points).x.max()) for points in (x, at)]
    stairs = [
        float(smoothing.slope(TWO_BITS.stair(), TWO_BITS.noise, points).max()) for points in (x, at)
    ]
    return relaxed_ones[0], stairs[0], relaxed_ones[1], stairs[1]


def differences() -> Values:
    """Largest difference from central differences, in x, spacing, scale: of the mean, then of the
    relaxed value; five noises, fuzz 0 and .01."""
    h = 1e-5
    uniforms = np.random.Generator(np.random.PCG64(1)).uniform(size=(len(X), 4))

    def errors(
        spec: RelaxedQuantizer,
        found: tuple[np.ndarray, np.ndarray, np.ndarray],
        at: Callable[[RelaxedQuantizer, np.ndarray], np.ndarray],
    ) -> list[float]:
        scale = scale_of(spec.noise)
        wider = [replace(spec, noise=with_scale(spec.noise, scale + e)) for e in (h, -h)]
        longer = [replace(spec, spacing=spec.spacing + e) for e in (h, -h)]
        pairs = [(at(spec, X + h), at(spec, X - h))]
        pairs += [(at(up, X), at(down, X)) for up, down in (longer, wider)]
        return [size((u - d) / (2 * h) - f) for f, (u, d) in zip(found, pairs, strict=True)]

    specs = [RelaxedQuantizer(-2, 4, 1.1, n, 0.2, fuzz) for n in NOISES for fuzz in (0.0, 0.01)]
    of_mean = [errors(spec, mean_slopes(spec, X), mean) for spec in specs]
    of_value = [
        errors(
            spec,
            relaxed_slopes(spec, X, uniforms, 0.7),
            lambda q, x: relaxed(q, x, uniforms, 0.7),
        )
        for spec in specs
    ]
    return *(float(v) for v in np.max(of_mean, axis=0)), *(
        float(v) for v in np.max(of_value, axis=0)
    )


def left_out() -> Values:
    """2 sigmoid(-delta) for delta = 2, 3, 4 scales, then stds."""
    noise = Logistic(0.6)
    units = scale_of(noise), std_of(noise)
    return tuple(neglected(noise, delta * unit) for unit in units for delta in (2.0, 3.0, 4.0))


def local_cost() -> Values:
    """8 bits, scale a third of the spacing, reach 3 scales: levels kept inside; total variation
    distance of the law from the whole one at a level and halfway."""
    spec = RelaxedQuantizer.of_bits(8, 1.0, Logistic(1 / 3), signed=True)
    x = np.array([3.0, 3.5])
    gap = 0.5 * np.abs(law(spec, x, 1.0) - law(spec, x)).sum(axis=-1)
    return float(kept(spec, x, 1.0).sum(axis=-1).max()), *(float(v) for v in gap)


def ties() -> Values:
    """3 bits: level n at the seven thresholds, then how many of them the rules up, down, away
    share, then off ties how many of 301 inputs differ from any of the three."""
    spec = RelaxedQuantizer.of_bits(3, 1.0, Logistic(0.3), signed=True)
    at, x = np.array(spec.stair().thresholds), np.linspace(-6.03, 5.0, 301)
    rules = ("up", "down", "away")
    shared = [float((spec.stair(tie)(at) == rounded(spec, at)).sum()) for tie in rules]
    differ = sum(int((spec.stair(tie)(x) != rounded(spec, x)).sum()) for tie in rules)
    return *(float(v) for v in rounded(spec, at)), *shared, float(differ)


CLAIMS = (
    Claim(
        id="law-sum",
        statement="p_i = (m_i + e) / sum_j (m_j + e), m_i the mass of noise in the bin of width "
        "spacing about level i, sums to 1 for fuzz e = 0, 1e-6, .3, all levels or local ones",
        code=law,
        test=f"{TEST}::test_a_law_sums_to_one",
        printed="0",
        number="noted",
        expected=(0.0,) * 3,
        tolerance=2e-15,
        why="four quotients, each rounded to 2^-53, and their sum",
        run=sums,
    ),
    Claim(
        id="law-ends",
        statement="The law is that of a stair under the same noise but for the tails, which the "
        "stair gives to its end levels and RQ cuts off: total variation distance, 6 bits, scale "
        ".6, 15 scales inside the end (3.1e-7), 5 inside (.0065), at the last level (.1317), over "
        "t - p t / (1 - t), t the tail beyond the end, p the mass of its bin",
        code=law,
        test=f"{TEST}::test_inside_the_lattice_the_law_is_that_of_a_stair_under_noise",
        printed="1 (derived); below 1e-6 beyond 15 scales",
        number="ours",
        expected=(1.0, 1.0, 1.0),
        tolerance=1e-8,
        why="16 probabilities above 1 %, each with 2 roundings of 2^-53, over 3e-7: 1e-8",
        run=ends,
    ),
    Claim(
        id="law-uniform",
        statement="With uniform noise as wide as the spacing it is stochastic rounding, with mean "
        "x: largest differences between the end levels, 95 inputs",
        code=law,
        test=f"{TEST}::test_uniform_noise_of_one_spacing_is_stochastic_rounding",
        printed="0, 0",
        number="ours",
        expected=(0.0, 0.0),
        tolerance=1e-15,
        why="64ths are exact; a logarithm and an exponential are rounded to 2^-52 of 1 each",
        run=rounds_at_random,
    ),
    Claim(
        id="law-uniform-outside",
        statement="Outside it is not: 0.4 spacings beyond the last level all mass is on that level "
        "(position, probability), 1.1 beyond there is none to renormalise, and we refuse",
        code=logits,
        test=f"{TEST}::test_uniform_noise_of_one_spacing_is_stochastic_rounding",
        printed="3, 1, refused (derived)",
        number="ours",
        expected=(3.0, 1.0, 1.0),
        tolerance=0.0,
        why="one term of a sum is not 0",
        run=outside,
    ),
    Claim(
        id="far-law",
        statement="Far outside, RQ does not saturate: p_i tends to exp(g_i / s) / sum_j "
        "exp(g_j / s); levels -2, -1, 0, 1, s = .6: the law at 1e4, its mean",
        code=far_law,
        test=f"{TEST}::test_far_inputs_do_not_saturate",
        printed=".0055, .0290, .1534, .8122; .772 (derived)",
        number="ours",
        expected=(0.0055, 0.0290, 0.1534, 0.8122, 0.7722),
        tolerance=0.5e-4,
        why=FOURTH,
        run=far,
    ),
    Claim(
        id="far-fuzz",
        statement="A fuzz, however small, turns that into the uniform law: mean at 2, 8, 16, 32 "
        "and 1e4, fuzz 1e-6, so the mean falls back to the middle of the lattice",
        code=far_law,
        test=f"{TEST}::test_far_inputs_do_not_saturate",
        printed="-1/2 in the end (derived); all as seen: 0.6945, 0.5576, -0.5, -0.5, -0.5",
        number="ours",
        expected=(0.6945, 0.5576, -0.5, -0.5, -0.5),
        tolerance=0.5e-4,
        why=FOURTH,
        run=far_with_fuzz,
    ),
    Claim(
        id="far-means",
        statement="Means at x = 0, .8, 1.8, 3 of RQ, then of the stair under the same noise; same "
        "levels and scale",
        code=mean,
        test=f"{TEST}::test_far_inputs_do_not_saturate",
        printed="-.133, .355, .666, .757; -.076, .498, .872, .981 (derived)",
        number="ours",
        expected=(-0.133, 0.355, 0.666, 0.757, -0.076, 0.498, 0.872, 0.981),
        tolerance=0.5e-3,
        why="half a unit of the third decimal",
        run=means,
    ),
    Claim(
        id="far-slopes",
        statement="Largest slope in x of these means, of RQ and of the stair, then both at the "
        "last level",
        code=mean_slopes,
        test=f"{TEST}::test_slopes_are_central_differences",
        printed="seen: 0.747, 0.862, 0.413, 0.494",
        number="ours",
        expected=(0.747, 0.862, 0.413, 0.494),
        tolerance=0.5e-3,
        why="half a unit of the third decimal; the largest one is flat over a hundredth",
        run=slopes_beyond,
    ),
    Claim(
        id="law-slopes",
        statement="Derivatives in x, spacing and scale against central differences: of the mean, "
        "of the relaxed value; five noises, fuzz 0 and .01: largest differences",
        code=log_slopes,
        test=f"{TEST}::test_slopes_are_central_differences",
        printed="0",
        number="ours",
        expected=(0.0,) * 6,
        tolerance=2e-8,
        why="step 1e-5: h^2 / 6 times a third derivative below 1e3 is 1.7e-8, rounding 1e-9",
        run=differences,
    ),
    Claim(
        id="local-mass",
        statement="Logistic mass beyond 2, 3, 4 times the scale, 2 sigmoid(-delta), and beyond as "
        "many stds: what the paper calls a standard deviation is the scale, std / 1.8138",
        code=neglected,
        test=f"{TEST}::test_a_local_lattice_renormalises",
        printed=".238, .0949, .0360; .0518, .0086, .0014 (derived)",
        number="ours",
        expected=(0.2384, 0.0949, 0.0360, 0.0518, 0.0086, 0.0014),
        tolerance=0.5e-4,
        why=FOURTH,
        run=left_out,
        verdict="holds corrected",
    ),
    Claim(
        id="local-law",
        statement="8 bits, scale a third of the spacing, reach 3 scales: levels kept, and total "
        "variation distance of the law from the whole one at a level and halfway between two",
        code=kept,
        test=f"{TEST}::test_a_local_lattice_renormalises",
        printed="3; 2 sigmoid(-4.5) = .0220 at a level, sigmoid(-3) + sigmoid(-6) = .0499 halfway "
        "(derived)",
        number="ours",
        expected=(3.0, 0.0220, 0.0499),
        tolerance=0.5e-4,
        why=FOURTH,
        run=local_cost,
    ),
    Claim(
        id="test-ties",
        statement="After training, spacing round(x / spacing), halves to even as usual routines "
        "have it (the paper names no rule): n at the thresholds of levels "
        "-4..3, thresholds shared with our tie rules up, down, away, and "
        "inputs off ties that differ",
        code=rounded,
        test=f"{TEST}::test_rounding_after_training_and_our_tie_rules",
        printed="-4, -2, -2, 0, 0, 2, 2; 3, 4, 3; 0 (derived)",
        number="ours",
        expected=(-4, -2, -2, 0, 0, 2, 2, 3, 4, 3, 0),
        tolerance=0.0,
        why="halves are exact",
        run=ties,
    ),
)
