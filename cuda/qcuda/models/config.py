"""The models by name, each with its config. Nothing here needs torch.

A model `name` is built by `qcuda/models/<name>.py`, whose `network` takes the config, the shape of
an example, the number of classes, and how weights and activations are made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from qcuda.errors import require

Window = Literal["rectangular", "triangular"]


@dataclass(frozen=True)
class Activation:
    """The ternary activation of quantised networks, `qcuda.nn.MultiStep` of order 1."""

    threshold: Annotated[float, "r of the activations: half-width of their zero zone"] = 0.35
    half_width: Annotated[float, "a of the activations' derivative, in units of their input"] = 0.5
    window: Annotated[Window, "shape of that derivative"] = "rectangular"

    def __post_init__(self) -> None:
        require(0 <= self.threshold < 1, f"threshold is in [0, 1), got {self.threshold}")
        require(
            math.isfinite(self.half_width) and self.half_width > 0,
            f"half_width is finite and positive, got {self.half_width}",
        )
        require(
            self.window in get_args(Window),
            f"window is one of {', '.join(get_args(Window))}, got {self.window!r}",
        )


@dataclass(frozen=True)
class CNN:
    """Two convolutions and two linear layers. A second note is the value of `--quick`."""

    channels: Annotated[
        int, "channels of the first convolution; the second has twice as many", 8
    ] = 32
    hidden: Annotated[int, "units of a hidden linear layer", 32] = 256
    activation: Activation = field(default_factory=Activation)

    def __post_init__(self) -> None:
        require(self.channels >= 1, f"channels is at least 1, got {self.channels}")
        require(self.hidden >= 1, f"hidden is at least 1, got {self.hidden}")


@dataclass(frozen=True)
class MLP:
    """Three linear layers."""

    hidden: Annotated[int, "units of a hidden linear layer", 32] = 256
    activation: Activation = field(default_factory=Activation)

    def __post_init__(self) -> None:
        require(self.hidden >= 1, f"hidden is at least 1, got {self.hidden}")


@dataclass(frozen=True)
class GXNOR:
    """The network of GXNOR-Net for MNIST, 32C5-MP2-64C5-MP2-512FC [deng2018]."""

    channels: Annotated[
        int, "channels of the first convolution; the second has twice as many", 8
    ] = 32
    hidden: Annotated[int, "units of a hidden linear layer", 64] = 512
    activation: Activation = field(default_factory=lambda: Activation(threshold=0.5))

    def __post_init__(self) -> None:
        require(self.channels >= 1, f"channels is at least 1, got {self.channels}")
        require(self.hidden >= 1, f"hidden is at least 1, got {self.hidden}")


MODELS: dict[str, type[Any]] = {"cnn": CNN, "mlp": MLP, "gxnor": GXNOR}
