"""Chains that claims and tests are tried on: random ones, and those made to break arithmetic.

u = 2**-53 in the tolerances. A law, a hitting time and a hitting probability err by
(2 n**3 + 16) u, relative, in every entry: `law_error`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.chain import BirthDeathChain, MarkovChain, metropolis_rates

UNIT = 2.0**-53
MOST = 15
"""States of the largest chain here."""

Links = Float[ndarray, "links"]


def law_error(size: int) -> float:
    """(2 n**3 + 16) u."""
    return (2 * size**3 + 16) * UNIT


def generator(seed: int) -> np.random.Generator:
    """Always the same numbers."""
    return np.random.Generator(np.random.PCG64(seed))


def random_chain(seed: int, size: int, spread: float = 8.0) -> MarkovChain:
    """Dense, irreducible, not reversible; entries over about `spread` decimal digits."""
    matrix = generator(seed).random((size, size)) ** spread / size
    np.fill_diagonal(matrix, 0.0)
    return MarkovChain(matrix)


def random_reversible(seed: int, size: int, spread: float = 8.0) -> MarkovChain:
    """Symmetric flows over weights, both over about `spread` decimal digits."""
    rng = generator(seed)
    flow = rng.random((size, size)) ** spread
    flow = np.minimum(flow, flow.T)
    np.fill_diagonal(flow, 0.0)
    return MarkovChain(flow / (flow.sum(axis=1) * (1.0 + rng.random(size)))[:, None])


def random_birth_death(seed: int, size: int, decades: float = 3.0) -> MarkovChain:
    """Moves between neighbours, of probabilities over so many decades up to 1/2."""
    up, down = 0.5 * 10.0 ** (-decades * generator(seed).random((2, size - 1)))
    return birth_death(up, down)


def birth_death(up: Links, down: Links) -> MarkovChain:
    """up[k] = P(k -> k + 1), down[k] = P(k + 1 -> k)."""
    return MarkovChain(np.diag(up, 1) + np.diag(down, -1))


def tilted(size: int, bound: float = 1.2) -> Links:
    """(x**2 - 1)**2 + x / 10 on -bound .. bound: two wells, the left one lower."""
    x = np.linspace(-bound, bound, size)
    return (x**2 - 1) ** 2 + 0.1 * x


def double_well(temperature: float, size: int = MOST) -> MarkovChain:
    """Metropolis steps to neighbours in the tilted double well."""
    return birth_death(*metropolis_rates(tilted(size), temperature))


def blocks(size: int, count: int, coupling: float) -> MarkovChain:
    """Dense blocks that are all but uncoupled; not reversible."""
    states = size * count
    matrix = generator(7).uniform(0.1, 1.0, (states, states)) / (2 * states)
    of = np.arange(states) // size
    matrix[of[:, None] != of[None, :]] *= coupling
    np.fill_diagonal(matrix, 0.0)
    return MarkovChain(matrix)


def ring(size: int, right: float, left: float) -> MarkovChain:
    """Moves around a ring, more often one way."""
    turn = np.roll(np.eye(size), 1, axis=1)
    return MarkovChain(right * turn + left * turn.T)


def star(rays: int) -> MarkovChain:
    """A centre, state 0, and its rays."""
    matrix = np.zeros((rays + 1, rays + 1))
    matrix[0, 1:], matrix[1:, 0] = 0.8 / rays, 0.5
    return MarkovChain(matrix)


def banded(size: int, weak: float) -> MarkovChain:
    """Two neighbours on each side; the way up across the middle is weak, the way down is not."""
    i, j = np.indices((size, size))
    near = (np.abs(i - j) <= 2) & (i != j)
    matrix = np.where(near, generator(11).uniform(0.05, 0.2, (size, size)), 0.0)
    matrix[(i < size // 2) & (j >= size // 2)] *= weak
    return MarkovChain(matrix)


WEAK = np.where(np.arange(11) == 5, 1e-12, 0.3)

NEIGHBOURS = {
    "a link of 1e-12": birth_death(WEAK, np.where(WEAK < 0.3, 2e-12, 0.25)),
    "a warm double well": double_well(0.1),
    "a cold double well": double_well(0.01),
    "a colder double well": double_well(0.004),
    "two states, both rare to leave": birth_death(np.array([1e-100]), np.array([3e-100])),
    "almost periodic": birth_death(np.array([0.999]), np.array([0.999])),
    "uphill against a drift": birth_death(np.full(14, 0.1), np.full(14, 0.3)),
}
REVERSIBLE = NEIGHBOURS | {"random symmetric flows": random_reversible(3, 12)}
OTHERS = {
    "three blocks at 1e-12": blocks(4, 3, 1e-12),
    "three blocks at 1e-60": blocks(4, 3, 1e-60),
    "a turning ring": ring(9, 0.6, 0.1),
    "banded, one way weak": banded(14, 1e-12),
    "random, entries over 40 digits": random_chain(6, 10, 40.0),
}
ADVERSARIAL = REVERSIBLE | OTHERS

MORE_REVERSIBLE = REVERSIBLE | {
    "a star": star(8),
    "uphill against a drift, times of 1e9": birth_death(np.full(19, 0.1), np.full(19, 0.3)),
}
MORE_OTHERS = OTHERS | {
    "a ring that turns one way only": ring(7, 0.9, 0.0),
    "random, entries over 8 digits": random_chain(5, 12),
}
MORE_ADVERSARIAL = MORE_REVERSIBLE | MORE_OTHERS
"""Those that claims are tried on, and larger ones that tests add."""


def any_chains() -> Iterator[MarkovChain]:
    """The adversarial ones and twenty random ones."""
    yield from ADVERSARIAL.values()
    for seed in range(20):
        yield random_chain(seed, 3 + seed % 6, (1.0, 8.0, 30.0)[seed % 3])


def reversible_chains() -> Iterator[MarkovChain]:
    """The reversible adversarial ones and thirty random ones."""
    yield from REVERSIBLE.values()
    for seed in range(30):
        yield random_reversible(seed, 3 + seed % 7, (0.5, 5.0, 30.0)[seed % 3])


def neighbour_chains() -> Iterator[BirthDeathChain]:
    """Birth-death chains: the adversarial ones and thirty random ones."""
    found = list(NEIGHBOURS.values())
    found += [random_birth_death(s, 2 + s % 14, (0.5, 3.0, 6.0)[s % 3]) for s in range(30)]
    yield from map(neighbours_only, found)


def neighbours_only(chain: MarkovChain) -> BirthDeathChain:
    """The same chain without its matrix."""
    return BirthDeathChain(chain.off_diagonal.diagonal(1), chain.off_diagonal.diagonal(-1))
