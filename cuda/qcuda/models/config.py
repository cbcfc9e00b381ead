"""The models by name, each with its config. Nothing here needs torch.

A config's values are fields; what else tells networks of one kind apart is a row of constants. Its
`MODULE` in this package has a function `network`, which takes the config, the shape of an example,
the number of classes, and how weights and activations are made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar, Literal, get_args, get_type_hints

from qcuda.errors import require

Window = Literal["rectangular", "triangular"]
Kind = Literal["quantised", "real"]
First = Annotated[Kind, "weights of the first layer: held as those of others, or real"]
Last = Annotated[Kind, "weights of the last layer: held as those of others, or real"]
Order = Literal["ternary", "torchvision"]
Channels = Annotated[int, "channels of the first convolution; later ones have more", 8]
Hidden = Annotated[int, "units of a hidden linear layer", 32]
HiddenOrNone = Annotated[int, "units of a hidden linear layer; 0: there is none", 32]


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
class MLP:
    """Three linear layers."""

    hidden: Hidden = 256
    activation: Activation = field(default_factory=Activation)

    MODULE: ClassVar[str] = "mlp"

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Network:
    """What the networks have in common whose first and last layers can be real."""

    first: First = "quantised"
    last: Last = "quantised"
    activation: Activation = field(default_factory=Activation)

    MODULE: ClassVar[str]

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class CNN(Network):
    """Convolutions one after the other, then linear layers. A second note is for `--quick`."""

    channels: Channels = 32
    hidden: HiddenOrNone = 256

    MODULE: ClassVar[str] = "vgg"
    WIDTHS: ClassVar[tuple[int, ...]] = (1, 2)  # of the convolutions, in channels of the first
    POOLED: ClassVar[int] = 2  # of so many convolutions, the last is followed by a pool
    SIZE: ClassVar[int] = 3  # of a filter
    PADDED: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check(self, hidden=0)


@dataclass(frozen=True)
class GXNOR(CNN):
    """The network of GXNOR-Net for MNIST, 32C5-MP2-64C5-MP2-512FC [deng2018]."""

    activation: Activation = field(default_factory=lambda: Activation(threshold=0.5))
    hidden: HiddenOrNone = 512

    POOLED: ClassVar[int] = 1
    SIZE: ClassVar[int] = 5
    PADDED: ClassVar[bool] = False


@dataclass(frozen=True)
class GXNORCIFAR10(GXNOR):
    """That for CIFAR-10, 2x128C3-MP2-2x256C3-MP2-2x512C3-MP2-1024FC [deng2018]."""

    channels: Channels = 128
    hidden: HiddenOrNone = 1024

    WIDTHS: ClassVar[tuple[int, ...]] = (1, 1, 2, 2, 4, 4)
    POOLED: ClassVar[int] = 2
    SIZE: ClassVar[int] = 3
    PADDED: ClassVar[bool] = True


@dataclass(frozen=True)
class VGG7(GXNORCIFAR10):
    """The same network of ternary weight networks, VGG-7 [li2016], here with real ends."""

    first: First = "real"
    last: Last = "real"


@dataclass(frozen=True)
class VGGSmall(VGG7):
    """VGG-7 without its hidden linear layer, as it is used since [zhang2018]."""

    hidden: HiddenOrNone = 0


@dataclass(frozen=True)
class AlexNet(Network):
    """AlexNet as XNOR-Net has it: batch norm, activation, convolution, pool [rastegari2016]."""

    first: First = "real"
    last: Last = "real"

    MODULE: ClassVar[str] = "alexnet"


@dataclass(frozen=True)
class Residual(Network):
    """Networks with shortcuts, in one of two orders.

    "ternary" is batch norm, activation, convolution, and a real shortcut around each convolution
    [liu2018]: what ternary activations need. "torchvision" is convolution, batch norm, activation,
    and a shortcut around a block: its float weights load.
    """

    first: First = "real"
    last: Last = "real"
    order: Annotated[
        Order, "norm, activation, convolution and a shortcut around each; or as torchvision has it"
    ] = "ternary"


@dataclass(frozen=True)
class ResNet(Residual):
    """18 layers [he2016]."""

    MODULE: ClassVar[str] = "resnet"
    BLOCKS: ClassVar[tuple[int, ...]] = (2, 2, 2, 2)  # of each stage
    WIDTH: ClassVar[int] = 64  # of the first stage
    DEEP: ClassVar[bool] = False  # three convolutions in a block, or two
    SMALL: ClassVar[bool] = False  # for images of 32 x 32: a small stem, shortcuts without weights


@dataclass(frozen=True)
class ResNet34(ResNet):
    """34 layers [he2016]."""

    BLOCKS: ClassVar[tuple[int, ...]] = (3, 4, 6, 3)


@dataclass(frozen=True)
class ResNet50(ResNet34):
    """50 layers, strides at the 3 x 3 convolutions as in torchvision [he2016]."""

    DEEP: ClassVar[bool] = True


@dataclass(frozen=True)
class ResNet20(ResNet):
    """20 layers, for images of 32 x 32 [he2016]."""

    BLOCKS: ClassVar[tuple[int, ...]] = (3, 3, 3)
    WIDTH: ClassVar[int] = 16
    SMALL: ClassVar[bool] = True


@dataclass(frozen=True)
class ResNet56(ResNet20):
    """56 layers, for images of 32 x 32 [he2016]."""

    BLOCKS: ClassVar[tuple[int, ...]] = (9, 9, 9)


@dataclass(frozen=True)
class MobileNetV2(Residual):
    """Inverted residuals, whose 3 x 3 convolutions are of single channels [sandler2018]."""

    MODULE: ClassVar[str] = "mobilenet"


@dataclass(frozen=True)
class PointNet(Network):
    """Classes of clouds of points [qi2017]; two nets turn points and features."""

    MODULE: ClassVar[str] = "pointnet"
    TURNS: ClassVar[bool] = True


@dataclass(frozen=True)
class PointNetVanilla(PointNet):
    """PointNet without the nets that turn its inputs [qi2017]."""

    TURNS: ClassVar[bool] = False


@dataclass(frozen=True)
class GPT(Network):
    """A transformer that foretells the next of some tokens [radford2019]."""

    first: First = "real"
    last: Last = "real"
    width: Annotated[int, "units of the residual stream", 32] = 128
    blocks: Annotated[int, "blocks of attention and two linear layers", 1] = 3
    heads: Annotated[int, "heads of an attention; they divide width"] = 4
    inner: Annotated[
        Kind, "activations inside a block: as those of other networks, or real squares"
    ] = "real"

    MODULE: ClassVar[str] = "gpt"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.width % self.heads == 0,
            f"heads divide width, got {self.heads} and {self.width}",
        )


def _check(config: Any, **least: int) -> None:
    """Raise InputError if a word of a model is none of its words, or a number too small.

    least: of a number, if it is not 1.
    """
    hints = get_type_hints(type(config), include_extras=True)
    for one in fields(config):
        kind, value = getattr(hints[one.name], "__origin__", None), getattr(config, one.name)
        words = get_args(kind)
        if words:
            said = ", ".join(map(str, words))
            require(value in words, f"{one.name} is one of {said}, got {value!r}")
        elif kind is int:
            low = least.get(one.name, 1)
            require(value >= low, f"{one.name} is at least {low}, got {value}")


MODELS: dict[str, type[Any]] = {
    "cnn": CNN,
    "mlp": MLP,
    "gxnor": GXNOR,
    "gxnor_cifar10": GXNORCIFAR10,
    "vgg7": VGG7,
    "vgg_small": VGGSmall,
    "alexnet": AlexNet,
    "resnet18": ResNet,
    "resnet34": ResNet34,
    "resnet50": ResNet50,
    "resnet20": ResNet20,
    "resnet56": ResNet56,
    "mobilenet_v2": MobileNetV2,
    "pointnet": PointNet,
    "pointnet_vanilla": PointNetVanilla,
    "gpt": GPT,
}
