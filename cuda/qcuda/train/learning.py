"""What an iteration does with a batch. Nothing here needs torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, get_args

from qcuda.errors import require

Losses: TypeAlias = Literal["hinge", "cross_entropy"]
Memory: TypeAlias = Literal["plain", "least"]
Types: TypeAlias = Literal["float32", "bfloat16", "auto"]


@dataclass(frozen=True)
class Learning:
    """What an iteration does with a batch."""

    loss: Annotated[Losses, "hinge: mean square of what a margin of 1 lacks; cross_entropy"] = (
        "hinge"
    )
    smoothing: Annotated[float, "share of a label that is spread over all classes"] = 0.0
    parts: Annotated[int, "parts of a batch that go through the network one after the other"] = 1
    clip: Annotated[float, "largest norm of all gradients together; 0: any"] = 0.0
    compute: Annotated[
        Types, "type of matrix products; auto: bfloat16 where the processor has it"
    ] = "float32"
    restate: Annotated[
        int, "last training examples of an epoch, which give norms new statistics; 0: keep them"
    ] = 0
    average: Annotated[
        float,
        "share that the average of real parameters and running statistics, by which a model is "
        "judged and kept, keeps in a step; lattice weights have none; 0: no average",
    ] = 0.0
    memory: Annotated[
        Memory, "least: norms and stairs are fused, and what they make is made again going back"
    ] = "plain"
    step_in_backward: Annotated[
        bool, "move each weight as soon as its gradient exists, and free that"
    ] = False
    weights: Annotated[
        str,
        "file of float weights with which every method begins: a model of the method `full`, or "
        "with model.order torchvision one of torchvision; '': drawn ones",
    ] = ""
    teacher: Annotated[
        str, "file of the same kind, of a model whose outputs are learned too; '': none"
    ] = ""
    trust: Annotated[float, "share of the teacher's outputs in the loss"] = 0.5
    temperature: Annotated[float, "that divides both logits where outputs are compared"] = 4.0

    def __post_init__(self) -> None:
        for name, kinds in (("loss", Losses), ("compute", Types), ("memory", Memory)):
            value, words = getattr(self, name), get_args(kinds)
            require(value in words, f"{name} is one of {', '.join(words)}, got {value!r}")
        require(0 <= self.smoothing < 1, f"smoothing is in [0, 1), got {self.smoothing}")
        require(
            not self.smoothing or self.loss == "cross_entropy",
            f"smoothing is for cross_entropy, got {self.smoothing} for {self.loss}",
        )
        require(self.parts >= 1, f"parts is at least 1, got {self.parts}")
        good = math.isfinite(self.clip) and self.clip >= 0
        require(good, f"clip is finite and at least 0, got {self.clip}")
        require(0 <= self.trust <= 1, f"trust is in [0, 1], got {self.trust}")
        warm = math.isfinite(self.temperature) and self.temperature > 0
        require(warm, f"temperature is finite and positive, got {self.temperature}")
        together = not self.step_in_backward or (self.parts == 1 and not self.clip)
        require(
            together,
            "step_in_backward has one gradient at a time, so that parts is 1 and clip is 0, "
            f"got {self.parts} and {self.clip}",
        )
        require(0 <= self.average < 1, f"average is in [0, 1), got {self.average}")
        require(self.restate >= 0, f"restate is at least 0, got {self.restate}")
