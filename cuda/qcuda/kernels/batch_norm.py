"""Batch norm followed by a stair, as torch operators; formulas: cuda/csrc/batch_norm.h.

    batch_measure     mean and 1 / std of each channel, float32, and the sums of x and of x squared
                      that they are made from, float64, each of shape (2, C). Running mean and
                      variance are moved by a share, of one part in the number of batches if it is
                      None; that number is counted.
    batch_stair       the stair at (x - mean) gain + bias, where gain is weight / std
    batch_stair_back  the gradient of x; unless nobody wants them (then they are of shape (2, 0)),
                      those of weight and bias, float32, and the sums of d and of d (x - mean), d
                      being gradient times slope, float64, each of shape (2, C)

x has its channels on axis 1, and is float32, bfloat16 or float16; arithmetic is float32, sums are
float64 in an order that depends on shape and strides and on nothing else. Inputs that lie in memory
channel after channel, or all channels of a place together (channels_last), are read as they lie.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from qcuda.errors import InputError, require
from qcuda.kernels import abi, native
from qcuda.kernels.gpu import batch_norm as gpu
from qcuda.kernels.gpu import launcher
from qcuda.kernels.stairs import NUMBERS, check_numbers, described, in_memory

TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
LONG_PLANE = 64  # a channel of an example with more numbers is summed by itself
_STAIR = "float[] thresholds, float[] levels, bool folded"
_NORM = "Tensor statistics, Tensor? weight, Tensor? bias"

LIBRARY = torch.library.Library("qtheory", "FRAGMENT")
LIBRARY.define(
    "batch_measure(Tensor x, Tensor(a!)? mean, Tensor(b!)? variance, Tensor(c!)? batches, "
    "float? share, float eps) -> (Tensor, Tensor)"
)
LIBRARY.define(f"batch_stair(Tensor x, {_NORM}, {_STAIR}, bool up) -> Tensor")
LIBRARY.define(
    f"batch_stair_back(Tensor x, Tensor gradient, {_NORM}, Tensor half_width, {_STAIR}, "
    "bool triangular, bool of_batch, bool slopes) -> (Tensor, Tensor, Tensor)"
)


@lru_cache(maxsize=1024)
def _laid(kind: int, shape: tuple[int, ...], channels_last: bool) -> abi.Batch:
    """How to read an input that lies in one of the two orders."""
    batch, channels, places = shape[0], shape[1], math.prod(shape[2:])
    if channels_last:
        return abi.Batch(kind, 0, batch * places, channels, channels)
    if places > LONG_PLANE:
        return abi.Batch(kind, 1, batch * channels, places, channels)
    return abi.Batch(kind, 0, batch, channels * places, channels)


def _as_it_lies(x: Tensor) -> tuple[Tensor, abi.Batch]:
    """x, copied if it lies in neither order, and how to read it."""
    if x.dim() < 2 or x.dtype not in TYPES:
        raise _refused_input(x)
    wide = not x.is_contiguous() and x.movedim(1, -1).is_contiguous()
    return x if wide else x.contiguous(), _laid(TYPES[x.dtype], tuple(x.shape), wide)


def _refused_input(x: Tensor) -> InputError:
    return InputError(
        "batch norm and a stair take float32, bfloat16 or float16 of two axes or more, got "
        f"{x.dtype} {tuple(x.shape)}"
    )


def _check_channels(name: str, x: Tensor, *numbers: Tensor | None) -> int:
    """The number of the type that numbers of channels share, 0 if there are none."""
    present = [n for n in numbers if n is not None]
    for n in present:
        if (
            n.shape != x.shape[1:2]
            or n.dtype != present[0].dtype
            or n.dtype not in NUMBERS
            or not n.is_contiguous()
            or n.device != x.device
        ):
            raise InputError(
                f"{name} are {x.shape[1]} numbers of one type on {x.device}, got {n.dtype} "
                f"{tuple(n.shape)} on {n.device}"
            )
    return NUMBERS[present[0].dtype] if present else 0


def _address(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


def _kernels(x: Tensor) -> gpu.Kernels | None:
    """The kernels of a GPU on its present stream, None on the CPU."""
    if x.device.type == "cpu":
        return None
    stream = torch.cuda.current_stream(x.device).cuda_stream
    return gpu.Kernels(launcher(x.device.index), stream)


def _partial(x: Tensor, batch: abi.Batch) -> Tensor:
    """Room on a GPU for the sums of parts."""
    return x.new_empty(gpu.partial_numbers(batch), dtype=torch.float64)


def _table(x: Tensor) -> Tensor:
    """Room on a GPU for the numbers of channels."""
    return x.new_empty((5, x.shape[1]), dtype=torch.float32)


def _measure(
    x: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    batches: Tensor | None,
    share: float | None,
    eps: float,
) -> tuple[Tensor, Tensor]:
    kind = _check_channels("running mean and variance", x, mean, variance)
    require(
        (mean is None) == (variance is None) and (share is not None or batches is not None),
        "running numbers are a mean and a variance with a share or a number of batches, got less",
    )
    x, batch = _as_it_lies(x)
    norm = abi.Norm(
        _address(mean), _address(variance), _address(batches), None, None,
        -1.0 if share is None else share, eps, kind, 0,
    )  # fmt: skip
    statistics, sums = _rows_of_channels(x, True)
    pointers = x.data_ptr(), sums.data_ptr(), statistics.data_ptr()
    if kernels := _kernels(x):
        partial = _partial(x, batch)
        kernels.measure(batch, norm, *pointers, partial.data_ptr())
    else:
        native.library().qt_batch_measure(
            ctypes.byref(batch), ctypes.byref(norm), *pointers, torch.get_num_threads()
        )
    return statistics, sums


def _norm(x: Tensor, statistics: Tensor, weight: Tensor | None, bias: Tensor | None) -> abi.Norm:
    kind = _check_channels("weight and bias", x, weight, bias)
    if (
        statistics.dtype != torch.float32
        or statistics.shape != (2, x.shape[1])
        or statistics.device != x.device
    ):
        raise InputError(
            f"statistics are float32 of shape (2, {x.shape[1]}) on {x.device}, got "
            f"{statistics.dtype} {tuple(statistics.shape)} on {statistics.device}"
        )
    return abi.Norm(None, None, None, _address(weight), _address(bias), 0.0, 0.0, 0, kind)


def _stair(
    x: Tensor,
    statistics: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    thresholds: list[float],
    levels: list[float],
    folded: bool,
    up: bool,
) -> Tensor:
    norm, statistics = _norm(x, statistics, weight, bias), statistics.contiguous()
    stair = described(tuple(thresholds), tuple(levels), folded, up, False)
    z = torch.empty_like(x)
    x, batch = _as_it_lies(in_memory(x, z.stride()))
    if x.numel() == 0:
        return z
    pointers = x.data_ptr(), statistics.data_ptr(), z.data_ptr()
    if kernels := _kernels(x):
        table = _table(x)
        kernels.stair(stair, batch, norm, *pointers, table.data_ptr())
    else:
        native.library().qt_batch_stair(
            ctypes.byref(stair), ctypes.byref(batch), ctypes.byref(norm), *pointers,
            torch.get_num_threads(),
        )  # fmt: skip
    return z


def back(
    x: Tensor,
    gradient: Tensor,
    statistics: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    half_width: Tensor,
    thresholds: Sequence[float],
    levels: Sequence[float],
    folded: bool,
    triangular: bool,
    of_batch: bool,
    slopes: bool,
    *,
    over: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """What batch_stair_back does. over: the gradient of x is put over the other, if it lies as x.

    Kernels read a run of both before they write it.
    """
    norm, statistics = _norm(x, statistics, weight, bias), statistics.contiguous()
    stair = described(tuple(thresholds), tuple(levels), folded, False, triangular)
    if gradient.dtype != x.dtype or gradient.shape != x.shape:
        raise InputError(
            f"a gradient is {x.dtype} {tuple(x.shape)}, as its input, got {gradient.dtype} "
            f"{tuple(gradient.shape)}"
        )
    check_numbers(half_width, x, gradient)
    out = gradient if over and gradient.stride() == x.stride() else torch.empty_like(x)
    x, batch = _as_it_lies(in_memory(x, out.stride()))
    gradient = in_memory(gradient, x.stride())
    found, sums = _rows_of_channels(x, of_batch or slopes)
    if x.numel() == 0:
        return out, found.zero_(), sums.zero_()
    pointers = x.data_ptr(), gradient.data_ptr(), statistics.data_ptr()
    results = out.data_ptr(), sums.data_ptr() if sums.numel() else None, found.data_ptr()
    if kernels := _kernels(x):
        table, partial = _table(x), _partial(x, batch)
        kernels.back(
            stair, half_width.data_ptr(), batch, norm, *pointers, of_batch, *results,
            table.data_ptr(), partial.data_ptr(),
        )  # fmt: skip
    else:
        native.library().qt_batch_stair_back(
            ctypes.byref(stair), half_width.data_ptr(), ctypes.byref(batch), ctypes.byref(norm),
            *pointers, of_batch, *results, torch.get_num_threads(),
        )  # fmt: skip
    return out, found, sums


def _rows_of_channels(x: Tensor, wanted: bool) -> tuple[Tensor, Tensor]:
    """Room for two rows of channels in float32 and in float64, empty if nobody wants them."""
    shape = (2, x.shape[1] if wanted else 0)
    return x.new_empty(shape, dtype=torch.float32), x.new_empty(shape, dtype=torch.float64)


def _measure_fake(x: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return _rows_of_channels(x, True)


def _stair_fake(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(x)


def _back_fake(x: Tensor, *numbers: object) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x), *_rows_of_channels(x, bool(numbers[-1] or numbers[-2]))


for _name, _kernel, _fake in (
    ("batch_measure", _measure, _measure_fake),
    ("batch_stair", _stair, _stair_fake),
    ("batch_stair_back", back, _back_fake),
):
    for _device in ("CPU", "CUDA"):
        LIBRARY.impl(_name, _kernel, _device)
    torch.library.register_fake(f"qtheory::{_name}", _fake, lib=LIBRARY)
