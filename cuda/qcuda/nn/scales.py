"""How real weights are put on a lattice: the scale of a layer or channel, and the nearest level."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from qcuda.errors import require
from qtheory.lattice import Lattice

CHUNK = 2**16  # weights worked on together: they stay in a processor's cache
TRIED = 7  # powers of two from the one that reaches the largest weight downwards


def by_channel(weight: Tensor, groups: int) -> Tensor:
    """A matrix with a row for each output channel of a weight, in their order.

    groups: of a transposed convolution, whose output channels are along the second axis; else 0.
    """
    if groups:
        weight = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2).flatten(0, 1)
    return weight.reshape(weight.shape[0], -1)


def from_channels(rows: Tensor, shape: tuple[int, ...], groups: int) -> Tensor:
    """The inverse of `by_channel`."""
    if not groups:
        return rows.reshape(shape)
    first, second, *kernel = shape
    split = rows.reshape(groups, second, first // groups, *kernel)
    return split.transpose(1, 2).reshape(shape)


def on_lattice(weight: Tensor, scale: Tensor, lattice: Lattice, groups: int) -> Tensor:
    """The index of the level nearest to each weight, int64.

    scale: one number, or one for each output channel. groups: see `by_channel`. Raises ValueError
    if a weight is not finite.
    """
    weight = weight.detach()
    require(bool(weight.isfinite().all()), "weights to convert are finite, got NaN or infinity")
    rows = by_channel(weight, groups) if scale.dim() else weight.reshape(1, -1)
    index = nearest(rows, scale.detach().to(rows.device, torch.float64).reshape(-1), lattice)
    return from_channels(index, tuple(weight.shape), groups if scale.dim() else 0)


def best_scales(rows: Tensor, lattice: Lattice) -> Tensor:
    """For each row w, the power of two s that makes |w - s Q(w / s)|^2 smallest.

    rows: real, of two dimensions. Returns float64, one for each row: 1 where all of it is 0, and
    the smallest of those that are equally good. Of levels -h, 0, +h, the sum is less than that of
    w^2 by twice the sum of s h max(0, |w| - s h / 2), which takes a third of the operations.
    """
    largest = rows.abs().amax(1).double() if rows.numel() else rows.new_zeros(len(rows)).double()
    reach = max(abs(lattice.low), abs(lattice.high))
    top = torch.ceil(torch.log2(largest / reach))
    exponents = top + torch.arange(1 - TRIED, 1, device=rows.device)[:, None]
    scales = torch.exp2(torch.where(torch.isfinite(exponents), exponents, 0))
    errors = torch.zeros_like(scales)
    three = lattice.size == 3 and lattice.low == -lattice.high
    for some, part in _chunks(rows):
        part = part.abs() if three else part
        for k in range(TRIED):
            s = scales[k, some, None]
            if three:
                high = lattice.high * s
                errors[k, some] -= (part - high / 2).relu_().sum(1).mul_(2 * high[:, 0])
                continue
            index = (part / s).sub_(lattice.low).div_(lattice.spacing).round_()
            shown = index.clamp_(0, lattice.size - 1).mul_(lattice.spacing).add_(lattice.low)
            errors[k, some] += shown.mul_(s).sub_(part).square_().sum(1)
    return scales.gather(0, errors.argmin(0)[None])[0]


def nearest(rows: Tensor, scales: Tensor, lattice: Lattice) -> Tensor:
    """`lattice.nearest` of each row divided by its scale, int64, in the shape of the rows."""
    found = torch.empty(rows.shape, dtype=torch.int64, device=rows.device)
    written = _chunks(found)
    for (some, part), (_, out) in zip(_chunks(rows), written, strict=True):
        position = (part / scales[some, None]).sub_(lattice.low).div_(lattice.spacing)
        position.clamp_(0, lattice.size - 1)
        below = position.floor()
        fraction = position - below
        up = (fraction > 0.5) | ((fraction == 0.5) & (position >= lattice.zero))
        out.copy_(below.add_(up))
    return found


def _chunks(rows: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Parts of a matrix and which rows they are of: reals as float64, whole numbers themselves."""
    high = max(1, CHUNK // max(1, rows.shape[1]))
    for begin in range(0, rows.shape[0], high):
        for part in rows[begin : begin + high].split(CHUNK, 1):
            real = part.is_floating_point()
            yield slice(begin, begin + high), part.double() if real else part
