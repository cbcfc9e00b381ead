"""Philox4x32, a counter-based generator [salmon2011], and the words it gives to weights.

A counter of four 32-bit numbers is scrambled under a key of two, ten times over. One round,
with (high, low) the halves of a 64-bit product:

    (c0, c1, c2, c3) <- (high(B c2) ^ c1 ^ k0, low(B c2), high(A c0) ^ c3 ^ k1, low(A c0))
    (k0, k1)         <- (k0 + U, k1 + V)  modulo 2**32
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt32
from numpy import ndarray

from qtheory.arrays import Words
from qtheory.streams import MAX_ELEMENT, MAX_ITERATION, MAX_SEED, MAX_TENSOR, Stream

A, B = 0xD2511F53, 0xCD9E8D57
U, V = 0x9E3779B9, 0xBB67AE85
LOW = 0xFFFFFFFF

Counters = UInt32[ndarray, "... 4"]


def philox(counter: Counters, seed: int, rounds: int = 10) -> Counters:
    """Four random words for each counter.

    seed: the key, 64 bits; k0 is its low half. Raises ValueError if it does not fit.

    >>> [hex(word) for word in philox(np.zeros(4, np.uint32), seed=0).tolist()]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    _check("a seed", seed, MAX_SEED)
    k0, k1 = seed & LOW, seed >> 32
    c0, c1, c2, c3 = np.moveaxis(counter.astype(np.uint64), -1, 0)
    for _ in range(rounds):
        a, b = A * c0, B * c2
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b & LOW, (a >> 32) ^ c3 ^ k1, a & LOW
        k0, k1 = (k0 + U) & LOW, (k1 + V) & LOW
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def words(
    seed: int, iteration: int, tensor: int, stream: Stream, count: int, offset: int = 0
) -> Words:
    """One word for each of the elements offset .. offset + count - 1 of a tensor, shape (count,).

    Raises ValueError if a number is negative or too large for its place in the counter.
    """
    _check("an iteration", iteration, MAX_ITERATION)
    _check("a tensor number", tensor, MAX_TENSOR)
    _check("an element", offset, MAX_ELEMENT)
    _check("a number of words", count, MAX_ELEMENT + 1 - offset)
    block = np.arange(offset // 4, (offset + count + 3) // 4, dtype=np.uint64)
    counter = np.empty((block.size, 4), dtype=np.uint32)
    counter[:, 0] = block & LOW
    counter[:, 1] = (block >> 32) | (int(stream) << 24)
    counter[:, 2] = iteration
    counter[:, 3] = tensor
    first = offset % 4
    return philox(counter, seed).reshape(-1)[first : first + count]


def _check(name: str, value: int, largest: int) -> None:
    if not 0 <= value <= largest:
        raise ValueError(f"{name} is in 0..{largest}, got {value}")
