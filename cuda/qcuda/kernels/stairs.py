"""Stairs as torch operators: `torch.ops.qtheory.stair` and `torch.ops.qtheory.stair_slope`.

`stair` gives the levels, in the type and the strides of the input, and what the slope is made from:
for rectangular windows around jumps of one height the number of windows that are open, in 1, 2, 4
or 8 bits an element (`count_bits`), in the order of the memory. `stair_slope` multiplies a gradient
by the slopes. Both read the half width from memory on the device of the work, and work on float32,
float64, bfloat16 and float16, the last two computed in float32 and rounded once.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from qcuda.errors import InputError, require
from qcuda.kernels import abi, native
from qcuda.kernels.gpu import launcher

NUMBERS = {getattr(torch, name): number for number, name in enumerate(abi.NUMBERS)}

LIBRARY = torch.library.Library("qtheory", "FRAGMENT")
LIBRARY.define(
    "stair(Tensor x, Tensor half_width, float[] thresholds, float[] levels, bool folded, bool up, "
    "int bits) -> (Tensor, Tensor)"
)
LIBRARY.define(
    "stair_slope(Tensor gradient, Tensor kept, Tensor half_width, float[] thresholds, "
    "float[] levels, bool folded, bool triangular, int bits, SymInt[] stride) -> Tensor"
)


def count_bits(levels: tuple[float, ...], triangular: bool) -> int:
    """Bits an element that a slope is made from: 1, 2, 4 or 8; 0 if it is made from the input.

    >>> count_bits((0.0, 1.0), False), count_bits((0.0, 0.5, 1.0), False)
    (1, 2)
    >>> count_bits((0.0, 1.0), True), count_bits((0.0, 1.0, 3.0), False)
    (0, 0)
    """
    jumps = {high - low for low, high in pairwise(levels)}
    if triangular or len(jumps) > 1:
        return 0
    return next((bits for bits in (1, 2, 4) if len(levels) <= 2**bits), 8)


@lru_cache(maxsize=256)
def described(
    thresholds: tuple[float, ...],
    levels: tuple[float, ...],
    folded: bool,
    up: bool,
    triangular: bool,
) -> abi.Stair:
    """A stair as the C ABI has it. Raises ValueError if it has too many thresholds, or too few."""
    steps = len(thresholds)
    require(
        1 <= steps <= abi.MOST_STEPS and len(levels) == steps + 1,
        f"a stair of the kernels has 1 to {abi.MOST_STEPS} thresholds and one level more, got "
        f"{steps} and {len(levels)}",
    )
    jumps = [high - low for low, high in pairwise(levels)]
    padding = (0.0,) * (abi.MOST_STEPS - steps)
    numbers = ctypes.c_double * abi.MOST_STEPS
    return abi.Stair(
        steps, folded, up, triangular, levels[0],
        numbers(*thresholds, *padding), numbers(*jumps, *padding),
    )  # fmt: skip


def check_half_width(half_width: Tensor) -> None:
    if half_width.dtype != torch.float64 or half_width.numel() != 1:
        raise InputError(
            f"a half width is one float64, got {half_width.dtype} {tuple(half_width.shape)}"
        )


def check_numbers(half_width: Tensor, *tensors: Tensor) -> int:
    """The number of the type that the tensors share, all on the device of the half width."""
    first = tensors[0]
    for tensor in tensors:
        if tensor.dtype not in NUMBERS or tensor.dtype != first.dtype:
            raise InputError(
                f"a stair takes float32, float64, bfloat16 or float16, got {tensor.dtype}"
            )
    check_half_width(half_width)
    for tensor in tensors:
        if tensor.device != half_width.device:
            raise InputError(
                f"a half width is on its input's device, {tensor.device}, got {half_width.device}"
            )
    return NUMBERS[first.dtype]


def in_memory(x: Tensor, stride: Sequence[int]) -> Tensor:
    """The numbers of x with these strides: x itself, if it has them."""
    if x.stride() == tuple(stride):
        return x
    return torch.empty_strided(x.shape, stride, dtype=x.dtype, device=x.device).copy_(x)


def _kept_bytes(count: int, bits: int) -> int:
    return (count * bits + 7) // 8


def _stair(
    x: Tensor,
    half_width: Tensor,
    thresholds: list[float],
    levels: list[float],
    folded: bool,
    up: bool,
    bits: int,
) -> tuple[Tensor, Tensor]:
    kind = check_numbers(half_width, x)
    stair = described(tuple(thresholds), tuple(levels), folded, up, False)
    _check_bits(bits, stair.steps)
    z = torch.empty_like(x)
    x = in_memory(x, z.stride())
    kept = torch.empty(_kept_bytes(x.numel(), bits), dtype=torch.uint8, device=x.device)
    pointers = half_width.data_ptr(), x.data_ptr(), z.data_ptr(), kept.data_ptr()
    if x.device.type == "cuda":
        stream = torch.cuda.current_stream(x.device).cuda_stream
        launcher(x.device.index).stair("stair", stair, kind, bits, x.numel(), pointers, stream)
    else:
        half, source, target, windows = pointers
        error = native.library().qt_stair(
            ctypes.byref(stair), half, kind, bits, source, x.numel(), target, windows,
            torch.get_num_threads(),
        )  # fmt: skip
        require(error == 0, f"the kernel takes this type, got {x.dtype}")
    return z, kept


def _check_bits(bits: int, steps: int) -> None:
    require(
        bits == 0 or (bits in (1, 2, 4, 8) and steps < 2**bits),
        f"open windows of {steps} are counted in 1, 2, 4 or 8 bits that suffice, got {bits}",
    )


def _stair_fake(
    x: Tensor,
    half_width: Tensor,
    thresholds: list[float],
    levels: list[float],
    folded: bool,
    up: bool,
    bits: int,
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty(_kept_bytes(x.numel(), bits), dtype=torch.uint8)


def _slope(
    gradient: Tensor,
    kept: Tensor,
    half_width: Tensor,
    thresholds: list[float],
    levels: list[float],
    folded: bool,
    triangular: bool,
    bits: int,
    stride: list[int],
) -> Tensor:
    stair = described(tuple(thresholds), tuple(levels), folded, False, triangular)
    _check_bits(bits, stair.steps)
    gradient = in_memory(gradient, stride)
    if bits:
        kind, size = check_numbers(half_width, gradient), _kept_bytes(gradient.numel(), bits)
        if kept.dtype != torch.uint8 or kept.numel() != size or not kept.is_contiguous():
            raise InputError(
                f"{bits} bits an element of {gradient.numel()} take {size} bytes, got "
                f"{kept.numel()} of {kept.dtype}"
            )
        if kept.device != gradient.device:
            raise InputError(
                f"windows are on their gradient's device, {gradient.device}, got {kept.device}"
            )
    else:
        kind, kept = check_numbers(half_width, gradient, kept), in_memory(kept, stride)
        require(
            kept.shape == gradient.shape,
            f"an input has its gradient's shape, {tuple(gradient.shape)}, got {tuple(kept.shape)}",
        )
    out = torch.empty_strided(gradient.shape, stride, dtype=gradient.dtype, device=gradient.device)
    pointers = half_width.data_ptr(), gradient.data_ptr(), kept.data_ptr(), out.data_ptr()
    if gradient.device.type == "cuda":
        stream = torch.cuda.current_stream(gradient.device).cuda_stream
        launcher(gradient.device.index).stair(
            "stair_slope", stair, kind, bits, gradient.numel(), pointers, stream
        )
    else:
        half, source, windows, target = pointers
        error = native.library().qt_stair_slope(
            ctypes.byref(stair), half, kind, bits, source, windows, gradient.numel(), target,
            torch.get_num_threads(),
        )  # fmt: skip
        require(error == 0, f"the kernel takes this type, got {gradient.dtype}")
    return out


def _slope_fake(
    gradient: Tensor,
    kept: Tensor,
    half_width: Tensor,
    thresholds: list[float],
    levels: list[float],
    folded: bool,
    triangular: bool,
    bits: int,
    stride: list[int],
) -> Tensor:
    return torch.empty_strided(gradient.shape, stride, dtype=gradient.dtype, device=gradient.device)


# Under vmap each row of the mapped axis keeps whole bytes of its own, as it would without the map.


def _rows(x: Tensor, axis: int | None, size: int, order: Sequence[int], multiple: int) -> Tensor:
    """x as (size, elements in this order of its other axes), padded to a multiple."""
    x = x.unsqueeze(0).expand(size, *x.shape) if axis is None else x.movedim(axis, 0)
    flat = x.permute(0, *(place + 1 for place in order)).reshape(size, math.prod(x.shape[1:]))
    return torch.nn.functional.pad(flat, (0, -flat.shape[1] % multiple))


def _as_before(flat: Tensor, shape: Sequence[int], order: Sequence[int]) -> Tensor:
    """The inverse of `_rows`: elements to axes of this shape."""
    rows = flat[:, : math.prod(shape)].reshape(len(flat), *(shape[place] for place in order))
    back = [order.index(place) + 1 for place in range(len(order))]
    return rows.permute(0, *back)


def _stair_vmap(
    info: Any, in_dims: tuple[Any, ...], x: Tensor, half_width: Tensor, *rest: Any
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    require(in_dims[1] is None, "a half width is the same for all that is mapped, got several")
    order = range(x.dim() - 1)
    bits = rest[-1]
    flat = _rows(x, in_dims[0], info.batch_size, order, 8)
    z, kept = torch.ops.qtheory.stair(flat, half_width, *rest)
    shape = x.movedim(in_dims[0], 0).shape[1:]
    kept = kept.view(info.batch_size, flat.shape[1] * bits // 8)
    row = _kept_bytes(math.prod(shape), bits)
    return (_as_before(z, shape, order), kept[:, :row].contiguous()), (0, 0)


def _slope_vmap(
    info: Any,
    in_dims: tuple[Any, ...],
    gradient: Tensor,
    kept: Tensor,
    half_width: Tensor,
    *numbers: Any,
) -> tuple[Tensor, int]:
    require(in_dims[2] is None, "a half width is the same for all that is mapped, got several")
    *rest, bits, stride = numbers
    shape = (gradient if in_dims[0] is None else gradient.movedim(in_dims[0], 0)[0]).shape
    order = sorted(range(len(stride)), key=lambda place: -stride[place])
    flat = _rows(gradient, in_dims[0], info.batch_size, order, 8)
    if bits:
        windows = _rows(kept, in_dims[1], info.batch_size, [0], bits).contiguous().flatten()
    else:
        windows = _rows(kept, in_dims[1], info.batch_size, order, 8)
    flat = torch.ops.qtheory.stair_slope(flat, windows, half_width, *rest, bits, [flat.shape[1], 1])
    return _as_before(flat, shape, order), 0


for _device in ("CPU", "CUDA"):
    LIBRARY.impl("stair", _stair, _device)
    LIBRARY.impl("stair_slope", _slope, _device)
torch.library.register_fake("qtheory::stair", _stair_fake, lib=LIBRARY)
torch.library.register_fake("qtheory::stair_slope", _slope_fake, lib=LIBRARY)
torch.library.register_vmap("qtheory::stair", _stair_vmap, lib=LIBRARY)
torch.library.register_vmap("qtheory::stair_slope", _slope_vmap, lib=LIBRARY)
