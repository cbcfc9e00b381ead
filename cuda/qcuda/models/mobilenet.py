"""MobileNetV2 [sandler2018], in the orders of `qcuda.models.resnet`.

Names are those of torchvision's mobilenet_v2 in both. In the ternary order every convolution of a
block has its shortcut, `fitted` to its outputs: channels that are new begin as zeros, and each that
a block hands on is a mean of neighbours of its own. Real activations end at 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from qcuda.errors import require
from qcuda.models.config import MobileNetV2
from qcuda.models.resnet import Convolution, fitted, made
from qcuda.models.weights import MakeActivation, MakeWeight, of_kind

MOST = 6.0  # of a real activation
STEM, TOP = 32, 1280
DROPPED = 0.2  # share of the units before the last layer
ROWS = (  # times that a block widens its inputs, its outputs, how many blocks, stride of the first
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class Inverted(nn.Module):
    """A block: convolutions of 1 x 1, of 3 x 3 in each channel alone, and of 1 x 1."""

    def __init__(
        self,
        rows: Sequence[Convolution],
        inputs: int,
        weight: MakeWeight,
        activation: MakeActivation,
        ternary: bool,
    ) -> None:
        super().__init__()
        self.rows, self.ternary = tuple(rows), ternary
        self.whole = inputs == rows[-1].channels and max(row.stride for row in rows) == 1
        self.conv = nn.Sequential()
        layers = made(rows, inputs, ternary, weight)
        for layer, norm in layers[:-1]:
            self.conv.append(nn.Sequential(layer, norm, activation()))
        self.conv.extend(layers[-1])
        self.active = activation() if ternary else nn.Identity()
        last = len(rows) - 1
        self.parts = [tuple(f"conv.{k}.{part}" for part in range(3)) for k in range(last)]
        self.parts.append((f"conv.{last}", f"conv.{last + 1}", "active"))

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.ternary:
            outputs = self.conv(inputs)
            return inputs + outputs if self.whole else outputs
        x = inputs
        for row, parts in zip(self.rows, self.parts, strict=True):
            layer, norm, active = map(self.get_submodule, parts)
            ends = self.whole and row is self.rows[-1]
            kept = inputs if ends else fitted(x, row.channels, row.stride)
            x = layer(active(norm(x))) + kept
        return x


class Top(nn.Module):
    """The last convolution, its norm and its activation, with a shortcut in the ternary order."""

    def __init__(
        self, inputs: int, weight: MakeWeight, activation: MakeActivation, ternary: bool
    ) -> None:
        super().__init__()
        ((layer, norm),) = made([Convolution(TOP, 1)], inputs, ternary, weight)
        for number, part in enumerate((layer, norm, activation())):
            self.add_module(str(number), part)
        self.ternary, self.neighbours = ternary, (("1", "2"),)

    def forward(self, inputs: Tensor) -> Tensor:
        layer, norm, active = self.children()
        if self.ternary:
            return layer(active(norm(inputs))) + fitted(inputs, TOP, 1)
        return active(norm(layer(inputs)))


class Mobile(nn.Module):
    """The network."""

    def __init__(
        self,
        config: MobileNetV2,
        inputs: int,
        classes: int,
        weight: MakeWeight,
        activation: MakeActivation,
    ) -> None:
        super().__init__()
        ternary = config.order == "ternary"
        first = of_kind(config.first, weight)((STEM, inputs, 3, 3), stride=2)
        begins = nn.Identity() if ternary else activation()
        self.features = nn.Sequential(nn.Sequential(first, nn.BatchNorm2d(STEM), begins))
        channels = STEM
        for times, outputs, count, stride in ROWS:
            for number in range(count):
                wide = times * channels
                rows = [
                    *([Convolution(wide, 1)] if times > 1 else []),
                    Convolution(wide, 3, 1 if number else stride, apart=True),
                    Convolution(outputs, 1),
                ]
                self.features.append(Inverted(rows, channels, weight, activation, ternary))
                channels = outputs
        self.features.append(Top(channels, weight, activation, ternary))
        self.norm = nn.BatchNorm1d(TOP) if ternary else nn.Identity()
        last = of_kind(config.last, weight)((classes, TOP), scaled=True, bias=True)
        self.classifier = nn.Sequential(nn.Dropout(DROPPED), last)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.norm(self.features(images).mean((2, 3))))


def network(
    config: MobileNetV2,
    shape: tuple[int, ...],
    classes: int,
    weight: MakeWeight,
    activation: MakeActivation,
) -> Mobile:
    """Published for images of 224 x 224; others are taken.

    shape: channels, height and width of an image. Raises InputError if examples are no images.
    """
    require(len(shape) == 3, f"mobilenet_v2 takes images, got examples of the shape {shape}")
    return Mobile(config, shape[0], classes, weight, partial(activation, most=MOST))
