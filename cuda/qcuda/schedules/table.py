"""A table of schedules, and the one loop that applies it to an optimiser.

Any function from a time to a number is a schedule: a shape stretched over a run, one of
`qtheory.schedules`, or what a search or a training has found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from qcuda.nn.slot import is_slot
from qcuda.schedules.adaptive import Adaptive, Rule, Seen
from qcuda.schedules.shapes import Shape

Schedule: TypeAlias = Callable[[float], Any]
"""Epochs done to the value of a knob in the epoch that follows."""

KEYS = {"learning_rate": "lr"}  # what torch calls a knob
OTHERS = "others_learning_rate"
"""The learning rate of groups without lattice weights, where it is not that of the others."""


@dataclass(frozen=True)
class Stretched:
    """A shape from the first epoch to the last: first * factor; the last epoch has `final`."""

    shape: Shape
    first: float
    epochs: int

    def __call__(self, epoch: float) -> float:
        """The value in epoch 0, 1, ...

        >>> from qcuda.schedules.shapes import Exponential
        >>> [Stretched(Exponential(0.25), 8.0, 3)(epoch) for epoch in range(4)]
        [8.0, 4.0, 2.0, 2.0]
        """
        progress = min(epoch / max(self.epochs - 1, 1), 1.0)
        return self.first * self.shape.factor(progress)


def begun(kind: Shape | Rule, first: float, epochs: int, *, highest: float = math.inf) -> Schedule:
    """A shape from the first epoch to the last, or a rule that has seen nothing yet.

    highest: that a rule may reach.
    """
    if isinstance(kind, Rule):
        return Adaptive(kind, first, epochs, highest=highest)
    return Stretched(kind, first, epochs)


def stretched(
    kinds: Mapping[str, Shape | Rule],
    first: Mapping[str, Any],
    epochs: int,
    highest: Mapping[str, float],
) -> dict[str, Schedule]:
    """Schedules of the knobs that have a first value; those named in `highest` have one."""
    return {
        knob: begun(kind, float(first[knob]), epochs, highest=highest.get(knob, math.inf))
        for knob, kind in kinds.items()
        if knob in first
    }


def adaptive(table: Mapping[str, Schedule]) -> dict[str, Adaptive]:
    """Those that see how training goes."""
    return {knob: one for knob, one in table.items() if isinstance(one, Adaptive)}


def see(table: Mapping[str, Schedule], epoch: int, seen: Seen) -> None:
    """Tell every schedule that asks how epoch 0, 1, ... went."""
    for schedule in adaptive(table).values():
        schedule.see(epoch, seen)


def apply(
    table: Mapping[str, Schedule], optimizer: torch.optim.Optimizer, time: float
) -> dict[str, float]:
    """Give every knob of every group its value at a time; returns the values by knob."""
    values = {knob: float(schedule(time)) for knob, schedule in table.items()}
    own = {KEYS.get(knob, knob): value for knob, value in values.items() if knob != OTHERS}
    for group in optimizer.param_groups:
        group.update({key: value for key, value in own.items() if key in group})
        if OTHERS in values and not any(map(is_slot, group["params"])):
            group["lr"] = values[OTHERS]
    return values
