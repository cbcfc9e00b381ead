"""Batch norm and the stair behind it as one function, forwards and backwards."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import qcuda.kernels.batch_norm  # registers the operators
from qcuda.errors import require
from qcuda.nn.activations import NoisyStair
from qcuda.nn.stairs import is_half, once
from qtheory.stairs.stair import Stair

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
assert qcuda.kernels.batch_norm.TYPES


class _BatchStair(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        invstd: Tensor,
        scale: Tensor,
        stair: Stair,
        triangular: bool,
        of_batch: bool,
    ) -> tuple[Tensor, Tensor]:
        gain = invstd if weight is None else invstd * weight.float()
        shift = torch.zeros_like(mean) if bias is None else bias.float()
        table = torch.stack([mean, gain, shift])
        z = torch.ops.qtheory.batch_stair(
            x, table, stair.thresholds, stair.levels, is_half(stair), stair.tie == "up"
        )
        return z, table

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, weight, bias, _, invstd, scale, *ctx.shape = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.types = [None if p is None else p.dtype for p in (weight, bias)]
        ctx.save_for_backward(x, output[1], invstd, scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        x, table, invstd, scale = ctx.saved_tensors
        stair, triangular, of_batch = ctx.shape
        gradient = gradients[0]
        if gradient is None:
            return (None,) * 9
        numbers = scale, stair.thresholds, stair.levels, is_half(stair), triangular
        back = torch.zeros_like(table[:2])
        slopes: list[Tensor | None] = [None, None]
        if of_batch or any(ctx.needs_input_grad[1:3]):
            sums = torch.ops.qtheory.batch_stair_sums(x, gradient, table, *numbers)
            wide = invstd.double()
            found = sums[1] * wide, sums[0]
            slopes = [
                once(s.to(t), gradient, x) if t is not None else None
                for s, t in zip(found, ctx.types, strict=True)
            ]
            if of_batch:
                means = sums / (x.numel() // x.shape[1])
                back = torch.stack([means[0], means[1] * wide * wide]).float()
        table = torch.cat([table, back])
        slope = torch.ops.qtheory.batch_stair_slope(x, gradient, table, *numbers)
        return once(slope, gradient, x), *slopes, None, None, None, None, None, None


class BatchStair(nn.Module):
    """A batch norm and the stair behind it, as one function.

    norm: BatchNorm1d, BatchNorm2d or BatchNorm3d of torch, with any of its options. stair: a
    `MultiStep`, or another odd stair. Both stay what they are, with their parameters, buffers and
    schedules; keys of the state_dict are those of the norm.

    On the CPU, for float32, bfloat16 and float16 inputs, nothing is kept for the backward pass but
    the input. The output is the stair at (x - mean) gain + shift, in float32, one operation
    after the other, where gain is weight / sqrt(variance + eps) rounded to float32; mean and
    variance are rounded from sums in float64, whose order depends on shape and strides but not on
    threads. torch rounds otherwise, so an input within a few roundings of a threshold may come to
    the other side. Elsewhere (a GPU, float64, a norm that was replaced, as by
    `convert_sync_batchnorm`) norm and stair run one after the other.

    Raises ValueError if they are of other kinds.
    """

    def __init__(self, norm: nn.Module, stair: NoisyStair) -> None:
        super().__init__()
        require(
            type(norm) in NORMS,
            f"a batch norm to fuse is one of torch's three, got {type(norm).__name__}",
        )
        require(
            isinstance(stair, NoisyStair) and stair.odd,
            f"a stair to fuse is a MultiStep, or another odd stair, got {stair}",
        )
        self.norm, self.stair = norm, stair
        self.training = norm.training
        self._register_state_dict_hook(_without_norm)
        self.register_load_state_dict_pre_hook(_with_norm)

    def forward(self, inputs: Tensor) -> Tensor:
        norm, stair = self.norm, self.stair
        apart = type(norm) not in NORMS or inputs.device.type != "cpu"
        if apart or inputs.dtype not in qcuda.kernels.batch_norm.TYPES:
            return stair(norm(inputs))
        assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
        norm._check_input_dim(inputs)
        require(
            inputs.shape[1] == norm.num_features,
            f"a batch norm of {norm.num_features} channels takes as many, got {inputs.shape[1]}",
        )
        of_batch = norm.training or norm.running_mean is None
        mean, invstd = self._measured(norm, inputs) if of_batch else _running(norm)
        return _BatchStair.apply(
            inputs, norm.weight, norm.bias, mean, invstd, stair.scale, stair.stair,
            stair.family == "triangular", of_batch,
        )[0]  # fmt: skip

    def _measured(self, norm: Any, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and 1 / std of the batch; running numbers are moved as torch moves them."""
        count = inputs.numel() // max(inputs.shape[1], 1)
        require(
            count > 1,
            "a batch norm that trains has more than one value a channel, got "
            f"{tuple(inputs.shape)}",
        )
        sums = torch.ops.qtheory.batch_moments(inputs.detach())
        mean = sums[0] / count
        variance = (sums[1] / count - mean * mean).clamp_min(0)
        if norm.training and norm.track_running_stats and norm.running_mean is not None:
            norm.num_batches_tracked.add_(1)
            share = norm.momentum
            if share is None:
                share = 1.0 / norm.num_batches_tracked.double()
            for running, new in (
                (norm.running_mean, mean),
                (norm.running_var, variance * (count / (count - 1))),
            ):
                running.copy_(running.double() * (1 - share) + share * new)
        return mean.float(), (variance + norm.eps).rsqrt().float()


def _running(norm: Any) -> tuple[Tensor, Tensor]:
    """Mean and 1 / std that are given."""
    return norm.running_mean.float(), (norm.running_var.double() + norm.eps).rsqrt().float()


def _without_norm(
    module: nn.Module, state: dict[str, Any], prefix: str, metadata: Mapping[str, Any]
) -> None:
    for key in [key for key in state if key.startswith(f"{prefix}norm.")]:
        state[prefix + key.removeprefix(f"{prefix}norm.")] = state.pop(key)


def _with_norm(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    for name in module.get_submodule("norm").state_dict():
        if prefix + name in state:
            state[f"{prefix}norm.{name}"] = state.pop(prefix + name)


def fuse_(model: nn.Module) -> nn.Module:
    """Make one module of each batch norm that is followed by an odd stair in a `Sequential`.

    In place; the stair leaves an `Identity`, so that names and keys of the state_dict stay. Modules
    that are followed otherwise, in a `forward` of their own, are left: put a `BatchStair` there.
    Pairs with hooks are left, since nobody would call them. Says what it did to the logger
    "qcuda". Returns the model. Raises ValueError if there is no such pair.
    """
    fused = []
    for name, sequence in list(model.named_modules()):
        if not isinstance(sequence, nn.Sequential):
            continue
        for place in range(len(sequence) - 1):
            norm, stair = sequence[place], sequence[place + 1]
            odd = isinstance(stair, NoisyStair) and stair.odd
            if type(norm) in NORMS and odd and not (_hooked(norm) or _hooked(stair)):
                assert isinstance(stair, NoisyStair)
                sequence[place], sequence[place + 1] = BatchStair(norm, stair), nn.Identity()
                fused.append(f"{name}.{place}".lstrip("."))
    require(bool(fused), "a model to fuse has a batch norm before an odd stair, got none")
    logging.getLogger("qcuda").info("fused batch norm and stair: %s", ", ".join(fused))
    return model


def _hooked(module: nn.Module) -> bool:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name) for name in hooks)
