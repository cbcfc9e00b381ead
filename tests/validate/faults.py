"""Kernels with a fault: what validation is shown to catch."""

from __future__ import annotations

import numpy as np

from qcuda.kernels import native
from qcuda.validate.kernels import Draw, Kernel
from qreference import walker


def forgets(kernel: Kernel, *names: str) -> Kernel:
    """A kernel that leaves the named numbers out of its counter."""

    def faulty(index, increments, draw):
        return kernel(index, increments, draw._replace(**dict.fromkeys(names, 0)))

    return faulty


def shares_words(kernel: Kernel, lanes: int = 2) -> Kernel:
    """A kernel whose neighbours decide by the same word."""

    def faulty(index, increments, draw):
        words = np.repeat(words_of(-(-index.size // lanes), draw), lanes)[: index.size]
        return decide(index, increments, draw.spec, words)

    return faulty


def coarse(kernel: Kernel, bits: int) -> Kernel:
    """A kernel whose words have so many bits."""

    def faulty(index, increments, draw):
        words = words_of(index.size, draw) >> np.uint32(32 - bits) << np.uint32(32 - bits)
        return decide(index, increments, draw.spec, words)

    return faulty


def antithetic(kernel: Kernel) -> Kernel:
    """A kernel with the right law that reads its words from the other end."""

    def faulty(index, increments, draw):
        return decide(index, increments, draw.spec, ~words_of(index.size, draw))

    return faulty


def words_of(count: int, draw: Draw) -> np.ndarray:
    words, now = np.empty(count, np.uint32), np.array([draw.iteration], np.int64)
    native.library().qt_words(
        draw.seed, now.ctypes.data, draw.tensor, 0, 0, count, words.ctypes.data, 1
    )
    return words


def decide(index, increments, spec, words) -> np.ndarray:
    return walker.step(spec, index, increments, words)
