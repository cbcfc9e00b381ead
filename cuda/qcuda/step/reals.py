"""The base optimiser on ordinary, floating-point parameters, by torch's own kernels.

torch's fused kernels take one call for all parameters, and read parameter, gradient and moments
one element after the other, whatever their strides. On the CPU those of SGD leave float16 and
bfloat16 as they are up to torch 2.13. So `prepared` lays tensors out as their parameter, and says
which parameters are for torch's slower foreach functions, which take all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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

HOST_TYPES = (torch.float32, torch.float64)  # of which fused kernels on the CPU are right


@dataclass
class Batch:
    """Parameters of one device, which one call of torch trains, with gradients and states."""

    params: list[Tensor] = field(default_factory=list)
    gradients: list[Tensor] = field(default_factory=list)
    states: list[dict[str, Tensor]] = field(default_factory=list)


def fresh_state(base: str, param: Tensor) -> dict[str, Tensor]:
    """The state of a parameter before its first step."""
    device = torch.device("cpu") if on_host(param.device) else param.device
    return {
        name: torch.zeros((), dtype=torch.float32, device=device)
        if name == "step"
        else torch.zeros_like(param, memory_format=torch.preserve_format)
        for name in NAMES[base]
    }


def prepared(
    param: Tensor, gradient: Tensor, state: dict[str, Tensor], fused: bool
) -> tuple[Tensor, bool]:
    """The gradient as fused kernels read it, and whether they are used for this parameter.

    Moments are laid out as the parameter, whose layout may have changed since they were made.
    Raises InputError unless gradient and state are of the parameter's kind.
    """
    device, shape = param.device, param.shape
    if gradient.dtype != param.dtype or gradient.device != device:
        raise InputError(
            f"a gradient has its parameter's type and device, {param.dtype} on {device}, "
            f"got {gradient.dtype} on {gradient.device}"
        )
    alike = gradient.is_contiguous() and param.is_contiguous()
    for name, value in state.items():
        if name == "step":
            continue
        if value.shape != shape or value.device != device:
            raise InputError(
                f"the state {name!r} has its parameter's shape and device, {tuple(shape)} "
                f"on {device}, got {tuple(value.shape)} on {value.device}"
            )
        alike = alike and value.is_contiguous()
    if not fused or (on_host(device) and param.dtype not in HOST_TYPES):
        return gradient, False
    if alike:
        return gradient, True
    strides = param.stride()
    if torch.empty_like(param).stride() != strides:  # with gaps, or elements in one place
        return gradient, False
    for name, value in state.items():
        if name != "step" and value.stride() != strides:
            state[name] = torch.empty_like(param).copy_(value)
    same = gradient.stride() == strides
    return gradient if same else torch.empty_like(param).copy_(gradient), True


def train(
    batch: Batch,
    numbers: StepNumbers,
    *,
    fused: bool,
    learning_rate: Tensor,
    found_inf: Tensor | None,
) -> None:
    """One iteration.

    learning_rate: one number, in the memory of any device.
    found_inf: one float32 of 0, or 1 if nothing is to change; fused kernels on a GPU read it there,
    and others wait for it.
    """
    base, params, states = numbers.base, batch.params, batch.states
    device = params[0].device
    host = on_host(device)
    if found_inf is not None and (host or not fused):
        if bool(found_inf):
            return
        found_inf = None
    rate: Any = float(learning_rate) if host else learning_rate.float().to(device)
    which: dict[str, Any] = {"fused": True, "found_inf": found_inf} if fused else {"foreach": True}
    if isinstance(base, Adam):
        adam(
            params, batch.gradients, [s["first"] for s in states], [s["second"] for s in states],
            [], [s["step"] for s in states], amsgrad=False, beta1=base.betas[0],
            beta2=base.betas[1], lr=rate, weight_decay=numbers.weight_decay, eps=base.epsilon,
            maximize=False, capturable=not host,
            decoupled_weight_decay=numbers.weight_decay != 0, **which,
        )  # fmt: skip
    else:
        _decay(params, rate, numbers.weight_decay, found_inf)
        sgd(
            params, batch.gradients, [s.get("first") for s in states], weight_decay=0.0,
            momentum=_momentum(base), lr=rate, dampening=0.0, nesterov=False, maximize=False,
            **which,
        )  # fmt: skip


def _momentum(base: Optimiser) -> float:
    return base.momentum if isinstance(base, Momentum) else 0.0


def _decay(params: list[Tensor], rate: Any, decay: float, found_inf: Tensor | None) -> None:
    """Decoupled weight decay: p <- p - rate decay p, before the move, as torch.optim.AdamW."""
    if decay == 0.0:
        return
    factor: Any = 1.0 - rate * decay
    if found_inf is not None:
        factor = torch.where(found_inf == 0, factor, 1.0).reshape(())
    torch._foreach_mul_(params, factor)  # pyright: ignore[reportPrivateImportUsage]
