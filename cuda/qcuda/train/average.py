"""The average of what is real in a model: its parameters, and the running statistics of its norms.

A weight on a lattice has no average that is a level, so that such weights are those of the moment,
and a model with averages is still discrete. It is judged and kept; training goes on without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from qcuda.nn.slot import GradientSlot

STATISTICS = ("running_mean", "running_var")


def real_values(model: nn.Module) -> dict[str, Tensor]:
    """By name what is averaged, in place of the model."""
    parameters = {
        name: parameter.detach()
        for name, parameter in model.named_parameters()
        if not isinstance(parameter, GradientSlot)
    }
    statistics = {
        name: buffer
        for name, buffer in model.named_buffers()
        if name.rpartition(".")[2] in STATISTICS
    }
    return parameters | statistics


@dataclass
class Average:
    """The exponential mean of a model's real values after each step.

    keeps: the share of itself that it keeps in a step. It is the plain mean of the first steps,
    which keep less.
    """

    keeps: float
    steps: int = 0
    values: dict[str, Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def follow(self, model: nn.Module) -> None:
        """Take the values after a step: a <- a + (1 - share) (value - a), in float32."""
        now = real_values(model)
        self.steps += 1
        if self.steps == 1:
            self.values = {name: value.clone() for name, value in now.items()}
            return
        share = min(self.keeps, 1 - 1 / self.steps)
        for name, value in now.items():
            self.values[name].lerp_(value, 1 - share)

    @contextmanager
    def put_into(self, model: nn.Module) -> Iterator[None]:
        """Within the context the model has the averages; afterwards what it had before."""
        now = real_values(model)
        before = {name: value.clone() for name, value in now.items()}
        _copy(self.values, now)
        try:
            yield
        finally:
            _copy(before, now)

    def begin_at(self, model: nn.Module) -> None:
        """Forget the steps before the values that a model has now."""
        self.steps = 0
        self.follow(model)


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for name, value in source.items():
        target[name].copy_(value)
