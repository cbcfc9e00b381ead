"""Chains for `qtheory bench chain`, each with an answer that is known to more digits than floats.

Laws and times of birth and death are worked out in whole numbers of 190 bits and more, times of
banded chains in numbers of 40 digits, and n operations lose log2(n) bits. Laws of reversible chains
with dyadic entries are known exactly, however many states there are. Answers are long
doubles, with a relative error of 2**-63 where those have 64 bits.
"""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
from numpy import ndarray

from qtheory.chain import BandedChain, BirthDeathChain, MarkovChain

DIGITS, BITS = 40, 190

Exact = np.ndarray
"""Long doubles."""


def random_birth_death(states: int, most: int = 1_000_000) -> BirthDeathChain:
    """Probabilities within a tenth of 1/4, less for more than `most` states, with a fixed seed.

    The law spans a hundred decades.
    """
    rng = np.random.Generator(np.random.PCG64(1))
    spread = 0.025 / max(1.0, states / most) ** 0.5
    return BirthDeathChain(*rng.uniform(0.25 - spread, 0.25 + spread, (2, states - 1)))


def double_well(height: float, states: int = 101) -> BirthDeathChain:
    """Metropolis steps, proposals 1/2, in (x^2 - 1)^2 + x / 20 on -1.3..1.3, `height` of 1 / T."""
    x = np.linspace(-1.3, 1.3, states)
    rise = height * np.diff((x**2 - 1) ** 2 + x / 20)
    return BirthDeathChain(*(0.5 * np.exp(-np.maximum(d, 0)) for d in (rise, -rise)))


def random_banded(states: int, width: int = 5) -> BandedChain:
    """Probabilities within a fifth of 1 / (4 b), with a fixed seed."""
    rng = np.random.Generator(np.random.PCG64(2))
    above, below = rng.uniform(0.8, 1.2, (2, width, states)) / (4 * width)
    for j in range(width):
        above[j, states - j - 1 :], below[j, : j + 1] = 0.0, 0.0
    return BandedChain(above, below)


def reversible_banded(states: int, width: int = 5) -> tuple[BandedChain, ndarray]:
    """A chain whose law is 2**-e_k but for its sum, and these e.

    Flows pi_i P_ij are symmetric with few bits, so P_ij = flow / pi_i is a float exactly.
    """
    rng = np.random.Generator(np.random.PCG64(3))
    exponent = np.cumsum(rng.integers(-1, 2, states))
    above, below = np.zeros((2, width, states))
    for j in range(width):
        low, high = exponent[: -j - 1], exponent[j + 1 :]
        flow = rng.integers(1, 256, len(low)) / 2**8 / 2 ** int(2 * width - 1).bit_length()
        above[j, : -j - 1] = flow * 2.0 ** np.minimum(low - high, 0)
        below[j, j + 1 :] = flow * 2.0 ** np.minimum(high - low, 0)
    return BandedChain(above, below), exponent


def coupled_halves(states: int, coupling: int = 40) -> tuple[MarkovChain, ndarray]:
    """A dense chain of two halves with links of 2**-coupling, its law known likewise."""
    rng = np.random.Generator(np.random.PCG64(4))
    exponent = rng.integers(0, 4, states)
    flow = np.triu(rng.integers(1, 256, (states, states)), 1) / 2.0**8
    flow += flow.T
    half = np.arange(states) < states // 2
    flow[half[:, None] != half] *= 2.0**-coupling
    scale = 2.0 ** -(3 + (states - 1).bit_length())
    return MarkovChain(scale * flow * 2.0 ** exponent[:, None]), exponent


def longer(high: Any, low: Any) -> Exact:
    """The sums as long doubles."""
    return np.array(high, dtype=np.longdouble) + np.array(low, dtype=np.longdouble)


def exact_powers(exponent: ndarray) -> Exact:
    """The law 2**-e_k, divided by its sum."""
    counts = np.bincount(exponent - exponent.min()).tolist()
    total = sum(count << (len(counts) - k) for k, count in enumerate(counts))
    values = [mpmath.ldexp(1, len(counts) - k) / total for k in range(len(counts))]
    high = [float(value) for value in values]
    low = [float(value - first) for value, first in zip(values, high, strict=True)]
    return longer(high, low)[exponent - exponent.min()]


def whole(links: ndarray) -> tuple[list[int], list[int]]:
    """Whole numbers and powers of two whose products are these floats."""
    fraction, power = np.frexp(links)
    return (fraction * 2.0**53).astype(np.int64).tolist(), (power - 53).tolist()


def exact_birth_death(chain: BirthDeathChain) -> Exact:
    """pi_(k+1) / pi_k = up_k / down_k, in whole numbers of 190 to 244 bits times 2**-shift."""
    weight, shift = 1 << BITS, BITS
    high, low = [1.0], [0.0]
    for up, of_up, down, of_down in zip(*whole(chain.up), *whole(chain.down), strict=True):
        weight, shift = weight * up // down, shift - of_up + of_down
        if weight.bit_length() < BITS:
            weight, shift = weight << 54, shift + 54
        elif weight.bit_length() > BITS + 54:
            weight, shift = weight >> 54, shift - 54
        first = float(weight)
        high.append(math.ldexp(first, -shift))
        low.append(math.ldexp(float(weight - int(first)), -shift))
    total = math.fsum([*high, *low])
    rest = math.fsum([*high, *low, -total])
    return longer(high, low) / longer(total, rest)


def exact_times(chain: BirthDeathChain) -> Exact:
    """To the last state, from all others: sums of t = (1 + down t) / up, of 190 bits after it."""
    time, total = 0, 0
    steps: list[int] = []
    (up, of_up), (down, of_down) = whole(chain.up), whole(chain.down)
    for p, p_power, q, q_power in zip(up, of_up, [0, *down], [0, *of_down], strict=False):
        time = ((1 << BITS) + (time * q >> -q_power) << -p_power) // p
        steps.append(time)
    high, low = [], []
    for time in reversed(steps):
        total += time
        first = float(total)
        high.append(math.ldexp(first, -BITS))
        low.append(math.ldexp(float(total - int(first)), -BITS))
    return longer(high, low)[::-1]


def exact_banded_times(chain: BandedChain) -> Exact:
    """To the last state, from all others, by elimination from the first state up."""
    width, size = chain.bandwidth, chain.size - 1
    rows = [
        {
            **{k + j + 1: mpmath.mpf(chain.above[j, k]) for j in range(width) if k + j < size},
            **{k - j - 1: mpmath.mpf(chain.below[j, k]) for j in range(width) if k > j},
        }
        for k in range(size)
    ]
    reward, leaving = [mpmath.mpf(1)] * size, [mpmath.mpf(0)] * size
    for n in range(size):
        leaving[n] = mpmath.fsum(rows[n].values())
        for i in range(n + 1, min(n + width + 1, size)):
            share = rows[i].pop(n) / leaving[n]
            reward[i] += share * reward[n]
            for j, p in rows[n].items():
                if j != i:
                    rows[i][j] = rows[i].get(j, mpmath.mpf(0)) + share * p
    times = [*reward, mpmath.mpf(0)]
    for n in range(size - 1, -1, -1):
        total = reward[n] + mpmath.fsum(p * times[j] for j, p in rows[n].items())
        times[n] = total / leaving[n]
    high = [float(time) for time in times[:-1]]
    return longer(high, [float(t - first) for t, first in zip(times, high, strict=False)])


def gap_error(chain: BirthDeathChain, gap: float) -> float:
    """Least of 1e-16, 2e-16, 4e-16, ... within which the gap lies for certain; 1 if beyond 1.

    By the Sturm sequence of the symmetrised matrix, in numbers of 900 digits.
    """
    with mpmath.workdps(900):
        up, down = ([mpmath.mpf(p) for p in a.tolist()] for a in (chain.up, chain.down))

        def below(x: Any) -> int:
            pivot = up[0] + down[0] - x
            count = int(pivot < 0)
            for k in range(1, len(up)):
                pivot = up[k] + down[k] - x - down[k - 1] * up[k] / pivot
                count += int(pivot < 0)
            return count

        error = mpmath.mpf("1e-16")
        while error < 1 and not below(gap * (1 - error)) == 0 < below(gap * (1 + error)):
            error *= 2
        return min(float(error), 1.0)
