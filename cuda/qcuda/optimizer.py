"""The optimiser of lattice weights: base optimiser and move in one kernel launch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd
from typing_extensions import TypeIs

from qcuda.errors import require
from qcuda.kernels import abi
from qcuda.kernels.ops import REALS
from qcuda.kernels.words import as_signed
from qcuda.nn.slot import GradientSlot, Owner
from qtheory.algorithms import Spec, contract, parameters, stem
from qtheory.optimisers import OPTIMISERS, SGD, Adam, Momentum, Optimiser, Scalars
from qtheory.streams import MAX_ITERATION, MAX_SEED

MOMENT_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def _knobs(base: Optimiser) -> dict[str, Any]:
    """A base optimiser's numbers under the names that torch's schedulers know."""
    match base:
        case Adam():
            return {"lr": base.learning_rate, "betas": tuple(base.betas), "eps": base.epsilon}
        case Momentum():
            return {"lr": base.learning_rate, "momentum": base.momentum}
        case SGD():
            return {"lr": base.learning_rate}


def _base_of(name: str, group: dict[str, Any]) -> Optimiser:
    """The base optimiser as a group's numbers have it now, checked."""
    learning_rate = float(group["lr"])
    if name == "adam":
        require(len(group["betas"]) == 2, f"betas are two numbers, got {group['betas']}")
        beta1, beta2 = group["betas"]
        return Adam(learning_rate, (float(beta1), float(beta2)), float(group["eps"]))
    if name == "momentum":
        return Momentum(learning_rate, float(group["momentum"]))
    return SGD(learning_rate)


class StepNumbers(NamedTuple):
    """A group's numbers, checked, for the iteration to come."""

    base: Optimiser
    spec: Spec
    scalars: Scalars


class LatticeOptimizer(torch.optim.Optimizer):
    """Moves lattice weights by `spec` and trains all other parameters by `base`, in one object.

    params: parameters or groups, as for any torch optimiser. Gradient slots of lattice layers are
    moved on their lattices; everything else is an ordinary parameter of the base optimiser.
    spec: the algorithm, e.g. DST(Lattice.ternary()); its lattice is that of every layer.
    base: SGD, Momentum or Adam of qtheory.optimisers.
    seed: key of the random words, 0 .. 2**64 - 1.
    moments: how the moments of lattice weights are kept, "float32" or "bfloat16" (rounded
    stochastically).

    Groups carry `lr`, the base optimiser's other numbers, and those of the spec (for DST
    `nonlinearity`); any of them may be scheduled. Slots are numbered 0, 1, ... in the order given:
    the tensor number of the random counter. `moved` and `nan` count, by slot, the weights that
    changed level and the increments that were not a number, since the optimiser was made.

    Raises ValueError if a layer's lattice is not the spec's, or a number breaks its rule; then no
    state has changed.
    """

    def __init__(
        self,
        params: Iterable[Any],
        spec: Spec,
        *,
        base: Optimiser | None = None,
        seed: int = 0,
        moments: str = "float32",
    ) -> None:
        base = Adam() if base is None else base
        require(0 <= seed <= MAX_SEED, f"a seed is in 0..{MAX_SEED}, got {seed}")
        require(
            moments in MOMENT_TYPES,
            f"moments are one of {sorted(MOMENT_TYPES)}, got {moments!r}",
        )
        self.spec, self.rule = spec, stem(spec)
        self.base_name = next(name for name, cls in OPTIMISERS.items() if type(base) is cls)
        self.moment_type = MOMENT_TYPES[moments]
        self.spec_knobs = [knob.name for knob in contract(spec).knobs]
        knobs = {name: getattr(spec, name) for name in self.spec_knobs}
        self._recorded: dict[GradientSlot, Tensor] = {}
        super().__init__(params, {**_knobs(base), **knobs, "iteration": 0, "seed": seed})
        self.moved = torch.zeros(len(self.slots), dtype=torch.int64)
        self.nan = torch.zeros(len(self.slots), dtype=torch.int64)

    @property
    def slots(self) -> list[GradientSlot]:
        """The slots of all groups, in order; a slot's place is its tensor number."""
        return [p for group in self.param_groups for p in group["params"] if _is_slot(p)]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's; raises ValueError for an unknown key or a layer with another lattice."""
        unknown = set(param_group) - {"params", "initial_lr", *self.defaults}
        require(not unknown, f"a group has the keys {sorted(self.defaults)}, got {sorted(unknown)}")
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            self._check_group(group)
        except ValueError:
            self.param_groups.pop()
            raise
        if hasattr(self, "moved"):
            added = sum(_is_slot(p) for p in group["params"])
            self.moved = torch.cat([self.moved, self.moved.new_zeros(added)])
            self.nan = torch.cat([self.nan, self.nan.new_zeros(added)])

    def _check_group(self, group: dict[str, Any]) -> StepNumbers:
        for slot in filter(_is_slot, group["params"]):
            lattice, seen = _layer(slot).lattice, _layer(slot).readout
            require(
                lattice == self.spec.lattice,
                f"a layer has the spec's lattice, {self.spec.lattice}, got {lattice}",
            )
            readout = getattr(self.spec, "readout", None)
            require(seen == readout, f"a layer has the spec's readout, {readout}, got {seen}")
            gradient = None if slot.grad is None else slot.grad.dtype
            require(
                gradient is None or gradient in REALS,
                f"a gradient of a lattice weight is float32 or bfloat16, got {gradient}",
            )
        return self.next_numbers(group)

    def next_numbers(self, group: dict[str, Any]) -> StepNumbers:
        """A group's numbers as its next step will use them, checked. Raises ValueError."""
        iteration, seed = group["iteration"], group["seed"]
        require(
            type(iteration) is int and 0 <= iteration < MAX_ITERATION,
            f"an iteration is in 0..{MAX_ITERATION - 1} before a step, got {iteration}",
        )
        require(
            type(seed) is int and 0 <= seed <= MAX_SEED,
            f"a seed is in 0..{MAX_SEED}, got {seed}",
        )
        base = _base_of(self.base_name, group)
        knobs = {
            knob.name: group[knob.name] if knob.choices else float(group[knob.name])
            for knob in contract(self.spec).knobs
        }
        spec = dataclasses.replace(self.spec, **knobs)
        return StepNumbers(base, spec, base.scalars(iteration + 1))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One iteration over every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        checked = [self._check_group(group) for group in self.param_groups]
        places = {id(slot): place for place, slot in enumerate(self.slots)}
        for group, numbers in zip(self.param_groups, checked, strict=True):
            group["iteration"] += 1
            ready = [p for p in group["params"] if p.grad is not None]
            launches: dict[Any, list[GradientSlot]] = {}
            for slot in filter(_is_slot, ready):
                assert slot.grad is not None
                key = (slot.device, _layer(slot).storage, slot.grad.dtype)
                launches.setdefault(key, []).append(slot)
            for (_, storage, _), slots in launches.items():
                self._move(slots, [places[id(s)] for s in slots], storage, group, numbers)
            self._train([p for p in ready if not _is_slot(p)], numbers.base)
        return loss

    def _move(
        self,
        slots: list[GradientSlot],
        places: list[int],
        storage: abi.Storage,
        group: dict[str, Any],
        numbers: StepNumbers,
    ) -> None:
        spec, device, kept = numbers.spec, slots[0].device, abi.MOMENTS[self.base_name]
        for slot in slots:
            for name in ("first", "second")[:kept]:
                if name not in self.state[slot]:
                    self.state[slot][name] = torch.zeros(
                        slot.shape, dtype=self.moment_type, device=device
                    )
        counters = torch.zeros(len(slots), 2, dtype=torch.int64, device=device)
        seed = group["seed"]
        torch.ops.qtheory.step_(
            [_layer(slot).state for slot in slots],
            [slot.grad.contiguous() for slot in slots if slot.grad is not None],
            [self.state[slot]["first"] for slot in slots] if kept > 0 else [],
            [self.state[slot]["second"] for slot in slots] if kept > 1 else [],
            self._places_to_record(slots),
            counters,
            torch.tensor(numbers.scalars, dtype=torch.float32, device=device),
            torch.tensor([group["iteration"]], dtype=torch.int64, device=device),
            places,
            [0] * len(slots),
            as_signed(seed),
            self.rule,
            self.base_name,
            int(storage),
            spec.lattice.spacing,
            spec.lattice.zero,
            spec.lattice.size,
            list(parameters(spec)),
        )
        where = torch.tensor(places)
        self.moved = self.moved.to(device).index_add(0, where.to(device), counters[:, 0])
        self.nan = self.nan.to(device).index_add(0, where.to(device), counters[:, 1])

    def _train(self, params: list[Tensor], base: Optimiser) -> None:
        """The base optimiser on ordinary parameters, by torch's own kernels."""
        if not params:
            return
        states = [self.state[p] for p in params]
        for p, state in zip(params, states, strict=True):
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32)
                state["first"] = torch.zeros_like(p, memory_format=torch.preserve_format)
                if isinstance(base, Adam):
                    state["second"] = torch.zeros_like(p, memory_format=torch.preserve_format)
        grads = [p.grad for p in params if p.grad is not None]
        first = [state["first"] for state in states]
        if isinstance(base, Adam):
            adam(
                params, grads, first, [state["second"] for state in states], [],
                [state["step"] for state in states], foreach=True, amsgrad=False,
                beta1=base.betas[0], beta2=base.betas[1], lr=base.learning_rate,
                weight_decay=0.0, eps=base.epsilon, maximize=False,
            )  # fmt: skip
        else:
            heavy = base.momentum if isinstance(base, Momentum) else 0.0
            sgd(
                params, grads, list(first), foreach=True, weight_decay=0.0, momentum=heavy,
                lr=base.learning_rate, dampening=0.0, nesterov=False, maximize=False,
            )  # fmt: skip

    @contextmanager
    def recorded(self, slots: Iterable[GradientSlot]) -> Iterator[dict[GradientSlot, Tensor]]:
        """Within the context, a step tells the increments that it used.

        They are the kernel's own numbers, float32 in weight units, one tensor of the weight's shape
        for each slot that the step moved; the next step overwrites them. Contexts may be nested.
        Raises ValueError if a slot is not one of the optimiser's.
        """
        wanted, own = list(slots), {id(slot) for slot in self.slots}
        require(
            all(id(slot) in own for slot in wanted),
            "a slot is one of the optimiser's, got another",
        )
        outer = self._recorded
        fresh = {
            slot: torch.zeros(slot.shape, dtype=torch.float32, device=slot.device)
            for slot in wanted
            if slot not in outer
        }
        self._recorded = outer | fresh
        try:
            yield {slot: self._recorded[slot] for slot in wanted}
        finally:
            self._recorded = outer

    def _places_to_record(self, slots: list[GradientSlot]) -> list[Tensor]:
        """Where the increments of a launch go: nowhere unless some of them are asked for."""
        if not any(slot in self._recorded for slot in slots):
            return []
        spare = [slot for slot in slots if slot not in self._recorded]
        places = self._recorded | {
            slot: torch.empty(slot.shape, dtype=torch.float32, device=slot.device) for slot in spare
        }
        return [places[slot] for slot in slots]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state bit for bit.

        torch casts the state of a parameter to the parameter's dtype; the tensors given are put
        back as they were. Raises ValueError if a state does not fit; then nothing has changed.
        """
        params = [p for group in self.param_groups for p in group["params"]]
        self._check_saved(state_dict, params)
        order = [number for group in state_dict["param_groups"] for number in group["params"]]
        super().load_state_dict(state_dict)
        for number, param in zip(order, params, strict=True):
            for name, value in state_dict["state"].get(number, {}).items():
                device = "cpu" if name == "step" else param.device
                self.state[param][name] = value.detach().clone().to(device)

    def _check_saved(self, saved: dict[str, Any], params: list[Tensor]) -> None:
        """Raise ValueError unless a saved state fits, number by number and tensor by tensor."""
        require(
            {"state", "param_groups"} <= set(saved),
            f"an optimiser's state has the keys state and param_groups, got {sorted(saved)}",
        )
        groups = saved["param_groups"]
        require(
            len(groups) == len(self.param_groups),
            f"a state is for as many groups as there are, {len(self.param_groups)}, "
            f"got {len(groups)}",
        )
        for group in groups:
            known = {"params", *self.defaults}
            require(
                set(group) - {"initial_lr"} == known,
                f"a group has the keys {sorted(self.defaults)}, got {sorted(map(str, group))}",
            )
            self.next_numbers(group)
        order = [number for group in groups for number in group["params"]]
        require(
            len(order) == len(params),
            f"a state is for as many parameters as there are, {len(params)}, got {len(order)}",
        )
        foreign = set(saved["state"]) - set(order)
        require(not foreign, f"a state is for the parameters {order}, got {sorted(foreign)}")
        for number, param in zip(order, params, strict=True):
            if found := saved["state"].get(number, {}):
                self._check_saved_tensors(param, found)

    def _check_saved_tensors(self, param: Tensor, found: dict[str, Any]) -> None:
        moments = ["first", "second"][: abi.MOMENTS[self.base_name]]
        names = moments if _is_slot(param) else ["step", *(moments or ["first"])]
        require(
            set(found) == set(names),
            f"the state of a parameter has {sorted(names)}, got {sorted(found)}",
        )
        for name, value in found.items():
            shape = torch.Size() if name == "step" else param.shape
            require(
                isinstance(value, Tensor) and value.shape == shape,
                f"the state {name!r} is a tensor of shape {tuple(shape)}, "
                f"got {tuple(value.shape) if isinstance(value, Tensor) else value!r}",
            )
            if name != "step":
                dtype = self.moment_type if _is_slot(param) else param.dtype
                require(value.dtype == dtype, f"the state {name!r} is {dtype}, got {value.dtype}")

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes along: torch's part, and ours."""
        ours = ("spec", "rule", "base_name", "moment_type", "spec_knobs", "moved", "nan")
        kept = {name: getattr(self, name) for name in ours}
        return {**super().__getstate__(), **kept, "_recorded": {}}


def _is_slot(param: Tensor) -> TypeIs[GradientSlot]:
    return isinstance(param, GradientSlot)


def _layer(slot: GradientSlot) -> Owner:
    layer = slot.owner()
    if layer is None:
        raise ReferenceError("the layer of a gradient slot no longer exists")
    return layer
