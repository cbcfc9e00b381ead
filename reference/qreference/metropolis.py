"""Metropolis and heat bath: propose a neighbouring level, accept it by its energy [metropolis1953].

With probability q a neighbour is proposed, up or down equally often; an increment of x spacings
favours the one it points to. At the temperature T the other one is accepted with probability
exp(-|x| / T) (Metropolis), or with odds exp(-|x| / T) to 1 (heat bath). The ends refuse.
"""

from __future__ import annotations

import numpy as np

from qreference import walker
from qtheory.algorithms.metropolis import Metropolis
from qtheory.arrays import Increment, Index, Outcomes, Thresholds


def outcomes(spec: Metropolis, index: Index, increment: Increment) -> Outcomes:
    """Down below floor(P(down) 2**32), up from 2**32 - floor(P(up) 2**32) on, in float64."""
    x = walker.spacings(spec.lattice, increment).astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        unlikely = np.exp(-np.abs(x) / spec.temperature)
    likely = np.ones_like(unlikely)
    if spec.acceptance == "heat_bath":
        likely, unlikely = 1 / (1 + unlikely), unlikely / (1 + unlikely)
    up, down = np.where(x > 0, likely, unlikely), np.where(x < 0, likely, unlikely)
    up, down = np.where(x == 0, likely, up), np.where(x == 0, likely, down)
    events = [np.floor(0.5 * spec.proposal * p * 2.0**32).astype(np.uint64) for p in (down, up)]
    thresholds = np.stack([events[0], np.uint64(2**32) - events[1]], axis=-1)
    return Outcomes(thresholds, index[..., None] + np.array([-1, 0, 1]))


def edge(spec: Metropolis, thresholds: Thresholds) -> Index:
    """How far a kernel's thresholds may lie from this room's, in units of 2**-32.

    Of an event of probability p = (q / 2) a, a >= 2**-31, the kernel computes y = |x| / T with two
    float32 roundings (T itself, the quotient): at most 2 y u (1 + u) of a, relative, u = 2**-24.
    exp(-y) = 2**-n exp(-r): n ln 2 is taken off exactly but for its lower part, |r| <= 0.35, and
    8 terms of the series are within 6e-9; their 8 sums and products are rounded, each by u of a
    number that is at most 1.5 times the result: 26 u with the difference r. q is rounded once and
    multiplied once, the heat bath adds a sum and a quotient, each twice over: 6 u. So an event of
    the threshold t has the error (2 y + 33) u t, with y = ln(q 2**31 / t), and one for rounding.
    """
    t = thresholds.astype(np.float64)
    t[..., 1] = 2.0**32 - t[..., 1]
    y = np.log(np.maximum(spec.proposal * 2.0**31 / np.maximum(t, 1.0), 1.0)) + 1.0
    return np.ceil(t * (2 * y + 33) * 2.0**-24).astype(np.int64) + 1
