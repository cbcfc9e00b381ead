"""One optimiser for lattice weights and for all other parameters."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from qcuda.errors import require
from qcuda.kernels import scalars
from qcuda.nn.slot import GradientSlot, is_slot
from qcuda.step import finite, groups, moves, reals, saved
from qcuda.step.backward import StepInBackward
from qcuda.step.clock import Clock, iteration_of
from qcuda.step.groups import StepNumbers, on_host
from qcuda.step.moves import Kind, Launch, owner_of
from qcuda.step.plan import Plan, planned
from qtheory.algorithms import Spec
from qtheory.optimisers import Normalized, Optimiser
from qtheory.streams import MAX_SEED

MOMENT_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
_SEEDS = itertools.count()


class LatticeOptimizer(torch.optim.Optimizer):
    """Moves lattice weights by `spec` and trains all other parameters by `base`, in one object.

    params: parameters, named parameters or groups, as for any torch optimiser. Gradient slots of
    lattice layers are moved on their lattices; everything else is an ordinary parameter of the base
    optimiser.
    spec: the algorithm, e.g. DST(Lattice.ternary()); its lattice is that of the layers.
    base: SGD, Momentum, Adam or Normalized of qtheory.optimisers, or the name of one. Normalized
    is for lattice weights: it keeps one number a layer or neuron, and nothing for a weight.
    others: the base of other parameters, if it is not the same: SGD, Momentum or Adam. Where base
    is Normalized it is Adam() unless given, and a group with parameters of both kinds becomes two.
    lr: the learning rate, instead of the base's own; a tensor stays where it is.
    weight_decay: decoupled, as of torch.optim.AdamW, for groups without lattice weights.
    seed: key of the random words, 0 .. 2**64 - 1. By default the k-th optimiser that a process
    makes without a seed has k = 0, 1, ..., so that no two of them use the same words.
    moments: how the moments of lattice weights are kept, "float32", or rounded stochastically:
    "bfloat16", or with the momentum of Normalized "int8".
    nonfinite: what a gradient with an infinity or a NaN does. "count": its lattice weights and
    their moments stay, `nan` counts them, and a warning is given once; other parameters become what
    the base optimiser makes of them. "skip": the whole step changes nothing and is counted by
    `skipped`. "raise": InputError, before anything has changed.
    fused: torch's fused kernels for other parameters, by default and with True wherever they are
    right: on GPUs, and on the CPU for float32 and float64. The rest, and with False all, is trained
    by torch's foreach functions, whose last bits are others.
    capturable: as torch's optimisers have it. Steps on a GPU can always be captured; with True, a
    step with a parameter on the CPU is refused.

    Groups carry `lr`, the base optimiser's other numbers, `weight_decay`, `seed`, `spec` and its
    numbers (for DST `nonlinearity`), and `iteration`, an int64 tensor once it has stepped. All may
    differ between groups and be scheduled. Slots are numbered 0, 1, ... in the order given: the
    tensor number of the random counter.

    A step changes everything or nothing: gradients, numbers, layers and kernels are checked first.
    On a GPU it reads its numbers from device memory and can be captured into a CUDA graph, which
    then counts its own iterations; `send_numbers` tells the device what has changed since.

    Raises ValueError if a layer's lattice is not the spec's, or a number breaks its rule; then no
    state has changed.
    """

    def __init__(
        self,
        params: Iterable[Any],
        spec: Spec,
        *,
        base: Optimiser | str | None = None,
        others: Optimiser | str | None = None,
        lr: float | Tensor | None = None,
        weight_decay: float = 0.0,
        seed: int | None = None,
        moments: str = "float32",
        nonfinite: str = "count",
        fused: bool | None = None,
        capturable: bool | None = None,
    ) -> None:
        groups.check_spec(spec)
        rate = None if lr is None else groups.real("a learning rate", lr)
        base = groups.base_from(base, rate)
        require(
            moments in MOMENT_TYPES,
            f"moments are one of {sorted(MOMENT_TYPES)}, got {moments!r}",
        )
        require(
            nonfinite in finite.MODES,
            f"nonfinite is one of {', '.join(finite.MODES)}, got {nonfinite!r}",
        )
        require(
            moments != "int8" or isinstance(base, Normalized),
            "moments in int8 are those of normalised gradients, whose size is known: "
            f"base=Normalized(..., momentum=...), got {base}",
        )
        self._numbers = groups.by_default(base, groups.others_from(others, base), lr)
        self.moment_type = MOMENT_TYPES[moments]
        self.nonfinite, self.fused, self.capturable = nonfinite, fused, capturable
        self._recorded: dict[GradientSlot, Tensor] = {}
        self.parts: StepInBackward | None = None
        self._clocks: list[Clock | None] = []
        self._counters = torch.zeros(0, 2, dtype=torch.int64)
        self._skipped = torch.zeros((), dtype=torch.int64)
        self._warned = False
        key = groups.whole("a seed", seed, MAX_SEED) if seed is not None else next(_SEEDS)
        shared = {"weight_decay": weight_decay, "spec": spec, "iteration": 0, "seed": key}
        super().__init__(params, {**self._numbers["lattice"], **shared})

    @property
    def spec(self) -> Spec:
        """The algorithm of groups that name no other, with the numbers that it was given."""
        return self.defaults["spec"]

    @property
    def slots(self) -> list[GradientSlot]:
        """The slots of all groups, in order; a slot's place is its tensor number."""
        return [p for group in self.param_groups for p in group["params"] if is_slot(p)]

    @property
    def moved(self) -> Tensor:
        """By slot, how many weights have changed level since the optimiser was made, int64."""
        return self._counters[:, 0]

    @property
    def nan(self) -> Tensor:
        """By slot, how many increments were not numbers since the optimiser was made, int64."""
        return self._counters[:, 1]

    @property
    def skipped(self) -> int:
        """How many steps changed nothing because a gradient was not finite. Waits for the GPU."""
        return int(self._skipped)

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """Whether torch's GradScaler leaves scaling and infinities to the step: on a GPU."""
        return any(not on_host(slot.device) for slot in self.slots)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's; raises ValueError for an unknown key or a layer with another lattice."""
        one = self._numbers["lattice"]["base"] == self._numbers["other"]["base"]
        split = not one and "base" not in param_group
        for part in groups.by_kind(param_group) if split else [param_group]:
            self._add_group(part)

    def _add_group(self, param_group: dict[str, Any]) -> None:
        spec = param_group.get("spec", self.defaults["spec"])
        groups.check_spec(spec)
        knobs = groups.spec_numbers(spec)
        base = groups.numbers_for(param_group, self._numbers)
        shared = {*self.defaults} - {*self._numbers["lattice"]}
        known = {*shared, *knobs, *base}
        unknown = set(param_group) - {"params", "initial_lr", "param_names", *known}
        options = unknown & {"others", "moments", "nonfinite", "fused", "capturable"}
        require(
            not options,
            "an optimiser's options are not a group's (ZeroRedundancyOptimizer makes them so, and "
            "shares parameters, not states of lattices: train every rank's whole model in "
            f"qcuda.data_parallel), got {sorted(options)}",
        )
        require(not unknown, f"a group has the keys {sorted(known)}, got {sorted(unknown)}")
        super().add_param_group({**knobs, **base, **param_group, "base": base["base"]})
        group = self.param_groups[-1]
        for key in {*self.defaults} - known:  # torch gives each group every default
            del group[key]
        try:
            self.next_numbers(group)
            iteration_of(group, torch.device("cpu"))
            for param in group["params"]:
                require(not param.is_complex(), f"a parameter is real, got {param.dtype}")
                if is_slot(param):
                    moves.check_layer(owner_of(param), group["spec"])
        except (ValueError, ReferenceError):
            self.param_groups.pop()
            raise
        added = sum(is_slot(p) for p in group["params"])
        self._counters = torch.cat([self._counters, self._counters.new_zeros(added, 2)])

    def next_numbers(self, group: dict[str, Any]) -> StepNumbers:
        """A group's numbers as its next step will use them, checked. Raises ValueError."""
        return groups.numbers_of(group, sum(map(is_slot, group["params"])))

    def send_numbers(self) -> None:
        """Tell the devices the groups' numbers as they are now. A step does so itself; between
        replays of a CUDA graph that captured one, this does, but for the betas, epsilon, momentum
        and weight decay of ordinary parameters, which a graph keeps as they were captured."""
        for place, group in enumerate(self.param_groups):
            self._clock(place, group).send(self.next_numbers(group), group["lr"])

    def _clock(self, place: int, group: dict[str, Any]) -> Clock:
        self._clocks += [None] * (len(self.param_groups) - len(self._clocks))
        device = next((p.device for p in group["params"] if is_slot(p)), None)
        device = device or next((p.device for p in group["params"]), torch.device("cpu"))
        clock = self._clocks[place]
        if clock is None or clock.device != device:
            clock = self._clocks[place] = Clock(device)
        return clock

    @torch._disable_dynamo  # pyright: ignore[reportPrivateImportUsage]
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One iteration over every parameter that has a gradient; all of it, or an error and none.

        closure: as torch's; called with gradients enabled. Returns its value.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch._C.DisableTorchFunctionSubclass():  # a slot's attributes, without asking Python
            plans = self._plans()
        notes = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        require(
            self.parts is None or notes == (None, None),
            "gradients that are consumed one by one have no scale: train without a GradScaler",
        )
        found_inf = finite.found_inf(plans, self.nonfinite, *notes)
        if found_inf is not None and on_host(found_inf.device):
            if bool(found_inf):
                self._skipped += 1
                return loss
            found_inf = None
        if self.parts is None or not self.parts.begun:
            for plan in plans:
                self._begin(plan, found_inf)
        for plan in plans:
            self._carry_out(plan, found_inf)
        if self.parts is not None:
            self.parts.end()
        self._end(found_inf)
        return loss

    def move_part(self, group: int, number: int, place: int, *, first: bool) -> None:
        """Move one parameter of a group by its gradient; for `StepInBackward`.

        place: its number among slots, if it is one. first: whether an iteration begins with it.
        """
        with torch.no_grad(), torch._C.DisableTorchFunctionSubclass():
            if first:
                for plan in self._plans():
                    self._begin(plan, None)
            plan = self._plan(group, itertools.count(place), only=number)
            self._carry_out(plan, None)

    def _plan(self, number: int, places: Iterator[int], only: int | None = None) -> Plan:
        group = self.param_groups[number]
        clock = self._clock(number, group)
        numbers = clock.remembered.numbers_of(group)
        fused = self.fused is not False
        plan = planned(group, numbers, clock, places, self.state, self.moment_type, fused, only)
        if self.capturable:
            plan.check_capturable()
        return plan

    def _plans(self) -> list[Plan]:
        places = itertools.count()
        plans = [self._plan(number, places) for number in range(len(self.param_groups))]
        for plan in plans:
            plan.clock.send(plan.numbers, plan.group["lr"])
        return plans

    def _begin(self, plan: Plan, found_inf: Tensor | None) -> None:
        plan.group["iteration"] = plan.iteration
        scalars.begin(
            plan.iteration, plan.clock.scalars, plan.clock.numbers, plan.group["base"], found_inf
        )

    def _carry_out(self, plan: Plan, found_inf: Tensor | None) -> None:
        for param, state in plan.fresh.items():
            if state:
                self.state[param] = state
        for kind, launch in plan.launches.items():
            self._move(plan, kind, launch, found_inf)
        rate = plan.clock.numbers[0]
        for (_, fused), batch in plan.reals.items():
            reals.train(batch, plan.numbers, fused=fused, learning_rate=rate, found_inf=found_inf)

    def _move(self, plan: Plan, kind: Kind, launch: Launch, found_inf: Tensor | None) -> None:
        device = kind.device
        if self._counters.device != device and not on_host(device):
            fresh = on_host(self._counters.device) and not self._counters.any()
            empty = torch.zeros(self._counters.shape, dtype=torch.int64, device=device)
            self._counters = empty if fresh else self._counters.to(device)
        rows = len(launch.places)
        runs = list(moves.runs(launch.places))
        straight = len(runs) == 1 and found_inf is None and self._counters.device == device
        if straight:
            counters = self._counters.narrow(0, launch.places[0], rows)
        else:
            counters = torch.zeros(rows, 2, dtype=torch.int64, device=device)
        moves.move(
            launch, kind, plan.numbers, plan.iteration, plan.clock, counters,
            self._places_to_record(launch.slots),
        )  # fmt: skip
        if straight:
            return
        if found_inf is not None:
            counters *= (found_inf == 0).to(device)
        for row, place, length in runs:
            added = counters[row : row + length].to(self._counters.device)
            self._counters[place : place + length] += added

    def _end(self, found_inf: Tensor | None) -> None:
        if found_inf is not None:
            self._skipped = self._skipped.to(found_inf.device) + (found_inf != 0).reshape(())
        if on_host(self._counters.device):
            self._warn()

    def _warn(self) -> None:
        if not self._warned and (count := int(self._counters[:, 1].sum())):
            self._warned = True
            finite.warn(count)

    @contextmanager
    def recorded(self, slots: Iterable[GradientSlot]) -> Iterator[dict[GradientSlot, Tensor]]:
        """Within the context, a step tells the increments that it used.

        They are the kernel's own numbers, float32 in weight units, one tensor of the slot's shape
        for each slot that the step moved, NaN where a gradient changed nothing; the next step
        overwrites them. Contexts may be nested.
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
        if not self._recorded or not any(slot in self._recorded for slot in slots):
            return []
        spare = [slot for slot in slots if slot not in self._recorded]
        places = self._recorded | {
            slot: torch.empty(slot.shape, dtype=torch.float32, device=slot.device) for slot in spare
        }
        return [places[slot] for slot in slots]

    def state_dict(self) -> dict[str, Any]:
        """As torch's: plain numbers in groups, tensors in states, counts of slots among them."""
        self._warn()
        return saved.pack(super().state_dict(), self.param_groups, self._counters)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state bit for bit.

        torch casts the state of a parameter to the parameter's dtype; the tensors given are put
        back as they were. Raises ValueError if a state does not fit, or is of parameters with other
        names or in another order; then nothing has changed.
        """
        saved.check(state_dict, self.param_groups, self.moment_type)
        unpacked, counts = saved.unpack(state_dict, self.param_groups)
        params = [p for group in self.param_groups for p in group["params"]]
        order = [number for group in unpacked["param_groups"] for number in group["params"]]
        super().load_state_dict(unpacked)
        for number, param in zip(order, params, strict=True):
            for name, value in unpacked["state"].get(number, {}).items():
                host = name == "step" and on_host(param.device)
                self.state[param][name] = value.detach().clone().to("cpu" if host else param.device)
        if counts:
            self._counters = torch.stack(counts).to(self._counters.device)
        self._warned = bool((self._counters[:, 1] != 0).any())

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes along: torch's part, and ours."""
        ours = (
            "_numbers",
            "moment_type",
            "nonfinite",
            "fused",
            "capturable",
            "_counters",
            "_skipped",
            "_warned",
        )
        kept = {name: getattr(self, name) for name in ours}
        return {**super().__getstate__(), **kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._clocks, self._recorded, self.parts = [], {}, None
