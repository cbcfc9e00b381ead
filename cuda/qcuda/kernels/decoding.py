"""Visible weights: `torch.ops.qtheory.decode` reads a stored weight.

A pure function without a derivative; `qcuda.nn.visible` has that. Importing this module registers
it; libraries are loaded by the first call that computes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from qcuda.errors import InputError, require
from qcuda.kernels import abi, native
from qcuda.kernels.gpu import launcher
from qcuda.kernels.ops import LIBRARY, STATES, check_state
from qcuda.kernels.order import as_weight, places_and_channels, stored_shape

MADE = {
    torch.float32: abi.Real.FLOAT32,
    torch.bfloat16: abi.Real.BFLOAT16,
    torch.float16: abi.Real.FLOAT16,
}
"""The types that kernels write; float64 is widened from float32."""
VISIBLE = (*MADE, torch.float64)

LIBRARY.define(
    "decode(Tensor state, Tensor levels, Tensor scale, SymInt[] shape, int storage, "
    "ScalarType dtype, bool channels_last) -> Tensor"
)
"""The visible weight scale * levels[index], of a shape and dtype.

state: flat, as stored. levels: float32. scale: float32, one number, which is multiplied before the
only rounding, or of the weight's dimensions, then in float32. channels_last: how the weight lies,
if it has four or five dimensions; contiguous otherwise. Raises ValueError on the CPU if a code is
off the lattice, which reads as NaN elsewhere.
"""


def _check(
    state: Tensor, levels: Tensor, scale: Tensor, count: int, storage: int, dtype: torch.dtype
) -> None:
    kind = abi.Storage(storage)
    good = (
        dtype in VISIBLE
        and state.dtype is STATES[kind]
        and state.numel() == kind.bytes(count)
        and state.is_contiguous()
        and levels.dtype is scale.dtype is torch.float32
        and levels.is_contiguous()
        and levels.device == scale.device == state.device
    )
    if good:  # messages are dear, and this is called for each weight in each pass
        return
    names = ", ".join(str(each).removeprefix("torch.") for each in VISIBLE)
    require(dtype in VISIBLE, f"a visible weight is {names}, got {dtype}")
    check_state(state, abi.Storage(storage), count)
    for name, tensor in (("levels", levels), ("a scale", scale)):
        require(
            tensor.dtype == torch.float32 and tensor.device == state.device,
            f"{name} of a weight on {state.device} are float32 there, "
            f"got {tensor.dtype} on {tensor.device}",
        )
    raise InputError(f"levels are contiguous, got strides {levels.stride()}")


def _finished(weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """What a kernel wrote, times a scale that is not one number, in the dtype that is wanted."""
    if scale.dim():
        weight.mul_(scale)
    return weight if weight.dtype is dtype else weight.to(dtype)


def _decode_cpu(
    state: Tensor,
    levels: Tensor,
    scale: Tensor,
    shape: Sequence[int],
    storage: int,
    dtype: torch.dtype,
    channels_last: bool,
) -> Tensor:
    count = math.prod(shape)
    _check(state, levels, scale, count, storage, dtype)
    made = dtype if dtype in MADE and not scale.dim() else torch.float32
    places, channels = (1, 1) if channels_last else places_and_channels(shape)
    out = torch.empty(stored_shape(shape) if channels_last else shape, dtype=made, device="cpu")
    error = native.library().qt_decode(
        storage,
        levels.data_ptr(),
        None if scale.dim() else scale.data_ptr(),
        levels.numel(),
        state.data_ptr(),
        count,
        out.data_ptr(),
        MADE[made],
        places,
        channels,
        torch.get_num_threads(),
    )
    if error:
        _refuse(error, state, count, storage, levels.numel())
    return _finished(as_weight(out) if channels_last else out, scale, dtype)


def _refuse(error: int, state: Tensor, count: int, storage: int, size: int) -> None:
    if error == abi.Error.BAD_CODE:
        codes = torch.empty(count, dtype=torch.int8) if storage else state
        if storage:
            native.library().qt_unpack(storage, state.data_ptr(), count, codes.data_ptr())
        index = codes.to(torch.int64) + size // 2
        off = int(((index < 0) | (index >= size)).sum())
        raise InputError(f"codes are of one of {size} levels, got {off} of {count} that are not")
    require(
        error != abi.Error.BAD_LEVEL,
        "a weight that was on meta, or emptied, is loaded, drawn or set before it is read, "
        "got levels that are not numbers",
    )
    raise InputError(f"the kernel takes this state, got {abi.Error(error).words}")


def _decode_cuda(
    state: Tensor,
    levels: Tensor,
    scale: Tensor,
    shape: Sequence[int],
    storage: int,
    dtype: torch.dtype,
    channels_last: bool,
) -> Tensor:
    count = math.prod(shape)
    _check(state, levels, scale, count, storage, dtype)
    made = dtype if dtype in MADE and not scale.dim() else torch.float32
    out = torch.empty(stored_shape(shape), dtype=made, device=state.device)
    launcher(state.device.index).decode(
        storage,
        levels.data_ptr(),
        0 if scale.dim() else scale.data_ptr(),
        levels.numel(),
        state.data_ptr(),
        count,
        out.data_ptr(),
        MADE[made],
        torch.cuda.current_stream(state.device).cuda_stream,
    )
    weight = as_weight(out)
    return _finished(weight if channels_last else weight.contiguous(), scale, dtype)


def _decode_fake(
    state: Tensor,
    levels: Tensor,
    scale: Tensor,
    shape: Sequence[int],
    storage: int,
    dtype: torch.dtype,
    channels_last: bool,
) -> Tensor:
    if channels_last:
        return as_weight(torch.empty(stored_shape(shape), dtype=dtype, device=state.device))
    return torch.empty(tuple(shape), dtype=dtype, device=state.device)


def _decode_each(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
    """vmap: one weight after the other."""
    each = [
        [
            given.select(dim, k) if isinstance(dim, int) else given
            for given, dim in zip(arguments, in_dims, strict=True)
        ]
        for k in range(info.batch_size)
    ]
    return torch.stack([torch.ops.qtheory.decode(*row) for row in each]), 0


SIDES = {"cpu": _decode_cpu, "cuda": _decode_cuda}
"""What the operator does, by type of device."""


def decode(
    state: Tensor,
    levels: Tensor,
    scale: Tensor,
    shape: Sequence[int],
    storage: int,
    dtype: torch.dtype,
    channels_last: bool,
) -> Tensor:
    """The operator, without torch's dispatcher where nobody listens to it: that takes as long as
    all the rest of a small weight."""
    if type(state) is Tensor and not torch._C._len_torch_dispatch_stack():
        side = SIDES.get(state.device.type)
        if side is not None:
            return side(state, levels, scale, shape, storage, dtype, channels_last)
    return torch.ops.qtheory.decode(state, levels, scale, shape, storage, dtype, channels_last)


LIBRARY.impl("decode", SIDES["cpu"], "CPU")
LIBRARY.impl("decode", SIDES["cuda"], "CUDA")
torch.library.register_fake("qtheory::decode", _decode_fake, lib=LIBRARY)
torch.library.register_vmap("qtheory::decode", _decode_each, lib=LIBRARY)
