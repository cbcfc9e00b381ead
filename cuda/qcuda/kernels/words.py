"""The random words of any element at any iteration, as a torch operator and a plain function.

`torch.ops.qtheory.words` draws them on the CPU or on a GPU. Its iteration is a tensor on the device
of the work, and kernels read it there: it changes without recompilation, and a captured graph that
is replayed draws the words of the iteration that the tensor holds then. The seed is signed, because
an `int` of torch's schemas is: `as_signed` and `as_unsigned` fold and unfold one. Which word
belongs to which element is said in qtheory.streams.
"""

from __future__ import annotations

from typing import Any

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
    _check(seed, tensor, count, offset)
    require(
        0 <= iteration <= MAX_ITERATION, f"an iteration is in 0..{MAX_ITERATION}, got {iteration}"
    )
    return torch.ops.qtheory.words(
        torch.empty(1, device="cpu").expand(count),
        torch.tensor(iteration, device="cpu"),
        as_signed(seed),
        tensor,
        offset,
        int(stream),
    )


def _check(seed: int, tensor: int, count: int, offset: int) -> None:
    """Raise ValueError unless the numbers fit the generator's counter."""
    for name, value, limit in (
        ("a seed", seed, MAX_SEED),
        ("the number of a tensor", tensor, MAX_TENSOR),
        ("a count of elements", count, MAX_ELEMENT),
        (f"the offset of {count} elements", offset, MAX_ELEMENT - count),
    ):
        require(0 <= value <= limit, f"{name} is in 0..{limit}, got {value}")


def _numbers(
    like: Tensor, iteration: Tensor, seed: int, tensor: int, offset: int, stream: int
) -> tuple[int, int, int, int, int, int]:
    """What a kernel is called with, checked: seed, address of the iteration, tensor and so on."""
    require(
        iteration.dtype == torch.int64
        and iteration.numel() == 1
        and iteration.device == like.device,
        f"an iteration is one int64 on {like.device}, got {iteration.numel()} {iteration.dtype} on "
        f"{iteration.device}",
    )
    _check(as_unsigned(seed), tensor, like.numel(), offset)
    pointer = iteration.data_ptr()
    return as_unsigned(seed), pointer, tensor, int(Stream(stream)), offset, like.numel()


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


def _words_vmap(
    info: Any, in_dims: tuple[Any, ...], like: Tensor, iteration: Tensor, *numbers: int
) -> tuple[Tensor, int]:
    """Examples count on, as the rows of the batch that they are rows of."""
    require(in_dims[1] is None, "an iteration is the same for all that is mapped, got several")
    whole = like.movedim(in_dims[0], 0)
    return torch.ops.qtheory.words(whole, iteration, *numbers), 0


LIBRARY.impl("words", _words_cpu, "CPU")
LIBRARY.impl("words", _words_cuda, "CUDA")
torch.library.register_fake("qtheory::words", _words_fake, lib=LIBRARY)
torch.library.register_vmap("qtheory::words", _words_vmap, lib=LIBRARY)
