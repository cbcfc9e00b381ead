"""A step in parts: each parameter moves in the backward pass, as soon as its gradient exists.

So no gradient stands beside another: of a model's gradients only the largest counts.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch import Tensor

from qcuda.errors import InputError, require
from qcuda.nn.slot import is_slot

if TYPE_CHECKING:
    from qcuda.optimizer import LatticeOptimizer


class StepInBackward:
    """Within this context `loss.backward()` moves what it has a gradient for, and frees that.

    A training loop stays as it is, but for its gradients, which are gone when `backward` returns:
    there is one backward pass a step, and no clipping, scaling or averaging over ranks.
    `optimizer.step()` ends the iteration. Increments, words and results are those of a step after
    the backward pass, bit for bit, where a gradient does not depend on a weight that has moved.

    A step is no longer all or nothing: an error leaves some parameters moved.

    Raises InputError if the optimiser acts on gradients that are not finite (nonfinite="raise" or
    "skip"), which asks for all of them at once; if processes share the training, whose gradients
    are averaged later; if it is so already; or, in a backward pass, for a second gradient of a
    parameter before `step`, and where a GradScaler has left its notes.

    >>> import qcuda, torch
    >>> from qtheory import Lattice, StochasticRounding
    >>> layer = qcuda.nn.Linear(3, 2, Lattice.ternary())
    >>> optimizer = qcuda.LatticeOptimizer(layer.parameters(), StochasticRounding(layer.lattice))
    >>> with qcuda.StepInBackward(optimizer):
    ...     layer(torch.ones(1, 3)).sum().backward()
    ...     optimizer.step()
    >>> layer.slot.grad is None
    True
    """

    def __init__(self, optimizer: LatticeOptimizer) -> None:
        require(
            optimizer.nonfinite == "count",
            "gradients that are consumed one by one are not looked at together: nonfinite='count', "
            f"got {optimizer.nonfinite!r}",
        )
        together = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        require(
            not together,
            "gradients of several processes are averaged after the backward pass: train in one",
        )
        self.optimizer = optimizer
        self._hooks: list[Any] = []
        self._moved: set[int] = set()  # by id

    def __enter__(self) -> StepInBackward:
        require(self.optimizer.parts is None, "an optimiser steps in the backward pass once")
        self.optimizer.parts = self
        place = 0
        for number, group in enumerate(self.optimizer.param_groups):
            for k, param in enumerate(group["params"]):
                hook = self._hook(number, k, place)
                self._hooks.append(param.register_post_accumulate_grad_hook(hook))
                place += is_slot(param)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._moved.clear()
        self.optimizer.parts = None

    @property
    def begun(self) -> bool:
        """Whether parameters have moved since the last step."""
        return bool(self._moved)

    def end(self) -> None:
        """The iteration is over: gradients are expected anew."""
        self._moved.clear()

    def _hook(self, group: int, number: int, place: int) -> Any:
        def consume(param: Tensor) -> None:
            if id(param) in self._moved:
                raise InputError(
                    "a gradient is consumed as soon as it exists: one backward pass for each "
                    "optimizer.step(), got a second"
                )
            self.optimizer.move_part(group, number, place, first=not self._moved)
            self._moved.add(id(param))
            param.grad = None

        return consume
