"""Batch norm followed by a stair, as torch operators on the CPU; formulas: cuda/csrc/batch_norm.h.

    batch_moments      sums of x and of x squared, float64, shape (2, C)
    batch_stair        the stair at (x - centre) gain + shift
    batch_stair_sums   sums of d and of d (x - centre), where d is gradient times slope
    batch_stair_slope  the gradient of x

x has its channels on axis 1, and is float32, bfloat16 or float16; arithmetic is float32, sums are
float64 in an order that depends on shape and strides and on nothing else. Inputs that lie in memory
channel after channel, or all channels of a place together (channels_last), are read as they lie.
`table` has a row of C float32 for each of centre, gain and shift; batch_stair_slope has two more,
the mean of d and the slant.
"""

from __future__ import annotations

import ctypes
import math

import torch
from torch import Tensor

from qcuda.errors import require
from qcuda.kernels import abi, native
from qcuda.kernels.stairs import described, in_memory

TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
_STAIR = "float[] thresholds, float[] levels, bool folded"

LIBRARY = torch.library.Library("qtheory", "FRAGMENT")
LIBRARY.define("batch_moments(Tensor x) -> Tensor")
LIBRARY.define(f"batch_stair(Tensor x, Tensor table, {_STAIR}, bool up) -> Tensor")
LIBRARY.define(
    "batch_stair_sums(Tensor x, Tensor gradient, Tensor table, Tensor half_width, "
    f"{_STAIR}, bool triangular) -> Tensor"
)
LIBRARY.define(
    "batch_stair_slope(Tensor x, Tensor gradient, Tensor table, Tensor half_width, "
    f"{_STAIR}, bool triangular) -> Tensor"
)


def _as_it_lies(x: Tensor) -> tuple[Tensor, abi.Batch]:
    """x, copied if it lies in neither order, and how to read it."""
    require(
        x.dim() >= 2 and x.dtype in TYPES,
        "batch norm and a stair take float32, bfloat16 or float16 of two axes or more, got "
        f"{x.dtype} {tuple(x.shape)}",
    )
    batch, channels, places = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    rows = x.movedim(1, -1).is_contiguous() and not (places > 1 and x.is_contiguous())
    if rows:
        return x, abi.Batch(TYPES[x.dtype], 0, batch * places, channels, channels)
    return x.contiguous(), abi.Batch(TYPES[x.dtype], 1, batch * channels, places, channels)


def _check_table(table: Tensor, rows: int, x: Tensor) -> None:
    require(
        table.dtype == torch.float32
        and table.is_contiguous()
        and table.shape == (rows, x.shape[1]),
        f"a table of channels is contiguous float32 of shape ({rows}, {x.shape[1]}), got "
        f"{table.dtype} {tuple(table.shape)}",
    )


def _call(name: str, *arguments: object) -> None:
    """A function of the library. Everything that it can refuse was checked before."""
    getattr(native.library(), name)(*arguments, torch.get_num_threads())


def _moments(x: Tensor) -> Tensor:
    x, batch = _as_it_lies(x)
    sums = torch.zeros(2, x.shape[1], dtype=torch.float64)
    if x.numel():
        _call("qt_batch_moments", ctypes.byref(batch), x.data_ptr(), sums.data_ptr())
    return sums


def _stair(
    x: Tensor, table: Tensor, thresholds: list[float], levels: list[float], folded: bool, up: bool
) -> Tensor:
    _check_table(table, 3, x)
    stair = described(tuple(thresholds), tuple(levels), folded, up, False)
    z = torch.empty_like(x)
    x, batch = _as_it_lies(in_memory(x, z.stride()))
    if x.numel():
        _call(
            "qt_batch_stair", ctypes.byref(stair), ctypes.byref(batch), x.data_ptr(),
            table.data_ptr(), z.data_ptr(),
        )  # fmt: skip
    return z


def _backward(
    name: str,
    out: Tensor,
    x: Tensor,
    gradient: Tensor,
    table: Tensor,
    half_width: Tensor,
    stair: abi.Stair,
) -> Tensor:
    require(
        gradient.dtype == x.dtype and gradient.shape == x.shape,
        f"a gradient is {x.dtype} {tuple(x.shape)}, as its input, got {gradient.dtype} "
        f"{tuple(gradient.shape)}",
    )
    require(
        half_width.dtype == torch.float64 and half_width.numel() == 1,
        f"a half width is one float64, got {half_width.dtype} {tuple(half_width.shape)}",
    )
    x, batch = _as_it_lies(x)
    gradient = in_memory(gradient, x.stride())
    if x.numel():
        _call(
            name, ctypes.byref(stair), half_width.data_ptr(), ctypes.byref(batch), x.data_ptr(),
            gradient.data_ptr(), table.data_ptr(), out.data_ptr(),
        )  # fmt: skip
    return out


def _sums(
    x: Tensor,
    gradient: Tensor,
    table: Tensor,
    half_width: Tensor,
    thresholds: list[float],
    levels: list[float],
    folded: bool,
    triangular: bool,
) -> Tensor:
    _check_table(table, 3, x)
    stair = described(tuple(thresholds), tuple(levels), folded, False, triangular)
    out = torch.zeros(2, x.shape[1], dtype=torch.float64)
    return _backward("qt_batch_stair_sums", out, x, gradient, table, half_width, stair)


def _slope(
    x: Tensor,
    gradient: Tensor,
    table: Tensor,
    half_width: Tensor,
    thresholds: list[float],
    levels: list[float],
    folded: bool,
    triangular: bool,
) -> Tensor:
    _check_table(table, 5, x)
    stair = described(tuple(thresholds), tuple(levels), folded, False, triangular)
    x = in_memory(x, torch.empty_like(x).stride())
    out = torch.empty_like(x)
    return _backward("qt_batch_stair_slope", out, x, gradient, table, half_width, stair)


def _sums_fake(x: Tensor, *_: object) -> Tensor:
    return x.new_empty((2, x.shape[1]), dtype=torch.float64)


def _like_fake(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(x)


for _name, _kernel, _fake in (
    ("batch_moments", _moments, _sums_fake),
    ("batch_stair", _stair, _like_fake),
    ("batch_stair_sums", _sums, _sums_fake),
    ("batch_stair_slope", _slope, _like_fake),
):
    LIBRARY.impl(_name, _kernel, "CPU")
    torch.library.register_fake(f"qtheory::{_name}", _fake, lib=LIBRARY)
