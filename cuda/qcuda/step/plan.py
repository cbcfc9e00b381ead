"""What a step of a group will do. Whatever can fail is tried here, before anything has changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from qcuda.errors import InputError
from qcuda.kernels.ops import check_backend
from qcuda.nn.slot import GradientSlot, is_slot
from qcuda.step import moves, reals
from qcuda.step.clock import Clock, iteration_of
from qcuda.step.groups import MOMENTS, StepNumbers, on_host
from qcuda.step.groups import name_of as name_of_base
from qcuda.step.moves import Kind, Launch
from qtheory.optimisers import Normalized

State = dict[str, Tensor]


@dataclass
class Plan:
    """Of one group. fresh: the states of parameters that step for the first time."""

    group: dict[str, Any]
    numbers: StepNumbers
    iteration: Tensor
    clock: Clock
    launches: defaultdict[Kind, Launch] = field(default_factory=lambda: defaultdict(Launch))
    reals: defaultdict[tuple[torch.device, bool], reals.Batch] = field(
        default_factory=lambda: defaultdict(reals.Batch)
    )  # of a device; whether torch's fused kernels train them
    fresh: dict[Tensor, State] = field(default_factory=dict)

    def gradients(self) -> list[Tensor]:
        """Of all parameters that the step is for, in order."""
        return [p.grad for p in self.group["params"] if p.grad is not None]

    def used(self) -> list[Tensor]:
        """What the step reads for them: gradients may have been converted or laid out anew."""
        used = [*self.launches.values(), *self.reals.values()]
        return [g for part in used for g in part.gradients]

    def check_capturable(self) -> None:
        """Raise InputError if something is on the CPU, as torch does in a capturable step."""
        for device in (*(kind.device for kind in self.launches), *(d for d, _ in self.reals)):
            if on_host(device):
                raise InputError(f"capturable=True is for parameters on a GPU, got one on {device}")

    def names(self) -> list[str]:
        """Of the parameters with these gradients."""
        with_gradient = (k for k, p in enumerate(self.group["params"]) if p.grad is not None)
        return [name_of(self.group, k) for k in with_gradient]


def planned(
    group: dict[str, Any],
    numbers: StepNumbers,
    clock: Clock,
    places: Iterator[int],
    states: dict[Tensor, State],
    moment_type: torch.dtype,
    fused: bool,
    only: int | None = None,
) -> Plan:
    """The plan of a group. places: numbers of slots, one taken for each slot of the group.

    only: the place in the group of the one parameter that the plan is for, if it is not for all.

    Raises InputError if a gradient, a state or a layer does not fit, ReferenceError if a slot has
    lost its layer, BackendUnavailable if there are no kernels for a device.
    """
    plan = Plan(group, numbers, iteration_of(group, clock.device), clock)
    kept = numbers.kept
    params = group["params"]
    some = enumerate(params) if only is None else [(only, params[only])]
    for number, param in some:
        slot, gradient = is_slot(param), param.grad
        place = next(places) if slot else 0
        if gradient is None:
            continue
        if gradient.layout != torch.strided:
            raise InputError(
                f"a gradient is dense, got {gradient.layout} for {name_of(group, number)}: "
                "make its layer with sparse=False"
            )
        state = states.get(param)
        if not state:
            state = plan.fresh[param] = _fresh(param, numbers, moment_type)
        if slot:
            _add_slot(plan, param, place, gradient, state, kept)
        else:
            gradient, by_fused = reals.prepared(param, gradient, state, fused)
            batch = plan.reals[param.device, by_fused]
            batch.params.append(param)
            batch.gradients.append(gradient)
            batch.states.append(state)
    rule, kernel = numbers.rule, numbers.kernel
    for kind, launch in plan.launches.items():
        first = launch.kept["first"]
        types = kind.gradient_type, first[0].dtype if first else torch.float32
        check_backend(rule, kernel, kind.storage, launch.states[0], *types)
    return plan


def name_of(group: dict[str, Any], number: int) -> str:
    """A parameter of a group by its name, or by its place and shape."""
    if names := group.get("param_names"):
        return names[number]
    return f"parameter {number} of shape {tuple(group['params'][number].shape)}"


def _fresh(param: Tensor, numbers: StepNumbers, moment_type: torch.dtype) -> State:
    if not is_slot(param):
        return reals.fresh_state(name_of_base(numbers.base), param)
    device = moves.owner_of(param).state.device
    return {
        name: torch.zeros(shape, dtype=dtype, device=device)
        for name, (shape, dtype) in kept_as(param, numbers, moment_type).items()
    }


def kept_as(
    slot: Tensor, numbers: StepNumbers, moment_type: torch.dtype
) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and type of what is kept for a lattice weight, by name."""
    shapes = dict.fromkeys(numbers.kept, (slot.shape, moment_type))
    if isinstance(numbers.base, Normalized):
        shapes["square"] = torch.Size([numbers.base.rows(tuple(slot.shape))]), torch.float32
    return shapes


def _add_slot(
    plan: Plan,
    slot: GradientSlot,
    place: int,
    gradient: Tensor,
    state: State,
    kept: tuple[str, ...],
) -> None:
    layer, shape = moves.owner_of(slot), slot.shape
    moves.check_layer(layer, plan.numbers.spec)
    gradient = moves.kernel_gradient(shape, gradient)
    codes = layer.state
    device = codes.device
    if gradient.device != device:
        raise InputError(f"a gradient is on its weight's device, {device}, got {gradient.device}")
    launch = plan.launches[Kind(device, layer.storage, gradient.dtype)]
    launch.places.append(place)
    launch.slots.append(slot)
    launch.states.append(codes)
    launch.gradients.append(gradient)
    for name in kept:
        moment = state.get(name)
        like = shape if name in MOMENTS else kept_as(slot, plan.numbers, torch.float32)[name][0]
        if moment is None or moment.device != device or moment.shape != like:
            raise InputError(
                f"the state {name!r} of a lattice weight has the shape {tuple(like)} and is on "
                f"{device}, got "
                + ("none" if moment is None else f"{tuple(moment.shape)} on {moment.device}")
                + ": load the optimiser's state after the model has moved, and keep its base"
            )
        launch.kept[name].append(moment)
