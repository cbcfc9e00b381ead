"""Escape from wells on a line: exact times, their exponent, and the diffusion's, which is wrong.

A walk on a line moves up by one level with probability p(w) and down with q(w). As the spacing D
goes to 0 with p and q kept as functions of the weight, the time to climb from a to s grows as

    exact        exp((1/D) int_a^s ln(q / p) dw)
    diffusion    exp((1/D) int_a^s 2 (q - p) / (q + p) dw)

the second being that of the Fokker-Planck equation with drift D (p - q) and diffusion
D**2 (p + q). With delta = (q - p) / (q + p), ln(q / p) = 2 artanh(delta), so that a diffusion
escapes too soon by exp(-(2 / (3 D)) int delta**3 (1 + O(delta**2)) dw): wrong exponentially.

Times are sums of positive terms, returned as logarithms, as they may exceed a float's range.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import integrate  # pyright: ignore[reportMissingTypeStubs]

from qtheory.chain.states import State, state_of

Rates = Float[ndarray, "links"]
"""Probabilities of crossing the links 0-1, 1-2, ... of a line in one direction."""

Rate = Callable[[float], float]
"""Probability of a move up, or down, as a function of the weight."""

Points = Float[ndarray, "points"]


def log_passage_time(up: Rates, down: Rates, start: State, target: State) -> float:
    """ln of the mean number of iterations from `start` to `target`, on a line.

    up[k], down[k]: probabilities of k to k + 1 and of k + 1 to k. For start < target

        E = sum over links z from start to target of (1 / (pi_z up_z)) sum_(y <= z) pi_y

    and mirrored otherwise. The logarithm errs by about n (1 + |ln E|) 2**-53.
    Raises ValueError if probabilities are not positive, or start or target is not a state.

    >>> round(math.exp(log_passage_time(np.array([0.5, 0.25]), np.array([0.5, 0.5]), 0, 2)), 12)
    10.0
    """
    size = len(up) + 1
    if len(down) != len(up) or not ((up > 0).all() and (down > 0).all()):
        raise ValueError(f"a line has positive probabilities, as many up as down, got {up}, {down}")
    start, target = state_of(size, start), state_of(size, target)
    if start == target:
        return -math.inf
    if start > target:
        return log_passage_time(down[::-1], up[::-1], size - 1 - start, size - 1 - target)
    law = np.concatenate([[0.0], np.cumsum(np.log(up) - np.log(down))])
    below = np.logaddexp.accumulate(law)
    terms = below[:-1] - law[:-1] - np.log(up)
    return float(np.logaddexp.reduce(terms[start:target]))


def log_diffusion_passage_time(
    drift: Points, diffusion: Points, low: float, high: float, start: float
) -> float:
    """ln of the mean time of dw = b dt + sqrt(a) dB from `start` to `high`, reflected at `low`.

    drift, diffusion: b and a > 0 at equally spaced points from low to high, both included. With
    Phi' = -2 b / a,

        E = int_start^high exp(Phi(y)) int_low^y (2 / a(z)) exp(-Phi(z)) dz dy,

    by the trapezoid rule: the error of E is of order (points' distance)**2, times (1 + Phi''
    / Phi) where Phi is steep. Time is in iterations if b and a are moments per iteration.
    Raises ValueError if the shapes differ, diffusion is not positive, or not low <= start < high.

    >>> still, one = np.zeros(1001), np.ones(1001)
    >>> round(math.exp(log_diffusion_passage_time(still, one, 0.0, 1.0, 0.0)), 6)
    1.0
    """
    if drift.shape != diffusion.shape or len(drift) < 2 or not (diffusion > 0).all():
        raise ValueError(
            "drift and diffusion have a value for each of two points or more, diffusion > 0, "
            f"got {drift.shape} and {diffusion.shape}, at least {diffusion.min(initial=math.inf)}"
        )
    if not low <= start < high:
        raise ValueError(f"a passage needs low <= start < high, got {(low, start, high)}")
    step = (high - low) / (len(drift) - 1)
    slope = -2.0 * drift / diffusion
    phi = np.concatenate([[0.0], np.cumsum(0.5 * step * (slope[1:] + slope[:-1]))])
    inner = np.log(2.0 / diffusion) - phi
    halves = math.log(0.5 * step) + np.logaddexp(inner[1:], inner[:-1])
    below = np.concatenate([[-math.inf], np.logaddexp.accumulate(halves)])
    outer = (phi + below)[round((start - low) / step) :]
    return float(math.log(0.5 * step) + np.logaddexp.reduce(np.logaddexp(outer[1:], outer[:-1])))


def escape_exponents(up: Rate, down: Rate, bottom: float, saddle: float) -> tuple[float, float]:
    """int ln(q / p) dw and int 2 (q - p) / (q + p) dw from bottom to saddle, in weight units.

    Divided by the spacing they are the exact exponent of the escape time and the diffusion's.
    By adaptive quadrature to 1e-10. Raises ValueError if a rate is not positive at an end.

    >>> exact, diffusion = escape_exponents(lambda w: 1.0, lambda w: 3.0, 0.0, 1.0)
    >>> round(exact, 6), diffusion
    (1.098612, 1.0)
    """
    for w in (bottom, saddle):
        if not (up(w) > 0 and down(w) > 0):
            raise ValueError(f"rates are positive, got {up(w)} up and {down(w)} down at {w}")

    def exact(w: float) -> float:
        return math.log(down(w) / up(w))

    def diffusion(w: float) -> float:
        return 2.0 * (down(w) - up(w)) / (down(w) + up(w))

    quad = cast(Callable[..., tuple[float, float]], cast(Any, integrate).quad)
    return tuple(quad(f, bottom, saddle, epsabs=1e-12, epsrel=1e-10)[0] for f in (exact, diffusion))  # pyright: ignore
