"""Large deviations of sums along a chain, with bounds that hold for every number of iterations.

For S_n = f(X_1) + .. + f(X_n) and real t, let rho(t) be the Perron root of P_ij exp(t f_j) and x
its right vector. Then [donsker1975]

    Lambda(t) = ln rho(t),    rate(a) = sup_t (t a - Lambda(t)),
    ln P(S_n >= n a) / n -> -rate(a)    for a above the stationary mean

and, as exp(t S_n) x(X_n) / rho**n is a martingale, for t >= 0 and every n

    P_i(S_n >= n a) <= (x_i / min x) exp(-n (t a - Lambda(t))).

Any positive x serves if rho is replaced by max_i (sum_j P_ij exp(t f_j) x_j) / x_i: so the bound is
proved by the numbers that it is computed from, whatever t and x are. (Reference not verified
against the print.)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import optimize  # pyright: ignore[reportMissingTypeStubs]

from qtheory.arrays import TransitionMatrix
from qtheory.chain.classes import require_irreducible
from qtheory.chain.forms import AnyChain, dense
from qtheory.chain.markov import MarkovChain, PerState
from qtheory.chain.perron import perron, right_vector

MAX_TILT = 500.0
"""Largest abs(t) times the range of f: exponentials stay within a float's range."""


class Deviation(NamedTuple):
    """rate: sup over t >= 0 of t a - Lambda(t), in nats for each iteration. tilt: the t where it
    is reached. factor: x_i / min x, shape (n,), what the start i costs."""

    rate: float
    tilt: float
    factor: PerState


def cumulant(chain: AnyChain, values: PerState, tilt: float) -> float:
    """Lambda(t), t = tilt, in nats for each iteration; an absolute error of about 4 n 2**-52.

    Raises ValueError if the chain is not irreducible, a value is missing or not finite, or abs(t)
    times the range of f is above MAX_TILT.

    >>> from qtheory.chain import MarkovChain
    >>> fair = MarkovChain(np.array([[0.0, 0.5], [0.5, 0.0]]))  # independent coins
    >>> abs(cumulant(fair, np.array([-1.0, 1.0]), 1.0) - math.log(math.cosh(1.0))) < 1e-14
    True
    """
    matrix, top = _tilted(_checked(chain, values), values, tilt)
    return math.log(perron(matrix).root) + tilt * top


def deviation(chain: AnyChain, values: PerState, mean: float) -> Deviation:
    """The rate at which P(S_n >= n mean) falls, and what makes a bound of it.

    The rate is a lower bound of the supremum for the upper end of the root's bracket, and as t is
    at hand to 1e-8 of its scale, within 1e-12 or so of the supremum: errors of t enter squared.
    Zero if `mean` is not above the stationary mean. With means at or beyond max f, t ends at
    MAX_TILT over the range of f.
    Raises ValueError as `cumulant` does, or if the mean is not finite.

    >>> from qtheory.chain import MarkovChain
    >>> fair = MarkovChain(np.array([[0.0, 0.5], [0.5, 0.0]]))
    >>> a = 0.5  # ((1 + a) ln(1 + a) + (1 - a) ln(1 - a)) / 2
    >>> round(deviation(fair, np.array([-1.0, 1.0]), a).rate, 9)
    0.130812036
    """
    chain = _checked(chain, values)
    if not math.isfinite(mean):
        raise ValueError(f"a mean is finite, got {mean}")
    spread = float(np.ptp(values))
    if spread == 0.0:
        excess = MAX_TILT if mean > values[0] else 0.0
        return Deviation(excess * (mean - float(values[0])), excess, np.ones(chain.size))

    def negative(tilt: float) -> float:
        return -_log_bound(chain, values, tilt, mean)[0]

    found = optimize.minimize_scalar(  # pyright: ignore
        negative, bounds=(0.0, MAX_TILT / spread), method="bounded", options={"xatol": 1e-10}
    )
    tilt = float(found.x)  # pyright: ignore
    rate, factor = _log_bound(chain, values, tilt, mean)
    if rate <= 0.0:
        return Deviation(0.0, 0.0, np.ones(chain.size))
    return Deviation(rate, tilt, factor)


def tail_bound(chain: AnyChain, values: PerState, mean: float, iterations: int) -> PerState:
    """An upper bound of P_i(S_n >= n mean), n = iterations, from each state i, shape (n,).

    Holds for every n, but for the roundings in its logarithm, about (n + iterations) 2**-50: fit
    to be a p-value. Raises ValueError as `deviation` does, or if the iterations are negative.

    >>> from qtheory.chain import MarkovChain
    >>> fair = MarkovChain(np.array([[0.0, 0.5], [0.5, 0.0]]))
    >>> tail_bound(fair, np.array([0.0, 1.0]), 1.0, 10).round(12).tolist()  # 2**-10
    [0.0009765625, 0.0009765625]
    """
    if iterations < 0:
        raise ValueError(f"a number of iterations is >= 0, got {iterations}")
    found = deviation(chain, values, mean)
    return np.minimum(found.factor * math.exp(-iterations * found.rate), 1.0)


def _log_bound(
    chain: MarkovChain, values: PerState, tilt: float, mean: float
) -> tuple[float, PerState]:
    """t mean - Lambda(t) by the upper end of the root's bracket, and x / min x."""
    matrix, top = _tilted(chain, values, tilt)
    right, bracket = right_vector(matrix)
    return tilt * (mean - top) - math.log(bracket.upper), right / right.min()


def _tilted(chain: MarkovChain, values: PerState, tilt: float) -> tuple[TransitionMatrix, float]:
    """P_ij exp(t (f_j - top)), top making all exponents <= 0."""
    if not abs(tilt) * float(np.ptp(values)) <= MAX_TILT:
        raise ValueError(f"a tilt times the range of f is at most {MAX_TILT}, got tilt {tilt}")
    top = float(values.max() if tilt > 0 else values.min())
    return chain.transition_matrix * np.exp(tilt * (values - top)), top


def _checked(chain: AnyChain, values: PerState) -> MarkovChain:
    chain = dense(chain)
    require_irreducible(chain, "a large deviation")
    if values.shape != (chain.size,):
        raise ValueError(f"{chain.size} states need as many values, got {values.size}")
    if not np.isfinite(values).all():
        raise ValueError("values are finite, got NaN or infinity")
    return chain
