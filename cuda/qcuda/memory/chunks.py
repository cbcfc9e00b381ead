"""A layer, a batch norm and what follows, some images at a time; no tensor is made of all at once.

The first layer of a network for large images makes the largest tensors, and keeps them. Here it
runs over chunks of the batch, once for the sums of the batch norm and once for what is handed on,
and likewise backwards. What comes after the norm, activations and pools, must treat images one by
one.

With c = weight / std, forwards z = (y - mean) c + bias; backwards, d being the gradient of z,

    dy = ((d - mean of d) - (y - mean) mean of d (y - mean) / variance) c

Sums are float64, chunk after chunk, where the plain modules have torch's own order: results are
equal but for roundings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from qcuda.errors import InputError
from qcuda.nn.kept import MOVED

MOST = 2**23  # bytes of a chunk's outputs, about


def images_of(layer: Any, inputs: Tensor, size: int) -> int:
    """How many images a convolution makes at most `size` bytes of, about; at least one."""
    made = inputs[0].numel() / layer.in_channels * layer.out_channels
    for stride in layer.stride:
        made /= stride
    return max(1, int(size / (made * inputs.element_size())))


class Chunked(torch.autograd.Function):
    """See above. unit: layer, norm and the rest; images: of a chunk."""

    @staticmethod
    def forward(ctx: Any, unit: Any, images: int, x: Tensor, *parameters: nn.Parameter) -> Tensor:
        norm: Any = unit.modules[1]
        kind = x.device.type
        ctx.of_batch = norm.training or norm.running_mean is None
        if ctx.of_batch:
            mean, invstd = _measured(norm, unit.modules[0], x.split(images))
        else:
            mean, invstd = _running(norm)
        out, begin = None, 0
        for part in x.split(images):
            z, _, _ = _normal(norm, unit.modules[0](part), mean, invstd)
            some = _through(unit.modules[2:], z)
            if out is None:
                lies = torch.channels_last if _wide(some) else torch.contiguous_format
                shape = (len(x), *some.shape[1:])
                out = some.new_empty(shape).contiguous(memory_format=lies)
            out[begin : begin + len(part)] = some
            begin += len(part)
        assert out is not None
        ctx.save_for_backward(x, mean, invstd)
        ctx.unit, ctx.images, ctx.parameters = unit, images, parameters
        ctx.versions = unit.versions()
        ctx.autocast = kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        unit, (x, mean, invstd) = ctx.unit, ctx.saved_tensors
        if unit.versions() != ctx.versions:
            raise InputError(MOVED)
        with torch.autocast(*ctx.autocast):
            return None, None, *_returned(ctx, x, mean, invstd, gradient)


def _measured(norm: Any, layer: nn.Module, parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and 1 / std of the layer's outputs, float64; running numbers move as torch's do."""
    total = squares = torch.zeros(())
    count = 0
    for part in parts:
        y = layer(part)
        wide = y.to(torch.promote_types(y.dtype, torch.float32))
        total, squares = total + _sum(wide), squares + _sum(wide * wide)
        count += y.numel() // y.shape[1]
    mean = total / count
    variance = (squares / count - mean * mean).clamp_min(0)
    if norm.training and norm.track_running_stats and norm.running_mean is not None:
        norm.num_batches_tracked.add_(1)
        share = norm.momentum
        if share is None:
            share = 1 / float(norm.num_batches_tracked)
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
        unbiased = variance * (count / (count - 1))
        norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), share)
    return mean, (variance + norm.eps).rsqrt()


def _running(norm: Any) -> tuple[Tensor, Tensor]:
    return norm.running_mean.double(), (norm.running_var.double() + norm.eps).rsqrt()


def _returned(
    ctx: Any, x: Tensor, mean: Tensor, invstd: Tensor, gradient: Tensor
) -> Iterator[Tensor | None]:
    """The gradients of x and of the parameters."""
    unit, norm = ctx.unit, ctx.unit.modules[1]
    pairs = list(zip(x.split(ctx.images), gradient.split(ctx.images), strict=True))
    total = product = torch.zeros(())
    count = 0
    for part, g in pairs:
        d, deviation, _ = _before(unit, unit.modules[0](part), mean, invstd, g)
        total, product = total + _sum(d), product + _sum(d * deviation)
        count += d.numel() // d.shape[1]
    of_norm = {id(norm.weight): product * invstd, id(norm.bias): total}
    enters, *needed = ctx.needs_input_grad[2:]
    wanted = [
        p for p, need in zip(ctx.parameters, needed, strict=True) if need and id(p) not in of_norm
    ]
    slopes: list[Tensor] = []
    back = [torch.empty_like(x)] if enters else []
    begin = 0
    for part, g in pairs:
        with torch.enable_grad():
            part = part.detach().requires_grad_(enters)
            y = unit.modules[0](part)
        d, deviation, gain = _before(unit, y.detach(), mean, invstd, g)
        if ctx.of_batch:
            slant = product / count * invstd * invstd
            d -= _laid((total / count).to(d.dtype), d)
            d -= deviation.mul_(_laid(slant.to(d.dtype), d))
        found = torch.autograd.grad(y, [part] * enters + wanted, d.mul_(gain).to(y.dtype))
        if enters:
            back[0][begin : begin + len(part)] = found[0]
            begin += len(part)
        found = found[len(back) :]
        slopes = [s.add_(f) for s, f in zip(slopes, found, strict=True)] if slopes else list(found)
    own = dict(zip(map(id, wanted), slopes, strict=True)) | of_norm
    yield back[0] if enters else None
    for parameter, need in zip(ctx.parameters, needed, strict=True):
        slope = own.get(id(parameter)) if need else None
        yield slope if slope is None else slope.to(parameter.dtype)


def _normal(norm: Any, y: Tensor, mean: Tensor, invstd: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the norm makes of y; y less its mean, and the gain, both at least float32."""
    kind = torch.promote_types(y.dtype, torch.float32)
    gain = invstd if norm.weight is None else invstd * norm.weight.detach()
    deviation, gain = y.to(kind) - _laid(mean.to(kind), y), _laid(gain.to(kind), y)
    z = deviation * gain  # and not in place: it is a part of the slope
    if norm.bias is not None:
        z += _laid(norm.bias.detach().to(kind), y)
    return z.to(y.dtype), deviation, gain


def _before(
    unit: Any, y: Tensor, mean: Tensor, invstd: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of what the norm makes of y; y less its mean, and the gain."""
    z, deviation, gain = _normal(unit.modules[1], y, mean, invstd)
    z.requires_grad_()
    with torch.enable_grad():
        out = _through(unit.modules[2:], z)
    (d,) = torch.autograd.grad(out, z, gradient)
    return d.to(deviation.dtype), deviation, gain


def _through(modules: Sequence[nn.Module], x: Tensor) -> Tensor:
    for module in modules:
        x = module(x)
    return x


def _wide(x: Tensor) -> bool:
    return x.dim() == 4 and not x.is_contiguous()


def _laid(numbers: Tensor, x: Tensor) -> Tensor:
    """Numbers of channels in the shape of x."""
    return numbers.reshape(1, -1, *(1,) * (x.dim() - 2))


def _sum(x: Tensor) -> Tensor:
    """Sums of channels, float64."""
    return x.sum((0, *range(2, x.dim())), dtype=torch.float64)
