"""Many independent networks that cool, moved by the plain walker of `qreference` with its words.

A word of the walker says first which neighbour is proposed: down below 2**31, up from there on. So
the increment is the exact difference of energies in that direction, and Metropolis' rule for a
weight is Metropolis' rule for the network, though its energy is not affine in a weight. The words
are those of the layout in `qtheory.streams`, the networks side by side in one tensor.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qpapers.annealing.network import LATTICE
from qreference import walker
from qreference.philox import words
from qtheory.algorithms.metropolis import Metropolis
from qtheory.arrays import Index
from qtheory.chain.annealing import Temperatures
from qtheory.chain.landscape import Grid
from qtheory.streams import Stream

Energies = Float[ndarray, "networks"]
"""The energy of each network."""

UP = 2**31
"""Words from here on propose the level above."""


def one_at_a_time(
    energy: Grid, temperatures: Temperatures, networks: int, seed: int
) -> Iterator[Energies]:
    """Energies after each iteration, in which each network asks one weight, drawn uniformly."""
    index = first_levels(energy.ndim, networks, seed)
    for k, temperature in enumerate(temperatures.tolist()):
        drawn = words(seed, k, 0, Stream.DATA, networks).astype(np.int64)
        chosen = (drawn * energy.ndim >> 32)[:, None]
        word = words(seed, k, 0, Stream.MOVE, networks)[:, None]
        moved = asked(energy, Metropolis(LATTICE, temperature), index, chosen, word)
        np.put_along_axis(index, chosen, moved, axis=1)
        yield energy[tuple(index.T)]


def all_at_once(
    energy: Grid, temperatures: Temperatures, networks: int, seed: int, proposal: float
) -> Iterator[Energies]:
    """Energies after each iteration, in which each weight proposes with this probability."""
    index = first_levels(energy.ndim, networks, seed)
    every = np.broadcast_to(np.arange(energy.ndim), index.shape)
    for k, temperature in enumerate(temperatures.tolist()):
        word = words(seed, k, 0, Stream.MOVE, index.size).reshape(index.shape)
        index = asked(energy, Metropolis(LATTICE, temperature, proposal), index, every, word)
        yield energy[tuple(index.T)]


def first_levels(weights: int, networks: int, seed: int) -> Index:
    """Every level equally likely."""
    drawn = words(seed, 0, 0, Stream.INITIALISE, networks * weights)
    return walker.uniform(LATTICE, drawn).reshape(networks, weights)


def asked(energy: Grid, spec: Metropolis, index: Index, chosen: Index, word: ndarray) -> Index:
    """Where the chosen weights of each network go, each as if it moved alone.

    index: (networks, weights). chosen, word: (networks, some), which weights, and their words.
    """
    stride = LATTICE.size ** np.arange(energy.ndim - 1, -1, -1)
    flat, state = energy.ravel(), (index @ stride)[:, None]
    own = np.take_along_axis(index, chosen, axis=1)
    toward = np.where(word >= UP, 1, -1)
    there = np.clip(own + toward, 0, LATTICE.size - 1)
    rise = flat[state + (there - own) * stride[chosen]] - flat[state]
    increment = (-toward * rise * LATTICE.spacing).astype(np.float32)  # whole numbers
    return walker.step(spec, own, increment, word)
