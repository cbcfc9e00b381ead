"""Batch norm and the stair behind it as one function, forwards and backwards."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

import qcuda.kernels.batch_norm  # registers the operators
from qcuda.errors import InputError, require
from qcuda.nn.activations import NoisyStair
from qcuda.nn.stairs import is_half, once, quick_to_bind
from qtheory.stairs.stair import Stair

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
assert qcuda.kernels.batch_norm.TYPES


class _BatchStair(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    @quick_to_bind
    def forward(
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        statistics: Tensor,
        scale: Tensor,
        stair: Stair,
        triangular: bool,
        of_batch: bool,
    ) -> Tensor:
        return torch.ops.qtheory.batch_stair(
            x, statistics, weight, bias, stair.thresholds, stair.levels, is_half(stair),
            stair.tie == "up",
        )  # fmt: skip

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, stair, triangular, of_batch = inputs
        ctx.shape = stair, triangular, of_batch
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, statistics, scale = ctx.saved_tensors
        stair, triangular, of_batch = ctx.shape
        gradient = gradients[0]
        needed = ctx.needs_input_grad[1:3]
        slope, slopes, _ = torch.ops.qtheory.batch_stair_back(
            x, gradient, statistics, weight, bias, scale, stair.thresholds, stair.levels,
            is_half(stair), triangular, of_batch, any(needed),
        )  # fmt: skip
        found = [
            once(slopes[place].to(parameter.dtype), gradient, x) if needed[place] else None
            for place, parameter in enumerate((weight, bias))
        ]
        return once(slope, gradient, x), *found, None, None, None, None, None


class BatchStair(nn.Module):
    """A batch norm and the stair behind it, as one function.

    norm: BatchNorm1d, BatchNorm2d or BatchNorm3d of torch, with any of its options. stair: a
    `MultiStep`, or another odd stair. Both stay what they are, with their parameters, buffers and
    schedules; keys of the state_dict are those of the norm.

    On the CPU and on a GPU, for float32, bfloat16 and float16 inputs, nothing is kept for the
    backward pass but the input. The output is the stair at (x - mean) gain + shift, in float32, one
    operation after the other, where gain is weight / sqrt(variance + eps) rounded to float32; mean
    and variance are rounded from sums in float64, whose order depends on shape and strides but not
    on threads or devices. torch rounds otherwise, so an input within a few roundings of a threshold
    may come to the other side. Elsewhere (another device, float64, a norm that was replaced, as by
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
        apart = type(norm) not in NORMS or inputs.device.type not in ("cpu", "cuda")
        if apart or inputs.dtype not in qcuda.kernels.batch_norm.TYPES:
            return stair(norm(inputs))
        assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
        norm._check_input_dim(inputs)
        if inputs.shape[1] != norm.num_features:
            raise InputError(
                f"a batch norm of {norm.num_features} channels takes as many, got {inputs.shape[1]}"
            )
        of_batch, statistics = self.statistics(inputs)
        return _BatchStair.apply(
            inputs, norm.weight, norm.bias, statistics, stair.scale, stair.stair,
            stair.family == "triangular", of_batch,
        )  # fmt: skip

    def statistics(self, inputs: Tensor) -> tuple[bool, Tensor]:
        """Whether the batch is measured, and mean and 1 / std; running numbers move once."""
        norm: Any = self.norm
        of_batch = norm.training or norm.running_mean is None
        return of_batch, _measured(norm, inputs) if of_batch else _running(norm)

    def at(self, inputs: Tensor, statistics: Tensor, part: slice = slice(None)) -> Tensor:
        """The stair at inputs of some channels, of mean and 1 / std; nothing flows back."""
        stair = self.stair.stair
        return torch.ops.qtheory.batch_stair(
            inputs, statistics[:, part], *self.numbers(part), stair.thresholds, stair.levels,
            is_half(stair), stair.tie == "up",
        )  # fmt: skip

    def numbers(self, part: slice) -> tuple[Tensor | None, Tensor | None]:
        """Weight and bias of some channels."""
        norm: Any = self.norm
        weight, bias = (None if p is None else p.detach()[part] for p in (norm.weight, norm.bias))
        return weight, bias


def _measured(norm: Any, inputs: Tensor) -> Tensor:
    """Mean and 1 / std of the batch; running numbers are moved as torch moves them."""
    if inputs.numel() <= inputs.shape[1]:
        raise InputError(
            f"a batch norm that trains has more than one value a channel, got {tuple(inputs.shape)}"
        )
    moved = None, None, None
    if norm.training and norm.track_running_stats and norm.running_mean is not None:
        moved = norm.running_mean, norm.running_var, norm.num_batches_tracked
    share = norm.momentum if moved[0] is not None else 0.0
    return torch.ops.qtheory.batch_measure(inputs.detach(), *moved, share, norm.eps)[0]


def _running(norm: Any) -> Tensor:
    """Mean and 1 / std that are given."""
    invstd = (norm.running_var.double() + norm.eps).rsqrt()
    return torch.stack([norm.running_mean.float(), invstd.float()])


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

    In place; the stair leaves an `Identity`, so that names and keys of the state_dict stay. Of a
    module with a `forward` of its own, `neighbours`, pairs of names, says which of its modules it
    calls one after the other, as in `qcuda.models`; others are left: put a `BatchStair` there.
    Pairs with hooks are left, since nobody would call them. Says what it did to the logger
    "qcuda". Returns the model. Raises ValueError if there is no such pair.
    """
    fused = fuse_pairs_(model)
    require(bool(fused), "a model to fuse has a batch norm before an odd stair, got none")
    logging.getLogger("qcuda").info("fused batch norm and stair: %s", ", ".join(fused))
    return model


def fuse_pairs_(model: nn.Module) -> list[str]:
    """Do what `fuse_` does; the names of the norms."""
    fused = []
    for name, module in list(model.named_modules()):
        own: Iterable[tuple[str, str]] = getattr(module, "neighbours", ())
        pairs = pairwise(module._modules) if isinstance(module, nn.Sequential) else own
        for first, second in list(pairs):
            norm, stair = getattr(module, first), getattr(module, second)
            odd = isinstance(stair, NoisyStair) and stair.odd
            if type(norm) in NORMS and odd and not (hooked(norm) or hooked(stair)):
                setattr(module, first, BatchStair(norm, stair))
                setattr(module, second, nn.Identity())
                fused.append(f"{name}.{first}".lstrip("."))
    return fused


def hooked(module: nn.Module) -> bool:
    """Whether somebody is called when the module is."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name) for name in hooks)
