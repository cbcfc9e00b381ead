"""The base optimiser on ordinary, floating-point parameters, by torch's own kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from qcuda.errors import InputError
from qcuda.step.groups import StepNumbers, on_host
from qtheory.optimisers import Adam, Momentum, Optimiser

NAMES = {"adam": ("step", "first", "second"), "momentum": ("first",), "sgd": ()}
"""What is kept for a parameter by the name of the base optimiser."""


def fresh_state(base: str, param: Tensor) -> dict[str, Tensor]:
    """The state of a parameter before its first step."""
    device = torch.device("cpu") if on_host(param.device) else param.device
    return {
        name: torch.zeros((), dtype=torch.float32, device=device)
        if name == "step"
        else torch.zeros_like(param, memory_format=torch.preserve_format)
        for name in NAMES[base]
    }


def check(param: Tensor, gradient: Tensor, state: dict[str, Tensor]) -> None:
    """Raise InputError unless gradient and state are of the parameter's kind."""
    if gradient.dtype != param.dtype or gradient.device != param.device:
        raise InputError(
            f"a gradient has its parameter's type and device, {param.dtype} on {param.device}, "
            f"got {gradient.dtype} on {gradient.device}"
        )
    for name, value in state.items():
        if name != "step" and (value.shape != param.shape or value.device != param.device):
            raise InputError(
                f"the state {name!r} has its parameter's shape and device, {tuple(param.shape)} "
                f"on {param.device}, got {tuple(value.shape)} on {value.device}"
            )


def train(
    params: list[Tensor],
    states: list[dict[str, Tensor]],
    numbers: StepNumbers,
    *,
    fused: bool,
    learning_rate: Tensor | None,
    found_inf: Tensor | None,
) -> None:
    """One iteration. learning_rate, found_inf: one float32 in device memory, for fused kernels."""
    if not params:
        return
    base, grads = numbers.base, [p.grad for p in params if p.grad is not None]
    rate: Any = base.learning_rate if learning_rate is None else learning_rate
    _decay(params, rate, numbers.weight_decay, found_inf)
    which: dict[str, Any] = {"fused": True, "found_inf": found_inf} if fused else {"foreach": True}
    if isinstance(base, Adam):
        adam(
            params, grads, [s["first"] for s in states], [s["second"] for s in states], [],
            [s["step"] for s in states], amsgrad=False, beta1=base.betas[0], beta2=base.betas[1],
            lr=rate, weight_decay=0.0, eps=base.epsilon, maximize=False,
            capturable=not on_host(params[0].device), **which,
        )  # fmt: skip
    else:
        sgd(
            params, grads, [s.get("first") for s in states], weight_decay=0.0,
            momentum=_momentum(base), lr=rate, dampening=0.0, nesterov=False, maximize=False,
            **which,
        )  # fmt: skip


def _momentum(base: Optimiser) -> float:
    return base.momentum if isinstance(base, Momentum) else 0.0


def _decay(params: list[Tensor], rate: Any, decay: float, found_inf: Tensor | None) -> None:
    """Decoupled weight decay, as of torch.optim.AdamW: p <- p - rate decay p, before the move."""
    if decay == 0.0:
        return
    factor: Any = 1.0 - rate * decay
    if found_inf is not None:
        factor = torch.where(found_inf == 0, factor, 1.0).reshape(())
    torch._foreach_mul_(params, factor)  # pyright: ignore[reportPrivateImportUsage]
