"""Metropolis on the loss itself: a random block of weights goes to neighbouring levels, or none.

A walker proposes: it moves the weights without a force, so that a share of them goes to other
levels. The block is accepted with probability

    min(1, exp(-(L' - L) / T - v / (2 T**2))),

L and L' the losses before and after, v the variance of L' - L if it is an estimate: with normal
noise the mean odds are then those of the exact losses [ceperley1999]. Proposals are as likely as
their way back, so the law of Gibbs exp(-L / T) is kept in detailed balance, for any loss and any
share. (Weights that are accepted one by one keep it only if they move alone.)

Proposals come from the walker's kernel and its words. The block's own word is that of element 0 of
the tensor after the last slot, stream MOVE.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qcuda.errors import require
from qcuda.kernels import native
from qcuda.kernels.words import words
from qcuda.nn.slot import GradientSlot, is_slot
from qcuda.optimizer import LatticeOptimizer
from qcuda.step.moves import owner_of
from qtheory.algorithms import Spec
from qtheory.optimisers import SGD
from qtheory.streams import Stream


class BlockMetropolis:
    """Moves blocks of lattice weights by the loss, without a gradient.

    params: parameters of a model; its lattice weights move, all on one lattice, others are let be.
    proposal: a walker that without a force goes to another level and back with equal chances, such
    as Metropolis(lattice, proposal=0.01), by which a hundredth of the weights proposes a neighbour.
    temperature: T > 0, in units of the loss. variance: v >= 0, in squared units of the loss. Both
    may be changed between steps, and so may the walker's knobs, in the groups of `mover`.
    seed: of the words. accepted, asked: how many blocks were, since it was made.

    Raises ValueError if there is no lattice weight, its lattice is not the walker's, the walker
    does not move so, or a number breaks its rule.
    """

    def __init__(
        self,
        params: Iterable[Any],
        proposal: Spec,
        temperature: float,
        *,
        variance: float = 0.0,
        seed: int = 0,
    ) -> None:
        slots = [param for param in params if is_slot(param)]
        require(bool(slots), "a block has lattice weights, got none")
        self.temperature, self.variance = temperature, variance
        self._check()
        _check_proposal(proposal)
        self.mover = LatticeOptimizer(slots, proposal, base=SGD(1.0), seed=seed)
        self.accepted = self.asked = 0

    @property
    def slots(self) -> list[GradientSlot]:
        """The slots of the weights that move; a slot's place is its tensor number."""
        return self.mover.slots

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor | float]) -> float:
        """Propose once; returns the loss of what was kept.

        closure: the loss of the model as it is, called before and after the proposal without
        gradients. It has to be a function of the weights: the same examples, and nothing drawn or
        updated in between, such as running statistics. A proposal whose loss is not a number is
        refused. Raises ValueError if the loss before is none, or temperature or variance break
        their rule; then nothing has changed.
        """
        self._check()
        before = float(closure())
        require(math.isfinite(before), f"a loss is finite before a proposal, got {before}")
        owners = [owner_of(slot) for slot in self.slots]
        kept = [owner.state.clone() for owner in owners]
        for slot in self.slots:
            slot.grad = torch.zeros(slot.shape, device=slot.device)
        self.mover.step()
        for slot in self.slots:
            slot.grad = None
        after = float(closure())
        self.asked += 1
        if self._word() < self._threshold(after - before):
            self.accepted += 1
            return after
        for owner, state in zip(owners, kept, strict=True):
            owner.state.copy_(state)
        return before

    def state_dict(self) -> dict[str, Any]:
        """What a step needs to go on with the same words, and the numbers of blocks."""
        own = {name: getattr(self, name) for name in OWN}
        return {"mover": self.mover.state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a `state_dict` was. Raises ValueError if it does not fit."""
        require(
            set(state) == {"mover", *OWN}, f"a state has mover, {', '.join(OWN)}, got {set(state)}"
        )
        self.mover.load_state_dict(state["mover"])
        for name in OWN:
            setattr(self, name, state[name])

    def _threshold(self, rise: float) -> int:
        """Words below it accept: floor(p 2**32) in float64."""
        if math.isnan(rise):
            return 0
        cost = rise / self.temperature + self.variance / (2 * self.temperature**2)
        return math.floor(math.exp(-max(cost, 0.0)) * 2**32)

    def _word(self) -> int:
        """Of the iteration whose proposals were made last."""
        group = self.mover.param_groups[0]
        drawn = words(
            group["seed"], int(group["iteration"]), len(self.slots), 1, stream=Stream.MOVE
        )
        return int(drawn)

    def _check(self) -> None:
        good = math.isfinite(self.temperature) and self.temperature > 0
        require(good, f"a temperature is finite and positive, got {self.temperature}")
        good = math.isfinite(self.variance) and self.variance >= 0
        require(good, f"a variance is finite and at least 0, got {self.variance}")


def _check_proposal(spec: Spec) -> None:
    """Of 2**32 words, as many lead from a level to another as back, and there are some."""
    size, lattice = spec.lattice.size, spec.lattice
    codes = (np.arange(size) - lattice.centre).astype(np.int8)
    launch, still = native.launch_of(spec, seed=0), np.zeros(size, np.float32)
    thresholds, places = native.outcomes(native.library(), launch, codes, still)
    ends = np.pad(thresholds.astype(np.int64), ((0, 0), (1, 1)))
    ends[:, -1] = 2**32
    flow = np.zeros((size, size), np.int64)
    np.add.at(flow, (np.arange(size)[:, None], places), np.diff(ends, axis=1))
    require(
        bool((flow == flow.T).all() and flow.trace() < size * 2**32),
        f"a walker that proposes goes to another level and back alike without a force, got {spec}",
    )


OWN = ("temperature", "variance", "accepted", "asked")
