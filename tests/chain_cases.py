"""Chains that theorems are tried on: random ones, and those that break careless arithmetic.

Every adversarial chain is here for a reason, which its comment names.
"""

import numpy as np

from qtheory.chain import MarkovChain


def random_chain(seed: int, size: int, spread: float = 8.0) -> MarkovChain:
    """Dense, irreducible, not reversible; entries over about `spread` decimal digits."""
    rng = np.random.Generator(np.random.PCG64(seed))
    matrix = rng.random((size, size)) ** spread / size
    np.fill_diagonal(matrix, 0.0)
    return MarkovChain(matrix)


def random_reversible(seed: int, size: int, spread: float = 8.0) -> MarkovChain:
    """Symmetric flows over weights, both over about `spread` decimal digits."""
    rng = np.random.Generator(np.random.PCG64(seed))
    flow = rng.random((size, size)) ** spread
    flow = np.minimum(flow, flow.T)
    np.fill_diagonal(flow, 0.0)
    weights = flow.sum(axis=1) * (1.0 + rng.random(size))
    return MarkovChain(flow / weights[:, None])


def random_birth_death(seed: int, size: int, decades: float = 3.0) -> MarkovChain:
    """Moves between neighbours, of probabilities over so many decades up to 1/2."""
    rng = np.random.Generator(np.random.PCG64(seed))
    up, down = 0.5 * 10.0 ** (-decades * rng.random((2, size - 1)))
    return birth_death(up, down)


def birth_death(up: np.ndarray, down: np.ndarray) -> MarkovChain:
    """up[k] = P(k -> k + 1), down[k] = P(k + 1 -> k)."""
    return MarkovChain(np.diag(up, 1) + np.diag(down, -1))


def double_well(temperature: float, size: int = 15) -> MarkovChain:
    """Metropolis steps to neighbours in a tilted double well, proposals 1/2."""
    x = np.linspace(-1.2, 1.2, size)
    rise = np.diff((x**2 - 1) ** 2 + 0.1 * x)
    up = 0.5 * np.exp(-np.maximum(rise, 0.0) / temperature)
    return birth_death(up, 0.5 * np.exp(-np.maximum(-rise, 0.0) / temperature))


def blocks(size: int, count: int, coupling: float) -> MarkovChain:
    """Dense blocks that are all but uncoupled; not reversible."""
    rng = np.random.Generator(np.random.PCG64(7))
    matrix = rng.uniform(0.1, 1.0, (size * count, size * count)) / (2 * size * count)
    apart = np.arange(size * count) // size
    matrix[apart[:, None] != apart[None, :]] *= coupling
    np.fill_diagonal(matrix, 0.0)
    return MarkovChain(matrix)


def turning_ring(size: int, right: float, left: float) -> MarkovChain:
    """Moves around a ring, more often one way."""
    ring = np.roll(np.eye(size), 1, axis=1)
    return MarkovChain(right * ring + left * ring.T)


def star(rays: int) -> MarkovChain:
    """A centre, state 0, and its rays."""
    matrix = np.zeros((rays + 1, rays + 1))
    matrix[0, 1:], matrix[1:, 0] = 0.8 / rays, 0.5
    return MarkovChain(matrix)


def banded(size: int, weak: float) -> MarkovChain:
    """Two neighbours on each side; the way up across the middle is weak, the way down is not."""
    rng = np.random.Generator(np.random.PCG64(11))
    i, j = np.indices((size, size))
    matrix = np.where((abs(i - j) <= 2) & (i != j), rng.uniform(0.05, 0.2, (size, size)), 0.0)
    matrix[(i < size // 2) & (j >= size // 2)] *= weak
    return MarkovChain(matrix)


REVERSIBLE = {
    "a link of 1e-12": birth_death(
        np.where(np.arange(11) == 5, 1e-12, 0.3), np.where(np.arange(11) == 5, 2e-12, 0.25)
    ),
    "a warm double well": double_well(0.1),
    "a cold double well, gap 1e-45": double_well(0.01),
    "two states, both rare to leave": birth_death(np.array([1e-100]), np.array([3e-100])),
    "almost periodic, staying 1e-3": birth_death(np.full(1, 0.999), np.full(1, 0.999)),
    "a star": star(8),
    "uphill against a drift, times of 1e9": birth_death(np.full(19, 0.1), np.full(19, 0.3)),
    "random symmetric flows": random_reversible(3, 12),
}
"""Irreducible, aperiodic, reversible."""

OTHERS = {
    "three blocks at 1e-12": blocks(4, 3, 1e-12),
    "three blocks at 1e-60": blocks(4, 3, 1e-60),
    "a turning ring": turning_ring(9, 0.6, 0.1),
    "a ring that turns one way only": turning_ring(7, 0.9, 0.0),
    "banded, one way weak": banded(14, 1e-12),
    "random, entries over 8 digits": random_chain(5, 12),
    "random, entries over 40 digits": random_chain(6, 10, 40.0),
}
"""Irreducible, aperiodic, not reversible."""

ADVERSARIAL = REVERSIBLE | OTHERS
