"""Latent methods as exact Markov chains: readers, Bop, and momentum under a walker.

A latent is kept in fixed point: it lives on a fine lattice and is moved by a walker, as a visible
weight is. Then every method here is a chain, and nothing about it needs to be simulated.

a reader [courbariaux2015; li2017, Eq. 7]   latent i; the weight j seen forward has law R_ij
        P = sum_j diag(R_.j) P^(j),     P^(j): the walker under the increments that belong to j
Bop [helwegen2019]                  a <- (1 - g) a + g d;   the weight becomes sign(a) if |a| >= t
momentum [polyak1964]               b <- beta b + d;        a walker is asked to move by lr b

d is the increment of learning rate 1, minus the gradient. (Bop is published with the average of
the gradient: |m| >= t and sign(m) = sign(w) flips the weight. With a = -m this is the rule above.)

States of a pair (weight w, average a) are numbered w * averages + a.
Equation numbers and rules are written from memory, not verified against the print.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.algorithms.base import Spec, law
from qtheory.algorithms.reader import reading_law_of, reading_of
from qtheory.arrays import Pmf
from qtheory.chain import MarkovChain, stationary_distribution
from qtheory.increments import ContinuousIncrements, FiniteIncrements, Increments
from qtheory.transition import off_diagonal, weight_chain
from qtheory.values import rebuilt

Readings = Float[ndarray, "latents levels"]
"""Entry (i, j): probability of seeing the level j while the latent is i. Rows sum to one."""

LatentLaw = Float[ndarray, "latents"]
"""Probabilities of the latents."""

PairLaw = Float[ndarray, "pairs"]
"""Probabilities of pairs (weight, average)."""


@dataclass(frozen=True, slots=True)
class LatentReader:
    """A latent on a fine lattice, seen through a reader.

    latent: a walker: the fine lattice and how increments are rounded to it. Stochastic rounding
    keeps the mean; with deterministic rounding and increments on the fine lattice nothing is
    rounded. reader: what is seen forward, fresh at each iteration if it is random.
    """

    latent: Spec
    reader: Spec


def readings(spec: LatentReader) -> Readings:
    """R: law of the level seen, for each latent, shape (latents, levels).

    >>> from qtheory import BinaryConnect, Lattice, StochasticRounding
    >>> fine = StochasticRounding(Lattice.uniform(-1.0, 1.0, 5))
    >>> readings(LatentReader(fine, BinaryConnect(reading="stochastic")))[:, 1].tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    >>> readings(LatentReader(fine, BinaryConnect()))[:, 1].tolist()
    [0.0, 0.0, 1.0, 1.0, 1.0]

    Raises ValueError if the reader measures a latent by others, so that it has no chain of its own.
    """
    unit = reading_of(spec.reader).unit
    if unit != "one":
        raise ValueError(f"a latent with a chain is read alone, got one whose unit is the {unit!r}")
    return reading_law_of(spec.reader, spec.latent.lattice.levels)


def reader_chain(spec: LatentReader, increments: Sequence[Increments]) -> MarkovChain:
    """The chain of the latent, P = sum_j diag(R_.j) P^(j).

    increments: one law for each visible level. Entries off the diagonal have the relative error
    of the walker's (`qtheory.transition`) and levels + 1 roundings more.
    Raises ValueError if the number of laws is not that of the visible levels.
    """
    visible = spec.reader.lattice.size
    if len(increments) != visible:
        raise ValueError(
            f"a reader with {visible} levels needs {visible} laws, got {len(increments)}"
        )
    moves = np.zeros((spec.latent.lattice.size,) * 2)
    for shares, levels in _seen(spec):
        moves += shares[:, None] * off_diagonal(spec.latent, [increments[j] for j in levels])
    return MarkovChain(moves / np.maximum(moves.sum(axis=1, keepdims=True), 1.0))


def visible_law(spec: LatentReader, latents: LatentLaw) -> Pmf:
    """Law of the level seen, from a law of the latent: pi R."""
    return latents @ readings(spec)


def flip_rate(
    spec: LatentReader, increments: Sequence[Increments], latents: LatentLaw | None = None
) -> float:
    """Probability that two iterations in a row show different levels, the latent being stationary.

    sum_j pi diag(R_.j) P^(j) (1 - R_.j): the level seen decides where the latent goes.
    latents: a stationary law, worked out if not given. Raises as `reader_chain` and
    `stationary_distribution` do.
    """
    pi = latents
    if pi is None:
        pi = stationary_distribution(reader_chain(spec, increments))
    differ = 1.0 - readings(spec)
    total = 0.0
    for shares, levels in _seen(spec):
        moves = weight_chain(spec.latent, [increments[j] for j in levels])
        after = (moves.transition_matrix * differ[:, levels].T).sum(axis=1)
        total += float((pi * shares) @ after)
    return total


def _seen(spec: LatentReader) -> Iterator[tuple[LatentLaw, list[int]]]:
    """R by its non-zero entries: for each latent one level that is seen, and its probability; as
    often as the latent that shows the most levels needs."""
    seen = readings(spec)
    order = np.argsort(-seen, axis=1, kind="stable")
    for slot in range(int((seen > 0).sum(axis=1).max())):
        levels = order[:, slot]
        yield seen[np.arange(len(seen)), levels], levels.tolist()


@dataclass(frozen=True, slots=True)
class AverageFlip:
    """A binary weight that follows a strong enough average of its increments [helwegen2019].

    average: the fine lattice of the average and how it is rounded. gain: g in (0, 1], the weight
    of the newest increment. threshold: t > 0; the tie |a| = t flips.

    Raises ValueError if a number is outside these ranges.
    """

    average: Spec
    gain: float
    threshold: float

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if not 0 < self.gain <= 1:
            raise ValueError(f"the gain of an average is in (0, 1], got {self.gain}")
        if not (math.isfinite(self.threshold) and self.threshold > 0):
            raise ValueError(f"a threshold is positive and finite, got {self.threshold}")


def average_flip_chain(spec: AverageFlip, increments: Sequence[Increments]) -> MarkovChain:
    """The chain of (weight, average), 2 * averages states; weight 0 is low, 1 is high.

    increments: of learning rate 1 at the two levels. States whose average asks for the other
    weight are never entered; leaving one with the average unchanged has an absolute error of
    averages * 2**-53. Raises ValueError if there are not two laws.
    """
    if len(increments) != 2:
        raise ValueError(f"a flip is between two levels and needs two laws, got {len(increments)}")
    averages = spec.average.lattice.levels
    wanted = np.where(averages >= spec.threshold, 1, np.where(averages <= -spec.threshold, 0, -1))
    size = averages.size
    moves = np.zeros((2, size, 2, size))
    for weight, each in enumerate(increments):
        rows = _averaging(spec.average, 1.0 - spec.gain, spec.gain, each)
        after = np.where(wanted < 0, weight, wanted)
        moves[weight, :, after, np.arange(size)] = rows.T
    return _joined(moves)


@dataclass(frozen=True, slots=True)
class MomentumWalker:
    """A walker whose increment is learning_rate times a running sum, b <- decay b + d.

    walker: how the weight moves. velocity: the fine lattice of b and how b is rounded to it.

    Raises ValueError if the decay is outside [0, 1) or the learning rate negative or not finite.
    """

    walker: Spec
    velocity: Spec
    decay: float
    learning_rate: float

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"a decay is in [0, 1), got {self.decay}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate >= 0):
            raise ValueError(f"a learning rate is finite and >= 0, got {self.learning_rate}")


def momentum_chain(spec: MomentumWalker, increments: Sequence[Increments]) -> MarkovChain:
    """The chain of (weight, running sum): levels * sums states.

    P((w, b), (v, c)) = B_w(b, c) L(w, lr c)(v), B_w the sum's transition matrix under the laws of
    w and L the walker's law. Moves that leave b as it is use 1 - (the others), an absolute error
    of sums * 2**-53; all others keep their digits.
    increments: of learning rate 1, one law for each level of the walker.
    Raises ValueError if their number is not that of the levels.
    """
    levels = spec.walker.lattice.size
    if len(increments) != levels:
        raise ValueError(f"a lattice of {levels} levels needs {levels} laws, got {len(increments)}")
    sums = spec.velocity.lattice.levels
    moves = np.zeros((levels, sums.size, levels, sums.size))
    for weight, each in enumerate(increments):
        rows = _averaging(spec.velocity, spec.decay, 1.0, each)
        walked = law(spec.walker, weight, spec.learning_rate * sums)
        moves[weight] = rows[:, None, :] * walked.T[None, :, :]
    return _joined(moves)


def weight_law(pairs: PairLaw, levels: int) -> Pmf:
    """Law of the weight, from a law of pairs (weight, average) as the chains here number them."""
    return pairs.reshape(levels, -1).sum(axis=1)


def weight_flip_rate(chain: MarkovChain, levels: int, pairs: PairLaw | None = None) -> float:
    """Probability that an iteration changes the weight of a stationary pair.

    pairs: a stationary law, worked out if not given. Raises as `stationary_distribution` does.
    """
    pi = stationary_distribution(chain) if pairs is None else pairs
    weight = np.arange(chain.size) // (chain.size // levels)
    changes = np.where(weight[:, None] != weight[None, :], chain.off_diagonal, 0.0)
    return float(pi @ changes.sum(axis=1))


def _averaging(rounding: Spec, decay: float, gain: float, law_of_d: Increments) -> ndarray:
    """Transition matrix of a <- decay a + gain d, rounded to its lattice; (averages, averages)."""
    averages = rounding.lattice.levels.tolist()
    laws = [_shifted(law_of_d, gain, -(1.0 - decay) * a) for a in averages]
    return weight_chain(rounding, laws).transition_matrix


def _shifted(law_of_d: Increments, gain: float, shift: float) -> Increments:
    """The law of gain * d + shift."""
    if isinstance(law_of_d, FiniteIncrements):
        return FiniteIncrements(gain * law_of_d.values + shift, law_of_d.probabilities)
    return ContinuousIncrements(gain * law_of_d.mean + shift, law_of_d.noise.scaled(gain))


def _joined(moves: ndarray) -> MarkovChain:
    """A chain on pairs from its full transition probabilities, shape (w, a, w, a)."""
    size = moves.shape[0] * moves.shape[1]
    flat = moves.reshape(size, size)
    np.fill_diagonal(flat, 0.0)
    return MarkovChain(flat / np.maximum(flat.sum(axis=1, keepdims=True), 1.0))
