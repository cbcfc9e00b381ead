"""Two public claims about weights without a float copy: ECO's radius, and LOTION's minima."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qtheory import DeterministicRounding, Lattice, StochasticRounding
from qtheory.chain import evolve
from qtheory.increments import noisy_increments_at_levels
from qtheory.limits.generator import limit_law
from qtheory.noise import Uniform
from qtheory.transition import weight_chain

TEST = "tests/papers/test_hidden_levels.py"
WIDE = Lattice.uniform(-64.0, 64.0, 129)
BEST = 0.25

Pairs = Float[ndarray, "visible latents"]
"""Probabilities of a visible weight and a latent."""

Points3 = Float[ndarray, "points three"]
"""Three weights each."""

PerPoint = Float[ndarray, "points"]
"""A loss each."""


def gradient(w: float) -> float:
    """Of (w - 1/4)**2 / 2."""
    return w - BEST


def radii() -> Values:
    """Learning rate times the distance at which plain rounding to the nearest stops, exact
    gradients from 60, rates 0.1, 0.05, 0.025; then by stochastic rounding with noise."""
    found: list[float] = []
    for rate in (0.1, 0.05, 0.025):
        laws = noisy_increments_at_levels(gradient, WIDE, rate)
        start = np.eye(129)[124]
        end = evolve(weight_chain(DeterministicRounding(WIDE), laws), start, 10_000)
        found.append(rate * float(end @ np.abs(WIDE.levels - BEST)))
    return tuple(found)


def rounded() -> Values:
    """Mean square distance under SR and uniform noise of half width 1, rates 0.1, 0.01, 0.001
    after 100 / rate iterations, over that of the limit law."""
    narrow = Lattice.uniform(-8.0, 8.0, 17)
    limit = limit_law(lambda w: w - BEST, Uniform(1.0), narrow) @ (narrow.levels - BEST) ** 2
    found: list[float] = []
    for rate in (0.1, 0.01, 0.001):
        laws = noisy_increments_at_levels(gradient, narrow, rate, Uniform(1.0))
        chain = weight_chain(StochasticRounding(narrow), laws)
        law = evolve(chain, np.eye(17)[16], round(100 / rate))
        found.append(float(law @ (narrow.levels - BEST) ** 2) / float(limit))
    return tuple(found)


def same_as_a_latent() -> Values:
    """ECO as it is stated, against w' = Q(beta w + (1 - beta) z'), z' = z - rate g: largest
    difference of 2000 visible weights, Q to the nearest."""
    draws, rate, beta = np.random.default_rng(4), 2.0**-4, 0.5
    w = z = momentum = visible = 0.0
    apart: list[float] = []
    for noise in draws.integers(-8, 9, 2000) / 8:
        momentum = beta * momentum + (1 - beta) * (w - BEST + noise)
        wanted = w - rate * momentum
        w = float(np.rint(wanted))
        momentum += (1 - 1 / beta) * (wanted - w) / rate
        z -= rate * (visible - BEST + noise)
        visible = float(np.rint(beta * visible + (1 - beta) * z))
        apart.append(abs(w - visible))
    return (largest(apart),)


@cache
def eco(rate: float, beta: float, *, noise: float = 1.0) -> float:
    """E (w - 1/4)**2 of the visible weight, after 60 / rate iterations from 0, by the chain of
    (w, z): gradients are w - 1/4 plus -noise, 0 or noise, Q to the nearest, spacing 1.

    rate, beta, noise: dyadic, so that z stays on multiples of rate / 4.
    """
    unit, reach = rate / 4, 6
    z = unit * np.arange(-round(reach / unit), round(reach / unit) + 1)
    w = np.arange(-reach, reach + 1.0)
    law: Pairs = np.zeros((w.size, z.size))
    law[reach, z.size // 2] = 1.0
    shown = np.rint(beta * w[:, None] + (1 - beta) * z) + reach
    shown = np.clip(shown, 0, 2 * reach).astype(np.int64)
    for _ in range(round(60 / rate)):
        moved = np.zeros_like(law)
        for i, e in itertools.product(range(w.size), (-noise, 0.0, noise)):
            shift = round(-rate * (w[i] - BEST + e) / unit)
            up, down = (abs(shift) + shift) // 2, (abs(shift) - shift) // 2
            moved[i, up : z.size - down] += law[i, down : z.size - up] / 3
        law = np.zeros_like(law)
        np.add.at(law, (shown, np.arange(z.size)[None, :]), moved)
    return float(law.sum(axis=1) @ (w - BEST) ** 2)


def eco_radii() -> Values:
    """E (w - 1/4)**2 of ECO at beta = 1/2, rates 1/8, 1/16, 1/32, and of SR in the limit."""
    narrow = Lattice.uniform(-8.0, 8.0, 17)
    law = limit_law(lambda w: w - BEST, Uniform(1.0), narrow)
    found = [eco(2.0**-k, 0.5) for k in (3, 4, 5)]
    return *found, float(law @ (narrow.levels - BEST) ** 2)


HESSIAN = np.array([[1.0, 0.9, 0.9], [0.9, 1.0, 0.9], [0.9, 0.9, 1.0]])
MINIMUM = np.array([0.45, -0.4, 0.3])
LEVELS = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=3)))


def loss(w: Points3) -> PerPoint:
    """(w - w*)' H (w - w*) / 2 of three weights."""
    e = w - MINIMUM
    return 0.5 * np.einsum("pi,ij,pj->p", e, HESSIAN, e)


def smoothed(w: Points3) -> PerPoint:
    """E F(Q_s(w)), each weight rounded by itself to one of its two whole neighbours."""
    low = np.floor(w)
    up = w - low
    total = np.zeros(len(w))
    for corner in itertools.product((0.0, 1.0), repeat=3):
        chance = np.where(corner, up, 1.0 - up).prod(axis=1)
        total += chance * loss(low + corner)
    return total


def lotion() -> Values:
    """Largest abs of E F(Q_s(w)) - F(w) - sum of h_ii f (1 - f) / 2, and the least of E F(Q_s(w))
    on a grid of 41^3 reals less the least of F on the lattice."""
    w = np.array(list(itertools.product(np.linspace(-1.0, 1.0, 41), repeat=3)))
    f = w - np.floor(w)
    extra = 0.5 * (HESSIAN.diagonal() * f * (1 - f)).sum(axis=1)
    values = smoothed(w)
    gap = float(values.min() - loss(LEVELS).min())
    return float(np.abs(values - loss(w) - extra).max()), gap


def minima() -> Values:
    """Lattice points that no move of one weight improves, and the local minima of E F(Q_s(w)),
    looked for in 26 directions at each; then the losses of the best two, F."""
    values = loss(LEVELS)
    near = np.abs(LEVELS[:, None] - LEVELS[None]).sum(axis=2) == 1
    stable = [bool((values[near[i]] > values[i]).all()) for i in range(27)]
    ways = np.array([d for d in itertools.product((-1.0, 0.0, 1.0), repeat=3) if any(d)])
    local: list[bool] = []
    for w, value in zip(LEVELS, values, strict=True):
        around = w + 1e-3 * ways
        around = around[(np.abs(around) <= 1).all(axis=1)]
        local.append(bool((smoothed(around) > value).all()))
    best = np.sort(values[np.array(local)])
    return float(sum(stable)), float(sum(local)), *best[:2].tolist()


CLAIMS = (
    Claim(
        id="masters-latent",
        statement="ECO (rule from memory): w' = Q(w - rate m), m += (1 - 1 / beta) error / rate. "
        "It keeps a latent in its momentum: with z' = z - rate g, w' = Q(beta w + (1 - beta) z'), "
        "exactly; largest difference in 2000 iterations",
        code=same_as_a_latent,
        test=f"{TEST}::test_eco_is_a_latent_with_hysteresis",
        printed="0",
        number="ours",
        expected=(0.0,),
        tolerance=0.0,
        why="all numbers are dyadic, so that nothing is rounded but by Q",
        run=same_as_a_latent,
    ),
    Claim(
        id="masters-radius",
        statement="ECO's radius does not grow as the rate falls: E (w - w*)^2 at beta = 1/2, w* = "
        "1/4, rates 1/8, 1/16, 1/32; it tends to the dither of a latent, 3/16. SR without any "
        "float has 0.3314 at every small rate, under uniform noise",
        code=eco,
        test=f"{TEST}::test_eco_is_a_latent_with_hysteresis",
        printed="0.1791, 0.1827, 0.1850, 0.3314",
        number="ours",
        expected=(0.1791, 0.1827, 0.1850, 0.3314),
        tolerance=6e-5,
        why="half a unit of the fourth decimal; exp(-30) of the start is left",
        run=eco_radii,
        slow=True,
    ),
    Claim(
        id="masters-nearest",
        statement="Masters removed with rounding to the nearest: the claim that the error grows as "
        "1 / rate is right; exact gradients, rate times the distance at which it stops, rates 0.1, "
        "0.05, 0.025, tends to s / 2",
        code=weight_chain,
        test=f"{TEST}::test_eco_is_a_latent_with_hysteresis",
        printed="0.475, 0.4875, 0.49375",
        number="noted",
        expected=(0.475, 0.4875, 0.49375),
        tolerance=1e-9,
        why="a path without noise; the distances are 4.75, 9.75 and 19.75 spacings, below 1 / (2 "
        "rate)",
        run=radii,
    ),
    Claim(
        id="masters-rounded",
        statement="Removed with stochastic rounding of weights that stay on the lattice it is "
        "wrong: mean square distance at rates 0.1, 0.01, 0.001 over that of the limit law",
        code=limit_law,
        test=f"{TEST}::test_eco_is_a_latent_with_hysteresis",
        printed="1, 1, 1",
        number="noted",
        expected=(1.0, 1.0, 1.0),
        tolerance=1e-9,
        why="increments stay below a spacing, so the law does not depend on the rate; exp(-100) of "
        "the start is left",
        run=rounded,
        verdict="holds corrected",
    ),
    Claim(
        id="masters-lotion",
        statement="LOTION on a quadratic of three ternary weights: E F(Q_s(w)) = F(w) + sum of "
        "h_ii s^2 f (1 - f) / 2 exactly, and its least value is that of the lattice; largest "
        "difference, and the gap of the minima on 41^3 points",
        code=smoothed,
        test=f"{TEST}::test_lotion_keeps_global_minima_and_local_ones",
        printed="0, 0",
        number="noted",
        expected=(0.0, 0.0),
        tolerance=1e-14,
        why="a mean of eight losses below 5, some 20 roundings of them",
        run=lotion,
    ),
    Claim(
        id="masters-minima",
        statement="It keeps local minima too, and makes none but these: it is linear in each "
        "weight between levels, so its local minima are the lattice points that no move of one "
        "weight improves; how many of 27, by moves and by directions, and the least two losses",
        code=minima,
        test=f"{TEST}::test_lotion_keeps_global_minima_and_local_ones",
        printed="7, 7, 0.07775, 0.09275",
        number="ours",
        expected=(7.0, 7.0, 0.07775, 0.09275),
        tolerance=1e-12,
        why="whole numbers, and quadratics of decimals",
        run=minima,
    ),
)
