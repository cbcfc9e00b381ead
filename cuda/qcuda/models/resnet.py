"""Residual networks [he2016], in the order of torchvision or in one for ternary activations.

torchvision's block is convolution - norm - activation, and its shortcut goes around the block. With
ternary activations such a network hardly learns: all that a block hands on, it hands on in three
levels. In the ternary order, norm - activation - convolution, with a shortcut around every
convolution, the values between blocks stay real, as in Bi-Real net [liu2018].

Names are those of torchvision in both orders, and weights have the same shapes; the norms of the
ternary order are before their convolutions, and `norm` is one more, before the last layer. A float
`state_dict` of torchvision loads into a network in its order whose weights are real.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from qcuda.errors import require
from qcuda.memory.chunks import MOST
from qcuda.memory.rows import Row, in_rows
from qcuda.memory.units import Unit
from qcuda.models.config import ResNet
from qcuda.models.weights import MakeActivation, MakeWeight, of_kind


class Convolution(NamedTuple):
    """Of a block: channels, side of the filter, stride, and whether each has its own filter."""

    channels: int
    size: int
    stride: int = 1
    apart: bool = False


def fitted(inputs: Tensor, channels: int, stride: int) -> Tensor:
    """A shortcut without weights, to another number of channels or to a smaller image.

    Means over stride x stride pixels; means over neighbouring channels if there are too many, and
    zeros for those that lack.
    """
    if stride > 1:
        inputs = F.avg_pool2d(inputs, stride, ceil_mode=True)
    if channels == inputs.shape[1]:
        return inputs
    inputs = F.pad(inputs, (0, 0, 0, 0, 0, -inputs.shape[1] % channels))
    return inputs.unflatten(1, (channels, -1)).mean(2)


def made(
    rows: Sequence[Convolution], inputs: int, ternary: bool, weight: MakeWeight
) -> list[tuple[nn.Module, nn.BatchNorm2d]]:
    """The convolutions of a block and their norms: of their inputs if ternary, else of outputs."""
    layers = list[tuple[nn.Module, nn.BatchNorm2d]]()
    for row in rows:
        groups = inputs if row.apart else 1
        layer = weight(
            (row.channels, inputs // groups, row.size, row.size), scaled=ternary,
            stride=row.stride, groups=groups,
        )  # fmt: skip
        layers.append((layer, nn.BatchNorm2d(inputs if ternary else row.channels)))
        inputs = row.channels
    return layers


class Block(nn.Module):
    """The convolutions of a block and its shortcuts.

    entering: the convolution, from 0, to whose outputs the block's inputs are added in the ternary
    order; other ones have shortcuts around themselves. small: the block's shortcut has no weights.
    frugal: whether two ternary convolutions run as rows, `qcuda.memory.rows`, where they can.
    """

    frugal: bool = False

    def __init__(
        self,
        rows: Sequence[Convolution],
        inputs: int,
        entering: int,
        weight: MakeWeight,
        activation: MakeActivation,
        *,
        ternary: bool,
        small: bool,
    ) -> None:
        super().__init__()
        self.rows, self.entering, self.ternary = tuple(rows), entering, ternary
        for number, (layer, norm) in enumerate(made(rows, inputs, ternary, weight), start=1):
            self.add_module(f"conv{number}", layer)
            self.add_module(f"bn{number}", norm)
            self.add_module(f"active{number}", activation())
        numbers = range(1, len(rows) + ternary)  # the last activation of torchvision's comes late
        self.neighbours = tuple((f"bn{k}", f"active{k}") for k in numbers)
        self.outputs, stride = rows[-1].channels, max(row.stride for row in rows)
        self.downsample = nn.Sequential()
        if small and stride > 1:
            self.downsample = Fitted(self.outputs, stride, ternary)
        elif stride > 1 or inputs != self.outputs:
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            if ternary and stride > 1:
                parts["pool"], stride = nn.AvgPool2d(stride, ceil_mode=True), 1
            parts["0"] = weight((self.outputs, inputs, 1, 1), stride=stride)
            parts["1"] = nn.BatchNorm2d(self.outputs)
            self.downsample = nn.Sequential(parts)

    @property
    def keeps_little(self) -> bool:
        """Whether it runs as rows of a residual stream now."""
        return self.frugal and self.ternary and self.entering == 0 and in_rows(self._stream())

    def _stream(self) -> list[Row]:
        """Its rows, if the block's shortcut is around the first and all but that have one size."""
        bn1, conv1, bn2, conv2 = (getattr(self, name) for name in ("bn1", "conv1", "bn2", "conv2"))
        plain = type(self.downsample) is nn.Sequential and not len(self.downsample)
        return [Row(bn1, conv1, None if plain else self.downsample), Row(bn2, conv2, None)]

    def forward(self, inputs: Tensor) -> Tensor:
        if self.keeps_little:
            for row in self._stream():
                inputs = row(inputs)
            return inputs
        x, last = inputs, len(self.rows)
        for number, row in enumerate(self.rows, start=1):
            layer, norm, active = (
                self.get_submodule(f"{part}{number}") for part in ("conv", "bn", "active")
            )
            if self.ternary:
                here = number - 1 == self.entering
                kept = self.downsample(inputs) if here else fitted(x, row.channels, row.stride)
                x = layer(active(norm(x))) + kept
            else:
                x = norm(layer(x))
                x = active(x + self.downsample(inputs) if number == last else x)
        return x


class Fitted(nn.Module):
    """The shortcut of networks for small images: their first pixel of so many, or their mean."""

    def __init__(self, channels: int, stride: int, mean: bool) -> None:
        super().__init__()
        self.channels, self.stride, self.mean = channels, stride, mean

    def forward(self, inputs: Tensor) -> Tensor:
        if self.mean:
            return fitted(inputs, self.channels, self.stride)
        return fitted(inputs[..., :: self.stride, :: self.stride], self.channels, 1)


class Residual(nn.Module):
    """The network; its stages are `layer1`, `layer2`, ...

    frugal: whether what is before the stages is made again in the backward pass, in chunks of the
    batch if it is large.
    """

    frugal: bool = False

    def __init__(
        self,
        config: ResNet,
        inputs: int,
        classes: int,
        weight: MakeWeight,
        activation: MakeActivation,
    ) -> None:
        super().__init__()
        ternary, width = config.order == "ternary", config.WIDTH
        size, stride = (3, 1) if config.SMALL else (7, 2)
        first = of_kind(config.first, weight)
        self.conv1 = first((width, inputs, size, size), stride=stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.active1 = nn.Identity() if ternary else activation()
        self.maxpool = nn.Identity() if config.SMALL else nn.MaxPool2d(3, 2, 1)
        channels = width
        self.stages = len(config.BLOCKS)
        for stage, count in enumerate(config.BLOCKS):
            blocks = nn.Sequential()
            for number in range(count):
                stride = 2 if stage and not number else 1
                block = Block(
                    _rows(width * 2**stage, stride, config.DEEP), channels,
                    2 if config.DEEP else 0, weight, activation, ternary=ternary,
                    small=config.SMALL,
                )  # fmt: skip
                blocks.append(block)
                channels = block.outputs
            self.add_module(f"layer{stage + 1}", blocks)
        self.norm = nn.BatchNorm1d(channels) if ternary else nn.Identity()
        self.fc = of_kind(config.last, weight)((classes, channels), scaled=True, bias=True)

    def forward(self, images: Tensor) -> Tensor:
        entry = Unit((self.conv1, self.bn1, self.active1, self.maxpool), MOST)
        x = entry(images) if self.frugal else entry.plainly(images)
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return self.fc(self.norm(x.mean((2, 3))))


def _rows(width: int, stride: int, deep: bool) -> tuple[Convolution, ...]:
    if deep:
        return Convolution(width, 1), Convolution(width, 3, stride), Convolution(4 * width, 1)
    return Convolution(width, 3, stride), Convolution(width, 3)


def network(
    config: ResNet,
    shape: tuple[int, ...],
    classes: int,
    weight: MakeWeight,
    activation: MakeActivation,
) -> Residual:
    """Published for images of 224 x 224, or of 32 x 32 with 20 and 56 layers; others are taken.

    shape: channels, height and width of an image. Raises InputError if examples are no images.
    """
    require(len(shape) == 3, f"a residual network takes images, got examples of the shape {shape}")
    return Residual(config, shape[0], classes, weight, activation)
