"""What is saved of an optimiser, and whether a saved state fits one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qcuda.errors import require
from qcuda.nn.slot import is_slot
from qcuda.step import reals
from qcuda.step.clock import iteration_of
from qcuda.step.groups import StepNumbers, described, name_of, numbers_of
from qcuda.step.plan import kept_as

COUNTS = ("moved", "nan")
HOST = torch.device("cpu")

Groups = list[dict[str, Any]]


def pack(saved: dict[str, Any], groups: Groups, counters: Tensor) -> dict[str, Any]:
    """Torch's state with plain numbers in its groups, and each slot's counts in its state."""
    state = dict(saved["state"])
    place = 0
    for packed, group in zip(saved["param_groups"], groups, strict=True):
        packed["iteration"] = int(group["iteration"])
        packed["spec"] = described(group["spec"])
        for number, param in zip(packed["params"], group["params"], strict=True):
            if is_slot(param):
                counts = dict(zip(COUNTS, counters[place].clone().unbind(), strict=True))
                state[number] = {**state.get(number, {}), **counts}
                place += 1
    return {**saved, "state": state}


def unpack(saved: dict[str, Any], groups: Groups) -> tuple[dict[str, Any], list[Tensor]]:
    """Torch's state again, checked before, and the counts of the slots in order."""
    state, counts = dict(saved["state"]), []
    told = [
        {**theirs, "spec": ours["spec"]}
        for theirs, ours in zip(saved["param_groups"], groups, strict=True)
    ]
    for theirs, ours in zip(told, groups, strict=True):
        for number, param in zip(theirs["params"], ours["params"], strict=True):
            if is_slot(param):
                found = state.get(number, {})
                zero = torch.zeros((), dtype=torch.int64)
                counts.append(torch.stack([found.get(n, zero).reshape(()).cpu() for n in COUNTS]))
                state[number] = {k: v for k, v in found.items() if k not in COUNTS}
    return {**saved, "state": state, "param_groups": told}, counts


def check(saved: dict[str, Any], groups: Groups, moment_type: torch.dtype) -> None:
    """Raise InputError or ValueError unless a saved state fits, number by number."""
    require(
        {"state", "param_groups"} <= set(saved),
        f"an optimiser's state has the keys state and param_groups, got {sorted(saved)}",
    )
    theirs = saved["param_groups"]
    require(
        len(theirs) == len(groups),
        f"a state is for as many groups as there are, {len(groups)}, got {len(theirs)}",
    )
    found = [_check_group(other, group) for other, group in zip(theirs, groups, strict=True)]
    params = [
        (p, numbers) for group, numbers in zip(groups, found, strict=True) for p in group["params"]
    ]
    order = [number for group in theirs for number in group["params"]]
    require(
        len(order) == len(params),
        f"a state is for as many parameters as there are, {len(params)}, got {len(order)}",
    )
    foreign = set(saved["state"]) - set(order)
    require(not foreign, f"a state is for the parameters {order}, got {sorted(foreign)}")
    for number, (param, numbers) in zip(order, params, strict=True):
        if kept := saved["state"].get(number, {}):
            _check_tensors(param, kept, numbers, moment_type)


def _check_group(saved: dict[str, Any], group: dict[str, Any]) -> StepNumbers:
    """Beside what this optimiser's groups have, schedulers may have written keys of their own."""
    missing = set(group) - {"initial_lr", "param_names"} - set(saved)
    known = sorted(set(group) - {"initial_lr", "param_names"})
    require(not missing, f"a group has the keys {known}, got {sorted(map(str, saved))}")
    mine = described(group["spec"])
    require(saved["spec"] == mine, f"a state is of the group's spec, {mine}, got {saved['spec']}")
    base = group["base"]
    require(saved["base"] == base, f"a state is of the group's base, {base}, got {saved['base']}")
    slots = sum(is_slot(p) for p in group["params"])
    numbers = numbers_of({**saved, "spec": group["spec"]}, slots)
    iteration_of(saved, HOST)
    theirs, ours = saved.get("param_names"), group.get("param_names")
    if theirs is not None and ours is not None:
        pairs = zip(theirs, ours, strict=len(theirs) == len(ours))
        other = next((pair for pair in pairs if pair[0] != pair[1]), None)
        require(
            other is None,
            "a state is for parameters of the same names in the same order, "
            f"got {other and other[0]!r} where this optimiser has {other and other[1]!r}",
        )
    return numbers


def _check_tensors(
    param: Tensor, found: dict[str, Any], numbers: StepNumbers, moment_type: torch.dtype
) -> None:
    if is_slot(param):
        wanted = kept_as(param, numbers, moment_type)
    else:
        names = reals.NAMES[name_of(numbers.base)]
        wanted = dict.fromkeys(names, (param.shape, param.dtype))
    names = tuple(wanted)
    own = {k: v for k, v in found.items() if k not in COUNTS} if is_slot(param) else found
    require(
        set(own) == set(names) or not own,
        f"the state of a parameter has {sorted(names)}, got {sorted(own)}",
    )
    for name, value in found.items():
        shape = torch.Size() if name in ("step", *COUNTS) else wanted[name][0]
        require(
            isinstance(value, Tensor) and value.shape == shape,
            f"the state {name!r} is a tensor of shape {tuple(shape)}, "
            f"got {tuple(value.shape) if isinstance(value, Tensor) else value!r}",
        )
        if name in COUNTS:
            require(value.dtype == torch.int64, f"the state {name!r} is int64, got {value.dtype}")
        elif name != "step":
            dtype = wanted[name][1]
            require(value.dtype == dtype, f"the state {name!r} is {dtype}, got {value.dtype}")
            if is_slot(param):
                _check_moment(name, value)


def _check_moment(name: str, value: Tensor) -> None:
    """A moment that is not finite, or a negative mean of squares, would never move its weight."""
    if not value.numel() or value.device.type == "meta":
        return
    low, high = (float(x) for x in value.aminmax())
    least = 0.0 if name in ("second", "square") else -float("inf")
    require(
        least <= low and -float("inf") < low and high < float("inf"),
        f"the state {name!r} is finite{' and >= 0' if least == 0 else ''}, "
        f"got values from {low} to {high}",
    )
