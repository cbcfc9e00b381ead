"""Schedules that see how training goes: the next value of a knob follows from its last.

    spread    T max(exp(-rate T / s), least)             s: standard deviation of the losses
    moved     T (m* / m)**gain, by a factor of 2 at most    m: share of the weights that moved

Both are asked after each epoch. s is that of the losses of its iterations: fluctuations, the noise
of minibatches, and how far the loss fell. m is a mean over its iterations, m* falls from `share`
to `share` times `final` over the run. All that such a schedule remembers is its value, so a
checkpoint with it goes on with the same bits. Nothing here needs torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple, TypeAlias

from qcuda.errors import InputError, require
from qcuda.schedules.shapes import SHAPES, Shape
from qtheory.schedules import cooled


class Seen(NamedTuple):
    """An epoch as it went.

    spread: standard deviation of the losses of its iterations. moved: share of the lattice weights
    that changed level in an iteration, on average; None where there are none.
    """

    spread: float
    moved: float | None


@dataclass(frozen=True)
class Spread:
    """The rule of [huang1986] with losses for energies: each epoch cools by `rate` of a spread.

    A knob and a loss have units of their own, and `rate` is in loss over the knob's unit.
    """

    rate: Annotated[float, "lambda of T exp(-lambda T / s), in units of the loss over the knob"] = (
        0.1
    )
    least: Annotated[float, "least ratio of a value to the last, in (0, 1]"] = 0.5

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.rate) and self.rate > 0,
            f"rate is finite and positive, got {self.rate}",
        )
        require(0 < self.least <= 1, f"least is in (0, 1], got {self.least}")

    def next(self, value: float, seen: Seen, progress: float) -> float:
        """The value of the epoch to come. Losses that are all the same cool by `least`.

        >>> Spread(0.5, 0.25).next(2.0, Seen(0.0, 0.1), 0.5)
        0.5
        """
        return cooled(value, seen.spread, self.rate, self.least)


@dataclass(frozen=True)
class Moved:
    """The value is raised while fewer weights move than wanted, and lowered while more do."""

    share: Annotated[float, "share of the weights that are to move in an iteration, at first"] = (
        0.01
    )
    final: Annotated[float, "the same at the end, as a fraction of the first"] = 0.01
    gain: Annotated[float, "power of wanted over seen by which the value changes, in (0, 1]"] = 0.5

    def __post_init__(self) -> None:
        require(0 < self.share <= 1, f"share is in (0, 1], got {self.share}")
        require(
            math.isfinite(self.final) and self.final > 0,
            f"final is finite and positive, got {self.final}",
        )
        require(0 < self.gain <= 1, f"gain is in (0, 1], got {self.gain}")

    def next(self, value: float, seen: Seen, progress: float) -> float:
        """The value of the epoch to come; progress: 0 .. 1, which is that of the last epoch.

        >>> Moved(0.1, 1.0, 0.5).next(3.0, Seen(0.0, 0.16), 0.5)
        2.3717082451262845
        >>> Moved(0.1).next(3.0, Seen(0.0, 0.0), 0.5)
        6.0
        """
        if seen.moved is None:
            raise InputError("moved is for an optimiser with weights on a lattice, got none")
        wanted = self.share * self.final**progress
        ratio = (wanted / seen.moved) ** self.gain if seen.moved else math.inf
        return value * min(max(ratio, 0.5), 2.0)


Rule: TypeAlias = Spread | Moved
SCHEDULES: dict[str, type[Shape | Rule]] = {**SHAPES, "spread": Spread, "moved": Moved}
"""What a config may name: shapes, and rules that see how training goes."""


class Adaptive:
    """A schedule with a state, its value. `see` is told of each epoch of a run of so many.

    highest: of the value, such as 1 for a probability.

    >>> schedule = Adaptive(Moved(0.1), 3.0, epochs=10)
    >>> schedule.see(0, Seen(0.2, 0.0))
    >>> schedule(1), schedule.state_dict()
    (6.0, {'value': 6.0})
    """

    def __init__(self, rule: Rule, first: float, epochs: int, *, highest: float = math.inf) -> None:
        self.rule, self.value, self.epochs, self.highest = rule, first, epochs, highest

    def __call__(self, epoch: float) -> float:
        """The value in the epoch that follows what was seen last."""
        return self.value

    def see(self, epoch: int, seen: Seen) -> None:
        """Epoch 0, 1, ... went so."""
        progress = min((epoch + 1) / max(self.epochs - 1, 1), 1.0)
        self.value = min(self.rule.next(self.value, seen, progress), self.highest)

    def state_dict(self) -> dict[str, float]:
        """The value."""
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on with the value of a `state_dict`. Raises InputError if it has another form."""
        require(
            set(state) == {"value"} and math.isfinite(state["value"]),
            f"the state of an adaptive schedule is a finite value, got {state}",
        )
        self.value = float(state["value"])
