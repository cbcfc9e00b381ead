"""The random words of any weight at any iteration."""

from __future__ import annotations

import torch

from qcuda.kernels import native
from qtheory.streams import MAX_ELEMENT, MAX_ITERATION, MAX_SEED, MAX_TENSOR, Stream


def words(
    seed: int,
    iteration: int,
    tensor: int,
    count: int,
    *,
    stream: Stream = Stream.MOVE,
    offset: int = 0,
) -> torch.Tensor:
    """The words of elements offset .. offset + count - 1, shape (count,), int64 in [0, 2**32).

    They are what every room draws for these weights (see qtheory.streams); tensor is the number
    that `LatticeOptimizer` gave the weight tensor. Raises ValueError if a number is out of range.
    """
    for name, value, limit in (
        ("seed", seed, MAX_SEED),
        ("iteration", iteration, MAX_ITERATION),
        ("tensor", tensor, MAX_TENSOR),
        ("offset", offset, MAX_ELEMENT),
        ("count", count, MAX_ELEMENT),
        ("offset + count", offset + count, MAX_ELEMENT),
    ):
        if not 0 <= value <= limit:
            raise ValueError(f"{name} is in 0..{limit}, got {value}")
    out = torch.empty(count, dtype=torch.int32)
    native.library().qt_words(
        seed, iteration, tensor, int(stream), offset, count, out.data_ptr(), torch.get_num_threads()
    )
    return out.to(torch.int64) & 0xFFFFFFFF
