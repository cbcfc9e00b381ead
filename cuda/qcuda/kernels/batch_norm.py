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
from functools import lru_cache

import torch
from torch import Tensor

from qcuda.errors import InputError, require
from qcuda.kernels import abi, native
from qcuda.kernels.stairs import NUMBERS, check_half_width, described, in_memory

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
    sums = torch.empty((2, batch.channels), dtype=torch.float64)
    statistics = torch.empty((2, batch.channels))
    native.library().qt_batch_measure(
        ctypes.byref(batch), ctypes.byref(norm), x.data_ptr(), sums.data_ptr(),
        statistics.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    return statistics, sums


def _norm(x: Tensor, statistics: Tensor, weight: Tensor | None, bias: Tensor | None) -> abi.Norm:
    kind = _check_channels("weight and bias", x, weight, bias)
    if statistics.dtype != torch.float32 or statistics.shape != (2, x.shape[1]):
        raise InputError(
            f"statistics are float32 of shape (2, {x.shape[1]}), got {statistics.dtype} "
            f"{tuple(statistics.shape)}"
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
    norm = _norm(x, statistics, weight, bias)
    stair = described(tuple(thresholds), tuple(levels), folded, up, False)
    z = torch.empty_like(x)
    x, batch = _as_it_lies(in_memory(x, z.stride()))
    if x.numel():
        native.library().qt_batch_stair(
            ctypes.byref(stair), ctypes.byref(batch), ctypes.byref(norm), x.data_ptr(),
            statistics.contiguous().data_ptr(), z.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
    return z


def _back(
    x: Tensor,
    gradient: Tensor,
    statistics: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    half_width: Tensor,
    thresholds: list[float],
    levels: list[float],
    folded: bool,
    triangular: bool,
    of_batch: bool,
    slopes: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    norm = _norm(x, statistics, weight, bias)
    stair = described(tuple(thresholds), tuple(levels), folded, False, triangular)
    if gradient.dtype != x.dtype or gradient.shape != x.shape:
        raise InputError(
            f"a gradient is {x.dtype} {tuple(x.shape)}, as its input, got {gradient.dtype} "
            f"{tuple(gradient.shape)}"
        )
    check_half_width(half_width)
    out = torch.empty_like(x)
    x, batch = _as_it_lies(in_memory(x, out.stride()))
    gradient = in_memory(gradient, x.stride())
    found, sums = _rows_of_channels(x, of_batch or slopes)
    if x.numel():
        native.library().qt_batch_stair_back(
            ctypes.byref(stair), half_width.data_ptr(), ctypes.byref(batch), ctypes.byref(norm),
            x.data_ptr(), gradient.data_ptr(), statistics.contiguous().data_ptr(), of_batch,
            out.data_ptr(), sums.data_ptr() if sums.numel() else None, found.data_ptr(),
            torch.get_num_threads(),
        )  # fmt: skip
    else:
        for empty in (found, sums):
            empty.zero_()
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
    ("batch_stair_back", _back, _back_fake),
):
    LIBRARY.impl(_name, _kernel, "CPU")
    torch.library.register_fake(f"qtheory::{_name}", _fake, lib=LIBRARY)
