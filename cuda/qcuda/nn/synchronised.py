"""Batch norms whose statistics are those of the batches of all ranks together.

torch's SyncBatchNorm is for GPUs alone. Here sums are taken in float64, on any device, so that what
is normalised is, but for a rounding to float32, what one process would have with the whole batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _Together(torch.autograd.Function):
    """(x - mean) / std of all ranks, x of the shape (N, channels, ...)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, invstd: Tensor, count: Tensor) -> Tensor:
        shape = [1, -1] + [1] * (x.dim() - 2)
        seen = ((x.double() - mean.view(shape)) * invstd.view(shape)).to(x.dtype)
        ctx.save_for_backward(seen, invstd, count)
        return seen

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        seen, invstd, count = ctx.saved_tensors
        shape, axes = [1, -1] + [1] * (seen.dim() - 2), _axes(seen)
        wide, z = gradients[0].double(), seen.double()
        sums = torch.stack([wide.sum(axes), (wide * z).sum(axes)])
        dist.all_reduce(sums)
        mean, along = (sums / count).view(2, *shape)
        slope = (wide - mean - z * along) * invstd.view(shape)
        return slope.to(seen.dtype), None, None, None


def _axes(x: Tensor) -> list[int]:
    """All but the channels."""
    return [0, *range(2, x.dim())]


class _Synchronised(nn.modules.batchnorm._BatchNorm):
    """What the three kinds have in common."""

    def forward(self, input: Tensor) -> Tensor:
        of_batch = self.training or self.running_mean is None
        if not of_batch or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        wide, axes = input.detach().double(), _axes(input)
        first = wide.sum(axes)
        each = torch.full_like(first, input.numel() // input.shape[1])
        sums = torch.stack([first, wide.square().sum(axes), each])
        dist.all_reduce(sums)
        count = sums[2]
        mean = sums[0] / count
        variance = (sums[1] / count - mean.square()).clamp_min(0)
        if self.training and self.running_mean is not None:
            self._remember(mean, variance * count / (count - 1))
        out = _Together.apply(input, mean, (variance + self.eps).rsqrt(), count)
        shape = [1, -1] + [1] * (input.dim() - 2)
        if self.weight is not None:
            out = out * self.weight.view(shape)
        return out if self.bias is None else out + self.bias.view(shape)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        share = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if share is None else share
        assert share is not None
        for running, now in ((self.running_mean, mean), (self.running_var, variance)):
            running.copy_(running.double() * (1 - share) + now * share)


class SynchronisedNorm1d(_Synchronised, nn.BatchNorm1d):
    """torch.nn.BatchNorm1d over the batches of all ranks."""


class SynchronisedNorm2d(_Synchronised, nn.BatchNorm2d):
    """torch.nn.BatchNorm2d over the batches of all ranks."""


class SynchronisedNorm3d(_Synchronised, nn.BatchNorm3d):
    """torch.nn.BatchNorm3d over the batches of all ranks."""


KINDS: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: SynchronisedNorm1d,
    nn.BatchNorm2d: SynchronisedNorm2d,
    nn.BatchNorm3d: SynchronisedNorm3d,
}


def synchronise_norms_(model: nn.Module) -> nn.Module:
    """Have the batch norms of a model take their statistics from the batches of all ranks.

    In place: parameters, buffers, hooks and names stay, so that it may be called before or after an
    optimiser is made, on every rank. Alone, or in evaluation, a norm does what it did before, and a
    model without batch norms, as of a text, stays as it is. Returns the model.
    """
    for module in model.modules():
        module.__class__ = KINDS.get(type(module), type(module))
    return model
