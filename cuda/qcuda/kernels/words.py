"""The random words of any element at any iteration, as a torch operator and a plain function.

`torch.ops.qtheory.words` draws them on the CPU or on a GPU. Its iteration is a tensor, so that it
can change without recompilation, and its seed is signed, because an `int` of torch's schemas is:
`as_signed` and `as_unsigned` fold and unfold one. Which word belongs to which element is said in
qtheory.streams.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qcuda.errors import require
from qcuda.kernels import native
from qcuda.kernels.gpu import launcher
from qtheory.streams import MAX_ELEMENT, MAX_ITERATION, MAX_SEED, MAX_TENSOR, Stream

LIBRARY = torch.library.Library("qtheory", "FRAGMENT")
LIBRARY.define(
    "words(Tensor like, Tensor iteration, int seed, int tensor, int offset, int stream) -> Tensor"
)


def as_signed(seed: int) -> int:
    """The signed 64-bit number with the bits of a seed.

    >>> as_signed(2**64 - 1), as_signed(2**63 - 1) == 2**63 - 1
    (-1, True)
    """
    return seed - (MAX_SEED + 1) if seed > MAX_SEED // 2 else seed


def as_unsigned(seed: int) -> int:
    """The seed with the bits of a signed 64-bit number.

    >>> as_unsigned(-1) == 2**64 - 1, as_unsigned(5)
    (True, 5)
    """
    return seed & MAX_SEED


def words(
    seed: int,
    iteration: int,
    tensor: int,
    count: int,
    *,
    stream: Stream = Stream.MOVE,
    offset: int = 0,
) -> Tensor:
    """The words of elements offset .. offset + count - 1, shape (count,), int64 in [0, 2**32).

    They are what every room draws for these weights (see qtheory.streams); tensor is the number
    that `LatticeOptimizer` gave the weight tensor. Raises ValueError if a number is out of range.
    """
    _check(seed, iteration, tensor, count, offset)
    return torch.ops.qtheory.words(
        torch.empty(1).expand(count),
        torch.tensor(iteration, device="cpu"),
        as_signed(seed),
        tensor,
        offset,
        int(stream),
    )


def _check(seed: int, iteration: int, tensor: int, count: int, offset: int) -> None:
    """Raise ValueError unless the numbers fit the generator's counter."""
    for name, value, limit in (
        ("a seed", seed, MAX_SEED),
        ("an iteration", iteration, MAX_ITERATION),
        ("the number of a tensor", tensor, MAX_TENSOR),
        ("a count of elements", count, MAX_ELEMENT),
        (f"the offset of {count} elements", offset, MAX_ELEMENT - count),
    ):
        require(0 <= value <= limit, f"{name} is in 0..{limit}, got {value}")


def _numbers(
    like: Tensor, iteration: Tensor, seed: int, tensor: int, offset: int, stream: int
) -> tuple[int, int, int, int, int, int]:
    """What a kernel is called with, checked: seed, iteration, tensor, stream, offset, count."""
    require(
        iteration.device.type == "cpu" and iteration.dtype == torch.int64,
        f"an iteration is int64 on the CPU, got {iteration.dtype} on {iteration.device}",
    )
    number, count = int(iteration), like.numel()
    _check(as_unsigned(seed), number, tensor, count, offset)
    return as_unsigned(seed), number, tensor, int(Stream(stream)), offset, count


def _words_cpu(
    like: Tensor, iteration: Tensor, seed: int, tensor: int, offset: int, stream: int
) -> Tensor:
    numbers = _numbers(like, iteration, seed, tensor, offset, stream)
    out = torch.empty(like.shape, dtype=torch.int32)
    if out.numel():
        native.library().qt_words(*numbers, out.data_ptr(), torch.get_num_threads())
    return out.to(torch.int64) & 0xFFFFFFFF


def _words_cuda(
    like: Tensor, iteration: Tensor, seed: int, tensor: int, offset: int, stream: int
) -> Tensor:
    numbers = _numbers(like, iteration, seed, tensor, offset, stream)
    out = torch.empty(like.shape, dtype=torch.int32, device=like.device)
    if out.numel():
        launcher(like.device.index).words(
            *numbers, out.data_ptr(), torch.cuda.current_stream(like.device).cuda_stream
        )
    return out.to(torch.int64) & 0xFFFFFFFF


def _words_fake(
    like: Tensor, iteration: Tensor, seed: int, tensor: int, offset: int, stream: int
) -> Tensor:
    return torch.empty(like.shape, dtype=torch.int64, device=like.device)


LIBRARY.impl("words", _words_cpu, "CPU")
LIBRARY.impl("words", _words_cuda, "CUDA")
torch.library.register_fake("qtheory::words", _words_fake, lib=LIBRARY)
