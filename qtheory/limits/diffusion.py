"""The diffusion approximation of lattice walkers: what a walker is when its lattice is fine.

Let a walker on levels of spacing s move up with probability p(w) and down with q(w). Then

    drift      b(w) = s (p - q)             mean move an iteration
    diffusion  a(w) = s**2 (p + q)          mean square move an iteration
    (P - 1) f = b f' + a f'' / 2 + (s**2 / 6) b f''' + (s**2 / 24) a f'''' + ...

The first two terms are the Fokker-Planck (diffusion) approximation; the next two are its error an
iteration, of order s**2, exact for polynomials f of degree 4.

Near a minimum, where the gradient u is small beside symmetric noise e, b = -gain lr u and a is
constant, so the stationary law is Gibbs' exp(-F / T) of the loss F at the temperature

    T = s**2 E[k**2] / (2 gain lr),     k the move under the increment -lr e, in spacings,
    gain = d E[k] / d x,                x the mean increment in spacings.

Stochastic rounding with lr |e| <= s: gain 1, T = s E|e| / 2, whatever the learning rate: the
missing temperature knob [li2017]. DST with move probability tanh(m f) goes from this value at
m lr |e| << s to s / (4 rho(0)) for m -> infinity, rho(0) the density of the noise at 0: it
becomes descent by the sign of the gradient. For normal noise this is pi / 2 times hotter; for
Student's t with two degrees of freedom equal; for heavier tails cooler.
Our derivation; [deng2018] has no statement of the kind.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.algorithms.base import Spec
from qtheory.algorithms.base import steepness as steepness_of
from qtheory.arrays import Levels, Pmf
from qtheory.chain import MarkovChain
from qtheory.increments import ContinuousIncrements, Increments, certain
from qtheory.lattice import Lattice
from qtheory.noise import Noise, Points
from qtheory.transition import weight_chain

PerLevel = Float[ndarray, "levels"]
"""One real number for each level."""

Rate = Callable[[Points], Points]
"""A probability of moving, or a moment of the move, as a function of the weight."""

REACH = 8
"""Most spacings that a single move is followed."""

NODES = 8
"""Gauss-Legendre nodes between two levels."""


def drift(chain: MarkovChain, lattice: Lattice) -> PerLevel:
    """b: mean move of an iteration at each level, in weight units.

    Absolute error about size * spacing * 2**-53. Raises ValueError if the sizes differ.
    """
    return (chain.off_diagonal * _moves(chain, lattice)).sum(axis=1)


def diffusion(chain: MarkovChain, lattice: Lattice) -> PerLevel:
    """a: mean square move of an iteration at each level, in weight units squared.

    A sum of non-negative terms. Raises ValueError if the sizes differ.
    """
    return (chain.off_diagonal * _moves(chain, lattice) ** 2).sum(axis=1)


def _moves(chain: MarkovChain, lattice: Lattice) -> ndarray:
    if chain.size != lattice.size:
        raise ValueError(f"the chain has the lattice's {lattice.size} levels, got {chain.size}")
    index = np.arange(lattice.size)
    return lattice.spacing * (index[None, :] - index[:, None])


def fokker_planck_law(drift: Rate, diffusion: Rate, lattice: Lattice) -> Pmf:
    """Stationary density (1 / a) exp(integral of 2 b / a) at the levels, normalised over them.

    drift, diffusion: per iteration, as functions of the weight; a > 0 between the ends. The
    integral is 8 Gauss-Legendre nodes between neighbouring levels: exact for polynomials of
    degree 15, so a kink of b or a should be a level. No flow leaves the ends.
    Raises ValueError if the diffusion is not positive and finite somewhere it is asked for.

    >>> law = fokker_planck_law(lambda w: -w, lambda w: 2 + 0 * w, Lattice.uniform(-1.0, 1.0, 3))
    >>> bool(np.allclose(law[1] / law, [math.exp(0.5), 1.0, math.exp(0.5)]))
    True
    """
    levels = lattice.levels
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    x = levels[:-1, None] + 0.5 * lattice.spacing * (1.0 + nodes)
    at_levels, at_nodes = diffusion(levels), diffusion(x)
    least = min(float(at_levels.min()), float(at_nodes.min()))
    if not (least > 0 and math.isfinite(float(at_levels.sum() + at_nodes.sum()))):
        raise ValueError(f"a diffusion is positive and finite, got {least}")
    steps = 0.5 * lattice.spacing * ((2.0 * drift(x) / at_nodes) @ weights)
    exponent = np.concatenate([[0.0], np.cumsum(steps)]) - np.log(at_levels)
    law = np.exp(exponent - exponent.max())
    return law / law.sum()


def finer_chain(drift: Levels, diffusion: Levels, spacing: float) -> MarkovChain:
    """The nearest-neighbour chain on levels of another spacing h with the same drift and diffusion.

    p = (a / h**2 + b / h) / 2, q = (a / h**2 - b / h) / 2: as h -> 0, with the error above at h in
    place of s, the diffusion itself. One iteration must be short enough that p + q <= 1; the two
    ends reflect. Raises ValueError if a probability is negative or p + q exceeds one.
    """
    up = 0.5 * (diffusion / spacing**2 + drift / spacing)
    down = 0.5 * (diffusion / spacing**2 - drift / spacing)
    if float(min(up.min(), down.min())) < 0 or float((up + down).max()) > 1:
        raise ValueError(
            "a chain with this drift and diffusion has probabilities >= 0 that sum to at most "
            f"one, got {min(up.min(), down.min())} and a sum of {(up + down).max()}"
        )
    return MarkovChain(np.diag(up[:-1], 1) + np.diag(down[1:], -1))


def move_law(spec: Spec, increments: Increments) -> Pmf:
    """Law of the move in spacings, -REACH..REACH, far from the ends; longer moves count as REACH.

    spec: only its spacing and rule count, not the size of its lattice.

    >>> from qtheory import StochasticRounding
    >>> from qtheory.noise import Uniform
    >>> law = move_law(StochasticRounding(Lattice.ternary()), ContinuousIncrements(0.0, Uniform(1)))
    >>> law[REACH - 1 : REACH + 2].tolist()
    [0.25, 0.5, 0.25]
    """
    walker = unbounded(spec)
    laws: list[Increments] = [certain(0.0)] * walker.lattice.size
    laws[REACH] = increments
    return weight_chain(walker, laws).transition_matrix[REACH]


def unbounded(spec: Spec) -> Spec:
    """The same rule on REACH levels to either side of a middle one."""
    lattice = Lattice(2 * REACH + 1, spec.lattice.spacing, -REACH * spec.lattice.spacing)
    return dataclasses.replace(spec, lattice=lattice)


def mean_square_move(spec: Spec, noise: Noise) -> float:
    """E[k**2], in spacings squared, under increments of this symmetric law (weight units)."""
    k = np.arange(-REACH, REACH + 1.0)
    return float(move_law(spec, ContinuousIncrements(0.0, noise)) @ k**2)


def gain(spec: Spec, noise: Noise) -> float:
    """d E[k] / d x at x = 0: by how much the walker multiplies a small mean increment.

    noise: of the increment, in weight units. By central differences at h and 2 h, extrapolated, h
    a hundredth of the smaller of the spacing over nonlinearity and the noise's E|e|: relative
    error about 1e-8 from the fifth derivative, 1e-13 from rounding.

    >>> from qtheory import DST, StochasticRounding
    >>> from qtheory.noise import Gaussian
    >>> round(gain(StochasticRounding(Lattice.ternary()), Gaussian(0.1)), 9)
    1.0
    >>> round(gain(DST(Lattice.ternary(), 3.0), Gaussian(1e-5)), 6)
    3.0
    """
    steepness = steepness_of(spec)
    size = 2.0 * float(noise.excess(np.zeros(1))[0])
    h = 0.01 * max(min(spec.lattice.spacing / steepness, size), 0.1 * size)
    k = np.arange(-REACH, REACH + 1.0)

    def mean_move(x: float) -> float:
        up = move_law(spec, ContinuousIncrements(x, noise))
        return float((up[REACH + 1 :] - up[:REACH][::-1]) @ k[REACH + 1 :])

    slopes = [mean_move(x) / x * spec.lattice.spacing for x in (h, 2 * h)]
    return (4 * slopes[0] - slopes[1]) / 3


def temperature(spec: Spec, noise: Noise, learning_rate: float) -> float:
    """T = s**2 E[k**2] / (2 gain lr), in units of the loss.

    noise: of the gradient, in loss per weight unit. Relative error about 1e-8, that of `gain`, and
    what moves beyond REACH spacings would add: 1e-4 for normal increments of std 2 spacings.
    For stochastic rounding `qtheory.limits.temperature` has a closed form.
    Raises ValueError if the learning rate is not positive and finite.

    >>> from qtheory import StochasticRounding
    >>> from qtheory.noise import Gaussian
    >>> spec = StochasticRounding(Lattice(11, 0.5, 0.0))
    >>> [round(temperature(spec, Gaussian(1.0), rate), 4) for rate in (1.0, 0.5, 0.3, 0.1, 0.01)]
    [0.5208, 0.2917, 0.2194, 0.1995, 0.1995]
    """
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"a learning rate is positive and finite here, got {learning_rate}")
    increment = noise.scaled(learning_rate)
    square = spec.lattice.spacing**2 * mean_square_move(spec, increment)
    return square / (2.0 * gain(spec, increment) * learning_rate)


def sign_temperature(spacing: float, noise: Noise) -> float:
    """s / (4 rho(0)): of a walker that moves by the sign of the gradient, DST with m -> infinity.

    >>> from qtheory.noise import Gaussian, StudentT, Uniform
    >>> from qtheory.limits.temperature import temperature_floor
    >>> laws = Uniform(1.0), Gaussian(1.0), StudentT(3.0, 1.0), StudentT(2.0, 1.0)
    >>> [round(sign_temperature(1.0, e) / temperature_floor(e, 1.0), 4) for e in laws]
    [2.0, 1.5708, 1.2337, 1.0]
    """
    return spacing / (4.0 * float(noise.density(np.zeros(1))[0]))
