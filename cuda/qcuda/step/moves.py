"""The moves of lattice weights: all slots of one kind in one launch of the fused kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from qcuda.errors import InputError, require
from qcuda.kernels import abi, scalars
from qcuda.kernels.ops import REALS
from qcuda.kernels.words import as_signed
from qcuda.nn.slot import GradientSlot, Owner
from qcuda.step.clock import Clock
from qcuda.step.groups import MOMENTS, StepNumbers
from qtheory.algorithms import Spec

KEPT = (*MOMENTS, "square")


class Kind(NamedTuple):
    """What the slots of a launch have in common."""

    device: torch.device
    storage: abi.Storage
    gradient_type: torch.dtype


@dataclass
class Launch:
    """Slots that one launch moves, what it reads and what it writes."""

    places: list[int] = field(default_factory=list)  # the slots' tensor numbers
    slots: list[GradientSlot] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)
    gradients: list[Tensor] = field(default_factory=list)
    # By name what is kept for each slot: moments, and mean squares of normalised gradients.
    kept: dict[str, list[Tensor]] = field(default_factory=lambda: {name: [] for name in KEPT})


def owner_of(slot: GradientSlot) -> Owner:
    """The layer whose gradient arrives in a slot. Raises ReferenceError if there is none."""
    owner = getattr(slot, "owner", None)
    layer = None if owner is None else owner()
    if layer is None:
        raise ReferenceError(
            "the layer of a gradient slot exists as long as its optimiser is used, and is copied "
            "and pickled in one object with it, got a slot without a layer"
        )
    return layer


def check_layer(layer: Owner, spec: Spec) -> None:
    """Raise InputError unless a layer is on the spec's lattice and is read as the spec says."""
    lattice = layer.lattice
    if lattice is not spec.lattice:
        require(
            lattice == spec.lattice,
            f"a layer has the spec's lattice, {spec.lattice}, got {lattice}",
        )
    seen, readout = layer.readout, getattr(spec, "readout", None)
    if seen is not readout:
        require(seen == readout, f"a layer has the spec's readout, {readout}, got {seen}")


def kernel_gradient(shape: torch.Size, gradient: Tensor) -> Tensor:
    """The gradient of a slot of a shape as kernels read it: contiguous, float32 or bfloat16.

    Raises InputError.
    """
    plain = gradient.dtype in REALS
    if not plain and (not gradient.is_floating_point() or gradient.element_size() < 2):
        raise InputError(
            "a gradient of a lattice weight is float32 or bfloat16, or float16 or float64, which "
            f"are read as float32, got {gradient.dtype}"
        )
    if gradient.shape != shape:
        raise InputError(
            f"a gradient has its weight's shape, {tuple(shape)}, got {tuple(gradient.shape)}"
        )
    number = gradient if plain else gradient.float()
    return number.contiguous()


def runs(places: list[int]) -> Iterator[tuple[int, int, int]]:
    """Runs of consecutive places: where in the list, the first place, how many.

    >>> list(runs([4, 5, 6, 9]))
    [(0, 4, 3), (3, 9, 1)]
    """
    start = 0
    for k in range(1, len(places) + 1):
        if k == len(places) or places[k] != places[k - 1] + 1:
            yield start, places[start], k - start
            start = k


def move(
    launch: Launch,
    kind: Kind,
    numbers: StepNumbers,
    iteration: Tensor,
    clock: Clock,
    counters: Tensor,
    increments: list[Tensor],
) -> None:
    """Move every weight of a launch. counters: int64, a row for each of its slots, added to."""
    device = kind.device
    now = clock.scalars.to(device)
    squares = launch.kept["square"]
    torch.ops.qtheory.step_(
        launch.states,
        launch.gradients,
        launch.kept["first"],
        launch.kept["second"],
        increments,
        scalars.gains(launch.gradients, squares, now) if squares else [],
        counters,
        now,
        iteration.reshape(1).to(device),
        launch.places,
        [0] * len(launch.places),
        as_signed(numbers.seed),
        numbers.rule,
        numbers.kernel,
        int(kind.storage),
        *numbers.levels,
    )
