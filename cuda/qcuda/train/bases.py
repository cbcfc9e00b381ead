"""Base optimisers of a config: those of `qtheory.optimisers`, a learning rate for each method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, get_args

from qcuda.errors import InputError, require
from qtheory.optimisers import SGD, Adam, Momentum, Normalized, Optimiser

Rates: TypeAlias = Annotated[dict[str, float], "first learning rate, in weight units"]
Kind: TypeAlias = Literal["float32", "bfloat16"]
Over: TypeAlias = Literal["layer", "neuron"]
Moments: TypeAlias = Annotated[Kind, "how the moments of lattice weights are kept"]


@dataclass(frozen=True)
class AdamBase:
    """Adam [kingma2015]."""

    learning_rate: Rates = field(default_factory=dict)
    betas: Annotated[
        tuple[float, float], "decays of the means of the gradient and of its square"
    ] = (0.9, 0.999)
    epsilon: Annotated[float, "added to the root, in units of the gradient"] = 1e-8
    moments: Moments = "float32"

    def __post_init__(self) -> None:
        _check(self)

    def of(self, learning_rate: float) -> Optimiser:
        """The optimiser with a learning rate."""
        return Adam(learning_rate, self.betas, self.epsilon)


@dataclass(frozen=True)
class MomentumBase:
    """SGD with heavy-ball momentum."""

    learning_rate: Rates = field(default_factory=dict)
    momentum: Annotated[float, "share of the last direction that is kept"] = 0.9
    moments: Moments = "float32"

    def __post_init__(self) -> None:
        _check(self)

    def of(self, learning_rate: float) -> Optimiser:
        """The optimiser with a learning rate."""
        return Momentum(learning_rate, self.momentum)


@dataclass(frozen=True)
class SGDBase:
    """Gradient descent, which keeps no moments."""

    moments: ClassVar[str] = "float32"

    learning_rate: Rates = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)

    def of(self, learning_rate: float) -> Optimiser:
        """The optimiser with a learning rate."""
        return SGD(learning_rate)


@dataclass(frozen=True)
class Normalizing:
    """What moves lattice weights by their gradient over its running rms.

    The base optimiser trains the other parameters, with a learning rate of their own.
    """

    decay: Annotated[float, "decay of the running mean of the gradient's square"] = 0.99
    over: Annotated[Over, "where the mean is taken: one number for each"] = "layer"
    others_learning_rate: Annotated[
        float, "first learning rate of other parameters than lattice weights"
    ] = 0.01

    def __post_init__(self) -> None:
        self.of(self.others_learning_rate)

    def of(self, learning_rate: float, momentum: float = 0.0) -> Optimiser:
        """The optimiser of lattice weights with a learning rate."""
        return Normalized(learning_rate, momentum, decay=self.decay, over=self.over)


Base: TypeAlias = AdamBase | MomentumBase | SGDBase
BASES: dict[str, type[Any]] = {"adam": AdamBase, "momentum": MomentumBase, "sgd": SGDBase}


def _check(base: Base) -> None:
    kinds = get_args(Kind)
    require(base.moments in kinds, f"moments is one of {', '.join(kinds)}, got {base.moments!r}")
    for method, rate in base.learning_rate.items():
        try:
            base.of(rate)
        except ValueError as error:
            raise InputError(f"learning_rate.{method}: {error}") from None
