"""The numbers of a parameter group: how they are given, and what a step makes of them, checked."""

from __future__ import annotations

import dataclasses
import numbers
import operator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qcuda.errors import InputError, require
from qcuda.kernels import abi
from qcuda.nn.slot import is_slot
from qtheory.algorithms import Spec, contract, parameters, spec_class, stem, walkers
from qtheory.optimisers import OPTIMISERS, SGD, Adam, Momentum, Normalized, Optimiser
from qtheory.streams import MAX_SEED

MOMENTS = ("first", "second")

NO_DECAY = (
    "weight decay shrinks a number by a factor, which no lattice weight can do: give lattice "
    "weights a group of their own with weight_decay=0, got {decay} in a group with {slots} of them"
)


@dataclasses.dataclass(frozen=True)
class StepNumbers:
    """A group's numbers, checked; what follows from them is found once, not in every step."""

    base: Optimiser
    spec: Spec
    seed: int
    weight_decay: float

    @cached_property
    def kernel(self) -> str:
        """The optimiser of the kernel that moves lattice weights."""
        if isinstance(self.base, Normalized):
            return "momentum" if self.base.momentum else "sgd"
        return name_of(self.base)

    @cached_property
    def kept(self) -> tuple[str, ...]:
        """The names of what is kept for a lattice weight, in the order of the kernels."""
        rows = ("square",) if isinstance(self.base, Normalized) else ()
        return (*MOMENTS[: abi.MOMENTS[self.kernel]], *rows)

    @cached_property
    def rule(self) -> str:
        """The stem of the spec."""
        return stem(self.spec)

    @cached_property
    def levels(self) -> tuple[float, float, int, list[float]]:
        """Spacing, zero and size of the lattice, and the spec's parameters."""
        lattice = self.spec.lattice
        return lattice.spacing, lattice.zero, lattice.size, list(parameters(self.spec))


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
    if not 0 <= number <= most:  # a message costs more than the rule, and iterations come here
        raise InputError(f"{name} is in 0..{most}, got {value!r}")
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
        "a base is SGD, Momentum, Adam or Normalized of qtheory.optimisers, or the name of one, "
        f"such as 'adam', got {_named(base)}",
    )
    assert isinstance(base, Optimiser)
    if learning_rate is None:
        return base
    return dataclasses.replace(base, learning_rate=learning_rate)


_NOT_NUMBERS = {"params", "param_names", "iteration"}
_NAMES: dict[type[Any], str] = {cls: name for name, cls in OPTIMISERS.items()}


def name_of(base: Optimiser) -> str:
    """The name of a base optimiser in `qtheory.optimisers.OPTIMISERS`."""
    return _NAMES[type(base)]


def base_numbers(base: Optimiser) -> dict[str, Any]:
    """A base optimiser's numbers under the names that torch's schedulers know."""
    match base:
        case Adam():
            return {"lr": base.learning_rate, "betas": tuple(base.betas), "eps": base.epsilon}
        case Momentum():
            return {"lr": base.learning_rate, "momentum": base.momentum}
        case Normalized():
            return {
                "lr": base.learning_rate,
                "momentum": base.momentum,
                "decay": base.decay,
                "over": base.over,
            }
        case SGD():
            return {"lr": base.learning_rate}


def by_default(base: Optimiser, others: Optimiser, rate: Any) -> dict[str, dict[str, Any]]:
    """Numbers, with the base's name, of groups of "lattice" weights and of "other" parameters.

    rate: the base's learning rate as it was given; a tensor stays where it is.
    """
    found = {
        kind: {**base_numbers(one), "base": name_of(one)}
        for kind, one in (("lattice", base), ("other", others))
    }
    for own in found.values():
        if isinstance(rate, Tensor) and own["base"] == name_of(base):
            own["lr"] = rate
    return found


def by_kind(group: dict[str, Any]) -> list[dict[str, Any]]:
    """A group as one of lattice weights and one of other parameters, if it has both, in order."""
    params = group["params"]
    if isinstance(params, Tensor | set):  # torch refuses sets
        return [group]
    params = list(params)
    kinds = [is_slot(p[1] if isinstance(p, tuple) else p) for p in params]
    return [
        {**group, "params": [p for p, kind in zip(params, kinds, strict=True) if kind is wanted]}
        for wanted in dict.fromkeys(kinds)
    ] or [group]


def numbers_for(group: dict[str, Any], numbers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The base's numbers, with its name, of a group that is about to be added.

    numbers: those of "lattice" weights and of "other" parameters. Raises InputError.
    """
    params = group["params"]
    group["params"] = params = [params] if isinstance(params, Tensor) else params
    if not isinstance(params, set):
        group["params"] = params = list(params)
    kinds = {is_slot(p[1] if isinstance(p, tuple) else p) for p in params}
    base = group.get("base")
    own = numbers["other" if kinds == {False} else "lattice"]
    if base is not None and base != own["base"]:
        found = base_from(base, group.get("lr"))
        own = {**base_numbers(found), "base": name_of(found)}
    require(
        own["base"] != "normalized" or False not in kinds,
        "gradients of lattice weights alone are normalised: give other parameters a group and a "
        "base of their own, got both in one group",
    )
    return own


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


def others_from(others: Optimiser | str | None, base: Optimiser) -> Optimiser:
    """The base of ordinary parameters: the given one, that of lattice weights, or Adam."""
    if others is None:
        return Adam() if isinstance(base, Normalized) else base
    found = base_from(others, None)
    require(
        not isinstance(found, Normalized),
        "the base of other parameters is one that torch has, sgd, momentum or adam, got normalized",
    )
    return found


class Remembered:
    """The numbers of a group's last step, as long as all its values are the same objects."""

    def __init__(self) -> None:
        self._values: list[Any] = []
        self._numbers: StepNumbers | None = None

    def numbers_of(self, group: dict[str, Any]) -> StepNumbers:
        """As the function `numbers_of` finds them. Raises as it does."""
        values = [value for key, value in group.items() if key not in _NOT_NUMBERS]
        values += group["params"]
        same = len(values) == len(self._values) and all(map(operator.is_, values, self._values))
        if same and self._numbers is not None:
            return self._numbers
        numbers = numbers_of(group, sum(map(is_slot, group["params"])))
        own = values[: len(values) - len(group["params"])]
        self._values, self._numbers = values, numbers if all(map(_is_fixed, own)) else None
        return numbers


def _is_fixed(value: Any) -> bool:
    """Whether the same object is the same number for ever, as a tensor's or a list's may not be."""
    if isinstance(value, tuple):
        return all(map(_is_fixed, value))
    return not isinstance(value, Tensor | np.ndarray | list)


def numbers_of(group: dict[str, Any], slots: int) -> StepNumbers:
    """What the coming step takes from a group.

    slots: how many of the group's parameters are lattice weights.
    A learning rate in the memory of a GPU is not looked at. Raises InputError or ValueError.
    """
    spec, rate = group["spec"], group["lr"]
    away = isinstance(rate, Tensor) and not on_host(rate.device)
    base = _base(group["base"], 0.0 if away else real("a learning rate", rate), group)
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
    if name == "normalized":
        momentum, decay = (real(key, group[key]) for key in ("momentum", "decay"))
        return Normalized(rate, momentum, decay, group["over"])
    return SGD(rate)
