"""The shapes of schedules by name: from the share of a run that is done to a factor.

A knob begins at its first value, times 1, and ends at its first value times `final`. Factors are
computed with the standard library's float64 arithmetic, one number at a time. Nothing here needs
torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Protocol

from qcuda.errors import require


class Shape(Protocol):
    """A curve that a schedule follows."""

    def factor(self, progress: float) -> float:
        """The factor of the first value; progress: 0 at the beginning .. 1 at the end."""
        ...


@dataclass(frozen=True)
class Constant:
    """The first value for ever."""

    def factor(self, progress: float) -> float:
        """1.

        >>> Constant().factor(0.5)
        1.0
        """
        return 1.0


@dataclass(frozen=True)
class Cosine:
    """final + (1 - final) (1 + cos(pi u)) / 2, u the progress."""

    final: Annotated[float, "last value, as a fraction of the first"] = 0.01

    def __post_init__(self) -> None:
        _check_final(self.final)

    def factor(self, progress: float) -> float:
        """Half-way it is the mean of both ends.

        >>> Cosine(0.5).factor(0.5)
        0.75
        """
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class Exponential:
    """final**u, u the progress: equal ratios in equal times."""

    final: Annotated[float, "last value, as a fraction of the first"] = 0.01

    def __post_init__(self) -> None:
        _check_final(self.final)

    def factor(self, progress: float) -> float:
        """Half-way it is the geometric mean of both ends.

        >>> Exponential(0.25).factor(0.5)
        0.5
        """
        return self.final**progress


@dataclass(frozen=True)
class Linear:
    """1 - (1 - final) u, u the progress: equal steps in equal times."""

    final: Annotated[float, "last value, as a fraction of the first"] = 0.01

    def __post_init__(self) -> None:
        _check_final(self.final)

    def factor(self, progress: float) -> float:
        """Half-way it is the mean of both ends.

        >>> Linear(0.5).factor(0.5)
        0.75
        """
        return 1 - (1 - self.final) * progress


@dataclass(frozen=True)
class Logarithmic:
    """ln 2 / ln(k + 2), k = u slowest, u the progress: Hajek's c / ln(k + 2), c = first ln 2."""

    slowest: Annotated[float, "k at the end, where the value is first ln 2 / ln(k + 2)"] = 1000.0

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.slowest) and self.slowest > 0,
            f"slowest is finite and positive, got {self.slowest}",
        )

    def factor(self, progress: float) -> float:
        """A half at k = 2, a third at k = 6.

        >>> Logarithmic(2.0).factor(0.0), Logarithmic(2.0).factor(1.0)
        (1.0, 0.5)
        """
        return math.log(2) / math.log(progress * self.slowest + 2)


def _check_final(final: float) -> None:
    require(math.isfinite(final) and final > 0, f"final is finite and positive, got {final}")


SHAPES: dict[str, type[Shape]] = {
    "constant": Constant, "cosine": Cosine, "exponential": Exponential, "linear": Linear,
    "logarithmic": Logarithmic,
}  # fmt: skip
