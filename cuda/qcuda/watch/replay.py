"""The first steps of a run once more, by the plain reference.

From the levels before a step, the increments that the kernel says it used, and words of its own,
the reference says where each weight goes. A move that is another, and that no edge of the
algorithm explains (`qreference.edge`), is a difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from qcuda.nn.slot import is_slot
from qcuda.optimizer import LatticeOptimizer
from qcuda.watch.law_audit import levels
from qtheory.streams import Stream


@dataclass
class Replay:
    """How many steps are repeated, and what came of it."""

    left: int  # steps still to be repeated
    steps: int = 0
    weights: int = 0  # that were compared, each once a step
    different: int = 0  # of these

    def step(self, optimizer: LatticeOptimizer, step: Callable[[], None]) -> None:
        """A step of the optimiser, `step`, repeated if any is left."""
        if not self.left:
            step()
            return
        from qcuda.validate.same_words import unexplained
        from qreference import philox

        self.left, self.steps = self.left - 1, self.steps + 1
        places = {id(slot): place for place, slot in enumerate(optimizer.slots)}
        before = []
        for group in optimizer.param_groups:
            spec = optimizer.next_numbers(group).spec
            for slot in filter(is_slot, group["params"]):
                layer = slot.owner()
                assert layer is not None
                found = levels(layer, 0, slot.numel())
                before.append((group, spec, slot, layer, found))
        with optimizer.recorded([slot for _, _, slot, _, _ in before]) as increments:
            step()
        for group, spec, slot, layer, index in before:
            used = increments[slot].reshape(-1).cpu().numpy()
            iteration, tensor = int(group["iteration"]), places[id(slot)]
            words = philox.words(group["seed"], iteration, tensor, Stream.MOVE, slot.numel())
            after = levels(layer, 0, slot.numel())
            wrong, _, _ = unexplained(spec, index.astype(np.int64), used, words, after)
            self.weights += slot.numel()
            self.different += wrong

    def to_dict(self) -> dict[str, int]:
        """Plain numbers."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.different} of {self.weights} weights in {self.steps} steps went elsewhere"
