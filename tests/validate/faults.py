"""Kernels with a fault: what validation is shown to catch."""

from __future__ import annotations

import numpy as np

from qcuda.kernels import native
from qcuda.validate.kernels import Kernel
from qreference import algorithm


def forgets(kernel: Kernel, *names: str) -> Kernel:
    """A kernel that leaves the named numbers out of its counter."""

    def faulty(index, increments, *, spec, **place):
        return kernel(index, increments, spec=spec, **{**place, **dict.fromkeys(names, 0)})

    return faulty


def shares_words(kernel: Kernel, lanes: int = 2) -> Kernel:
    """A kernel whose neighbours decide by the same word."""

    def faulty(index, increments, *, spec, **place):
        words = np.repeat(words_of(-(-index.size // lanes), **place), lanes)[: index.size]
        return decide(index, increments, spec, words)

    return faulty


def coarse(kernel: Kernel, bits: int) -> Kernel:
    """A kernel whose words have so many bits."""

    def faulty(index, increments, *, spec, **place):
        words = words_of(index.size, **place) >> np.uint32(32 - bits) << np.uint32(32 - bits)
        return decide(index, increments, spec, words)

    return faulty


def antithetic(kernel: Kernel) -> Kernel:
    """A kernel with the right law that reads its words from the other end."""

    def faulty(index, increments, *, spec, **place):
        return decide(index, increments, spec, ~words_of(index.size, **place))

    return faulty


def words_of(count: int, *, seed: int, iteration: int, tensor: int) -> np.ndarray:
    words = np.empty(count, np.uint32)
    native.library().qt_words(seed, iteration, tensor, 0, 0, count, words.ctypes.data, 1)
    return words


def decide(index, increments, spec, words) -> np.ndarray:
    return algorithm(spec).step(spec, index, increments, words)
