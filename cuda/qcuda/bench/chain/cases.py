"""Chains for `qtheory bench chain`, each with an answer that is known to more digits than floats.

Laws and times of birth and death are worked out in whole numbers of 190 bits and more, times of
banded chains in numbers of 40 digits, and n operations lose log2(n) bits. Laws of reversible chains
with dyadic entries are known exactly, however many states there are. Answers are long
doubles, with a relative error of 2**-63 where those have 64 bits.
"""

from __future__ import annotations

import math
from typing import Any, cast

import mpmath
import numpy as np
from numpy import ndarray
from scipy import fft, sparse  # pyright: ignore[reportMissingTypeStubs]

from qtheory.chain import BandedChain, BirthDeathChain, MarkovChain, SparseChain

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


def from_moves(source: ndarray, target: ndarray, probability: ndarray, states: int) -> SparseChain:
    """The chain of moves given one by one."""
    place: Any = (probability, (source, target))
    matrix: Any = cast(Any, sparse).coo_array(place, shape=(states, states))
    return SparseChain.from_off_diagonal(matrix)


def ring_moves(states: int, jump: int) -> tuple[ndarray, ndarray]:
    """By one and by `jump` to both sides."""
    source = np.tile(np.arange(states), 4)
    return source, (source + np.repeat([1, -1, jump, -jump], states)) % states


def reversible_ring(states: int, jump: int) -> tuple[SparseChain, ndarray]:
    """A ring with long jumps whose law is known as that of `reversible_banded` is."""
    rng = np.random.Generator(np.random.PCG64(6))
    exponent = np.cumsum(rng.integers(-1, 2, states))
    source, target = ring_moves(states, jump)
    flow = rng.integers(1, 256, (2, states)) / 2**11
    flow = np.concatenate([flow[0], flow[0, target[states : 2 * states]], flow[1],
                           flow[1, target[3 * states :]]])  # fmt: skip
    probability = flow * 2.0 ** np.minimum(exponent[source] - exponent[target], 0)
    return from_moves(source, target, probability, states), exponent


def even_ring(states: int, jump: int) -> tuple[SparseChain, Exact]:
    """A ring of even probabilities 1/8, and its times to the last state.

    By Fourier's sum over m of (1 - cos(2 pi m k / n)) / (1 - lambda_m), in long doubles, with
    1 - lambda_m = (sin(pi m / n)**2 + sin(pi m jump / n)**2) / 2.
    """
    source, target = ring_moves(states, jump)
    chain = from_moves(source, target, np.full(len(source), 0.125), states)
    m = np.arange(1, states, dtype=np.longdouble)
    half = np.longdouble(np.pi) + np.longdouble(1.2246467991473532e-16)  # pi, to 107 bits
    one, far = (np.sin(half * (m * j % states) / states) for j in (1, jump))
    modes = np.concatenate([np.zeros(1, dtype=np.longdouble), 2 / (one**2 + far**2)])
    sums: Any = cast(Any, fft).fft(modes).real
    return chain, (sums[0] - sums)[1:]


def product_grid(side: int) -> tuple[SparseChain, Exact]:
    """A grid on which each coordinate moves as a walk does, half of the time: the product law."""
    walks = [random_birth_death(side), double_well(20.0, side)]
    index = np.arange(side * side).reshape(side, side)
    moves: list[tuple[ndarray, ndarray, ndarray]] = []
    for axis, walk in enumerate(walks):
        low, high = np.delete(index, -1, axis).ravel(), np.delete(index, 0, axis).ravel()
        at = low // side if axis == 0 else low % side
        moves += [(low, high, 0.5 * walk.up[at]), (high, low, 0.5 * walk.down[at])]
    source, target, probability = (np.concatenate(part) for part in zip(*moves, strict=True))
    law = np.multiply.outer(*(exact_birth_death(walk) for walk in walks)).ravel()
    return from_moves(source, target, probability, side * side), law


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
