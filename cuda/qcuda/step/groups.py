"""The numbers of a parameter group: how they are given, and what a step makes of them, checked."""

from __future__ import annotations

import dataclasses
import numbers
import operator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from qcuda.errors import InputError, require
from qtheory.algorithms import Spec, contract, spec_class, stem, walkers
from qtheory.optimisers import OPTIMISERS, SGD, Adam, Momentum, Optimiser
from qtheory.streams import MAX_SEED

NO_DECAY = (
    "weight decay shrinks a number by a factor, which no lattice weight can do: give lattice "
    "weights a group of their own with weight_decay=0, got {decay} in a group with {slots} of them"
)


class StepNumbers(NamedTuple):
    """A group's numbers, checked."""

    base: Optimiser
    spec: Spec
    seed: int
    weight_decay: float


def on_host(device: torch.device) -> bool:
    """Whether numbers on a device can be read without waiting for it."""
    return device.type == "cpu"


def real(name: str, value: Any) -> float:
    """A number as a float: Python's, NumPy's, or a tensor of one element. Raises InputError."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return float(value)
    require(
        isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_),
        f"{name} is a number, got {value!r}",
    )
    return float(value)


def whole(name: str, value: Any, most: int) -> int:
    """An integer in 0..most, Python's or NumPy's. Raises InputError."""
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    require(0 <= number <= most, f"{name} is in 0..{most}, got {value!r}")
    return number


def base_from(base: Optimiser | str | None, learning_rate: float | None) -> Optimiser:
    """The base optimiser of an object, of a name, or of nothing. Raises InputError."""
    name = "adam" if base is None else base
    if isinstance(name, str):
        require(name in OPTIMISERS, f"a base is one of {', '.join(OPTIMISERS)}, got {name!r}")
        require(
            name == "adam" or learning_rate is not None,
            f"{name} has no usual learning rate: give one as lr, got none",
        )
        rate = Adam().learning_rate if learning_rate is None else learning_rate
        return OPTIMISERS[name](learning_rate=rate)
    require(
        type(base) in OPTIMISERS.values(),
        "a base is SGD, Momentum or Adam of qtheory.optimisers, or the name of one, such as "
        f"'adam', got {_named(base)}",
    )
    assert isinstance(base, SGD | Momentum | Adam)
    if learning_rate is None:
        return base
    return dataclasses.replace(base, learning_rate=learning_rate)


def name_of(base: Optimiser) -> str:
    """The name of a base optimiser in `qtheory.optimisers.OPTIMISERS`."""
    return next(name for name, cls in OPTIMISERS.items() if type(base) is cls)


def base_numbers(base: Optimiser) -> dict[str, Any]:
    """A base optimiser's numbers under the names that torch's schedulers know."""
    match base:
        case Adam():
            return {"lr": base.learning_rate, "betas": tuple(base.betas), "eps": base.epsilon}
        case Momentum():
            return {"lr": base.learning_rate, "momentum": base.momentum}
        case SGD():
            return {"lr": base.learning_rate}


def spec_numbers(spec: Spec) -> dict[str, Any]:
    """A spec's own numbers, by the names of its contract's knobs."""
    return {knob.name: getattr(spec, knob.name) for knob in contract(spec).knobs}


def check_spec(spec: Any) -> None:
    """Raise InputError unless it is a spec of an algorithm that moves weights on a lattice."""
    classes = ", ".join(spec_class(name).__name__ for name in walkers())
    rule = f"a spec is a value of one of the classes {classes}, with a lattice"
    try:
        found = stem(spec)
    except TypeError:
        raise InputError(f"{rule}, got {_named(spec)}") from None
    require(found in walkers(), f"{rule}, got {found}, whose weights are read from real latents")


def _named(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def described(spec: Spec) -> str:
    """What a saved state must agree on: the algorithm, its lattice and readout, without knobs."""
    read = getattr(spec, "readout", None)
    return f"{stem(spec)} on {spec.lattice}" + ("" if read is None else f" read by {read}")


def numbers_of(name: str, group: dict[str, Any], slots: int) -> StepNumbers:
    """What the coming step takes from a group, with a base optimiser of a name.

    slots: how many of the group's parameters are lattice weights.
    A learning rate in the memory of a GPU is not looked at. Raises InputError or ValueError.
    """
    spec, rate = group["spec"], group["lr"]
    away = isinstance(rate, Tensor) and not on_host(rate.device)
    base = _base(name, 0.0 if away else real("a learning rate", rate), group)
    base.scalars(1)  # the largest of all iterations, in float32
    knobs = {
        knob.name: group[knob.name] if knob.choices else real(knob.name, group[knob.name])
        for knob in contract(spec).knobs
    }
    decay = real("weight_decay", group["weight_decay"])
    require(0 <= decay < float("inf"), f"weight_decay is finite and >= 0, got {decay}")
    require(decay == 0 or slots == 0, NO_DECAY.format(decay=decay, slots=slots))
    seed = whole("a seed", group["seed"], MAX_SEED)
    return StepNumbers(base, dataclasses.replace(spec, **knobs), seed, decay)


def _base(name: str, rate: float, group: dict[str, Any]) -> Optimiser:
    if name == "adam":
        betas = group["betas"]
        require(
            isinstance(betas, tuple | list) and len(betas) == 2,
            f"betas are two numbers, got {betas}",
        )
        beta1, beta2 = (real("a beta", beta) for beta in betas)
        return Adam(rate, (beta1, beta2), real("eps", group["eps"]))
    if name == "momentum":
        return Momentum(rate, real("momentum", group["momentum"]))
    return SGD(rate)
