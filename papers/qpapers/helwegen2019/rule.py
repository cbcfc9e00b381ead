"""Bop [helwegen2019] as a walker: flips, and how rare noise makes them."""

from __future__ import annotations

import numpy as np

from qpapers.ledger import Claim, Values
from qreference import optimisers
from qtheory.algorithms.bop import Bop, law
from qtheory.algorithms.stochastic_rounding import StochasticRounding
from qtheory.increments import noisy_increments
from qtheory.latent import (
    AverageFlip,
    MomentumWalker,
    average_flip_chain,
    momentum_chain,
    weight_flip_rate,
)
from qtheory.lattice import Lattice
from qtheory.noise import Gaussian
from qtheory.optimisers import Momentum
from qtheory.transition import weight_chain

TEST = "tests/theory/algorithms/test_bop.py"
PLAIN = f"{TEST}::test_a_walker_with_momentum_is_the_published_loop"
BINARY = Lattice.binary()


def published_loop(weights: np.ndarray, gradients: np.ndarray, gain: float, threshold: float):
    """Weights after each iteration by the rule in its own symbols, in float64."""
    w, m, found = weights.astype(np.float64), np.zeros(weights.size), []
    for g in gradients:
        m = (1.0 - gain) * m + gain * g
        w = np.where((np.abs(m) > threshold) & (np.sign(m) == np.sign(w)), -w, w)
        found.append(w)
    return np.array(found)


def walker_loop(weights: np.ndarray, gradients: np.ndarray, gain: float, threshold: float):
    """The same by the plain training step of the walker."""
    spec, base = Bop(BINARY, threshold), Momentum(gain * BINARY.spacing, 1.0 - gain)
    index, moments = BINARY.nearest(weights), optimisers.init(base, weights.shape)
    found = []
    for t, g in enumerate(gradients, start=1):
        index, moments, _, _ = optimisers.train_step(
            spec, base, index, moments, g.astype(np.float32), seed=0, iteration=t, tensor=0
        )
        found.append(BINARY.levels[index])
    return np.array(found)


def loops() -> Values:
    """Iterations and weights in which both agree, and flips for each weight."""
    rng = np.random.default_rng(2)
    weights, gradients = np.sign(rng.normal(size=100)), rng.normal(size=(300, 100))
    ours, theirs = (loop(weights, gradients, 0.1, 0.3) for loop in (walker_loop, published_loop))
    flips = (np.diff(ours, axis=0) != 0).sum() / 100
    return float((ours == theirs).sum()), float(flips)


def chains() -> Values:
    """Flip rates under unit noise, of the walker with momentum and of the average's own chain."""
    gain, spacing = 0.25, 2.0**-4
    fine = Lattice(129, spacing, -64 * spacing)  # of the average
    coarse = Lattice(129, spacing / gain, -64 * spacing / gain)  # of the sum, average / gain
    laws, threshold = [noisy_increments(0.0, 1.0, Gaussian(1.0))] * 2, 0.96875
    walker = MomentumWalker(
        Bop(BINARY, threshold / BINARY.spacing), StochasticRounding(coarse), 1.0 - gain, gain
    )
    flips = AverageFlip(StochasticRounding(fine), gain, threshold)
    rates = (momentum_chain(walker, laws), average_flip_chain(flips, laws))
    return tuple(weight_flip_rate(chain, 2) for chain in rates)


def tails() -> Values:
    """P(flip) of one noisy increment whose std is one spacing, without a moving average."""
    noise = noisy_increments(0.0, 1.0, Gaussian(BINARY.spacing))
    found = [weight_chain(Bop(BINARY, t), [noise] * 2).off_diagonal[0, 1] for t in (1.0, 2.0)]
    return tuple(float(p) for p in found)


CLAIMS = (
    Claim(
        id="rule-loop",
        statement="The walker with the increments of Momentum(gamma s, 1 - gamma) is the published "
        "loop: of 30,000 weights and iterations so many are the same, at so many flips a weight",
        code=law,
        test=PLAIN,
        printed="30000, and 4.79",
        number="ours",
        expected=(30000.0, 4.79),
        tolerance=0.005,
        why="a count, and half a unit of the second decimal",
        run=loops,
    ),
    Claim(
        id="rule-chain",
        statement="Under unit noise the chain of (weight, momentum) of the walker flips as often "
        "as the chain of (weight, average) of `qtheory.latent`: both rates",
        code=momentum_chain,
        test=f"{TEST}::test_both_exact_chains_flip_equally_often",
        printed="0.003365, twice",
        number="ours",
        expected=(0.003365, 0.003365),
        tolerance=5e-7,
        why="half a unit of the sixth decimal",
        run=chains,
    ),
    Claim(
        id="rule-tail",
        statement="Noise alone, of a std of one spacing and without an average, flips a weight "
        "with the normal law's tail at the threshold: of 1 and 2 spacings",
        code=weight_chain,
        test=f"{TEST}::test_noise_flips_by_its_tail",
        printed="0.158655 and 0.022750",
        number="noted",
        expected=(0.158655, 0.022750),
        tolerance=5e-7,
        why="half a unit of the sixth decimal",
        run=tails,
    ),
)
