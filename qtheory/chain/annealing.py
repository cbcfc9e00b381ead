"""Chains whose temperature falls: simulated annealing, exactly.

With T_k = c / ln(k + 2) a barrier of depth d is crossed in iteration k with a probability of order
exp(-d / T_k) = (k + 2)**(-d / c). These sum to infinity if and only if c >= d, so the chain ends at
the global minima if and only if c >= d*, the greatest depth of another local minimum [hajek1988;
not verified against the print].
At c = d* it does so only as a power of k.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.arrays import Pmf
from qtheory.chain.forms import AnyChain, dense
from qtheory.chain.joint import Operator
from qtheory.chain.landscape import Heights, Landscape

Temperatures = Float[ndarray, "iterations"]
"""One temperature for each iteration, > 0."""

Products = Float[ndarray, "iterations levels levels"]
"""Transition matrices, one for each iteration or run of iterations."""

FEW = 8
"""Most states for which runs of iterations are multiplied as matrices."""

RUN = 2**14
"""Iterations whose matrices are held at once."""


def logarithmic_schedule(constant: float, iterations: int, first: int = 0) -> Temperatures:
    """T_k = constant / ln(k + 2) for k = first, ..., first + iterations - 1.

    Raises ValueError if the constant is not positive or a number is negative.

    >>> logarithmic_schedule(math.log(2), 2).round(6).tolist()
    [1.0, 0.63093]
    """
    if not (math.isfinite(constant) and constant > 0):
        raise ValueError(f"the constant of a schedule is positive, got {constant}")
    if iterations < 0 or first < 0:
        raise ValueError(f"iterations are counted from 0, got {first} and {iterations}")
    return constant / np.log(np.arange(first, first + iterations) + 2.0)


def ends_at_global_minima(landscape: Landscape, constant: float) -> bool:
    """Whether annealing with T_k = constant / ln(k + 2) does, from every start: c >= d*.

    >>> from qtheory.chain.landscape import line, survey
    >>> valley = survey([0, 2, 1], line(3))
    >>> ends_at_global_minima(valley, 0.99), ends_at_global_minima(valley, 1.0)
    (False, True)
    """
    return constant >= landscape.hajek_depth


def evolve_inhomogeneous(chains: Iterable[AnyChain | Operator], initial: Pmf) -> Pmf:
    """The law after one iteration of each chain in turn, shape (n,).

    Raises ValueError if a chain has another number of states than the law.

    >>> flip, lazy = [[0.0, 1.0], [1.0, 0.0]], [[0.75, 0.25], [0.0, 1.0]]
    >>> evolve_inhomogeneous([flip, lazy], np.array([0.0, 1.0])).tolist()
    [0.75, 0.25]
    """
    law = np.array(initial, dtype=np.float64)
    for after in inhomogeneous_laws(chains, initial):
        law = after
    return law


def inhomogeneous_laws(chains: Iterable[AnyChain | Operator], initial: Pmf) -> Iterator[Pmf]:
    """The laws after one iteration of each chain in turn, one after the other, each (n,).

    A chain known by its products, such as `single_site_metropolis(energy, temperature)`, is never
    made a matrix, so that a curve of cooling may be followed on a lattice of many states.
    Raises ValueError if a chain has another number of states than the law.

    >>> flip = [[0.0, 1.0], [1.0, 0.0]]
    >>> [law.tolist() for law in inhomogeneous_laws([flip, flip], np.array([0.0, 1.0]))]
    [[1.0, 0.0], [0.0, 1.0]]
    """
    law = np.array(initial, dtype=np.float64)
    for each in chains:
        chain = each if isinstance(each, Operator) else dense(each)
        if law.shape != (chain.size,):
            raise ValueError(
                f"a law has one entry for each of {chain.size} states, got {law.shape}"
            )
        if isinstance(chain, Operator):
            law = chain.advance(law)
        else:
            law = law * chain.staying + law @ chain.off_diagonal
        yield law


def anneal(energy: Heights, temperatures: Temperatures, initial: Pmf) -> Pmf:
    """The law of the Metropolis walk on a line after all temperatures, shape (n,).

    Neighbours are proposed with 1/2 each, as in `metropolis_rates`. Beyond FEW states iterations
    are done one by one; up to that, runs of them are multiplied in pairs, with rows kept at sum
    one, which is some hundred times faster. Each iteration adds a relative error below 4 2**-53
    to entries, and in runs each doubling (n + 2) 2**-53.
    Raises ValueError if a temperature is not positive, or the law has not one entry for each state.
    """
    energy, law = np.asarray(energy, np.float64), np.array(initial, np.float64)
    if law.shape != energy.shape or law.ndim != 1:
        raise ValueError(f"a law has one entry for each of {energy.size} states, got {law.shape}")
    if not (np.isfinite(temperatures) & (temperatures > 0)).all():
        raise ValueError(f"temperatures are positive and finite, got {temperatures.min()}")
    rise = np.diff(energy)
    climb, fall = -np.maximum(rise, 0.0), -np.maximum(-rise, 0.0)
    for at in range(0, len(temperatures), RUN):
        coldness = 1.0 / temperatures[at : at + RUN, None]
        if len(energy) <= FEW:
            law = law @ _product(0.5 * np.exp(coldness * climb), 0.5 * np.exp(coldness * fall))
            continue
        for b in coldness[:, 0]:
            up, down = 0.5 * np.exp(b * climb), 0.5 * np.exp(b * fall)
            rising, falling = law[:-1] * up, law[1:] * down
            law[:-1] += falling - rising
            law[1:] += rising - falling
    return law


def _product(
    up: Float[ndarray, "iterations links"], down: Float[ndarray, "iterations links"]
) -> Float[ndarray, "levels levels"]:
    """The product of the tridiagonal matrices of a run."""
    count, links = up.shape
    matrices: Products = np.zeros((count, links + 1, links + 1))
    k = np.arange(links, dtype=np.int64)
    matrices[:, k, k + 1], matrices[:, k + 1, k] = up, down
    i = np.arange(links + 1, dtype=np.int64)
    matrices[:, i, i] = 1.0 - matrices.sum(axis=2)
    while len(matrices) > 1:
        odd = matrices[-1:] if len(matrices) % 2 else matrices[:0]
        matrices = np.concatenate([matrices[:-1:2] @ matrices[1::2], odd])
        matrices /= matrices.sum(axis=2, keepdims=True)
    return matrices[0]
