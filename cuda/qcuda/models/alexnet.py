"""AlexNet in the form of XNOR-Net's release: batch norm, activation, convolution, pool.

Sizes, epsilons, and real activations after the first layer and before the last are those of the
release [rastegari2016]; its biases before norms change nothing. The linear layers are convolutions.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from torch import nn

from qcuda.errors import require
from qcuda.models.config import AlexNet
from qcuda.models.weights import MakeActivation, MakeWeight, of_kind, relu

LEAST = 63  # pixels of a side, of which the last pool leaves one


class Row(NamedTuple):
    """A convolution in the middle: channels, its filter's size, and whether a pool follows."""

    channels: int
    size: int
    pooled: bool = False


FIRST = Row(96, 11, pooled=True)  # with a stride of 4
MIDDLE = (Row(256, 5, pooled=True), Row(384, 3), Row(384, 3), Row(256, 3, pooled=True))
LINEAR = (4096, 4096)


def network(
    config: AlexNet,
    shape: tuple[int, ...],
    classes: int,
    weight: MakeWeight,
    activation: MakeActivation,
) -> nn.Sequential:
    """Published for images of 224 x 224; 6 x 6 pixels of them are left to the linear layers.

    shape: channels, height and width of an image. Raises InputError if it is no image of 63 x 63
    pixels or more.
    """
    require(
        len(shape) == 3 and min(shape[1:]) >= LEAST,
        f"alexnet takes images of {LEAST} x {LEAST} or more, got examples of the shape {shape}",
    )
    inputs, *sides = shape
    channels, size = FIRST.channels, FIRST.size
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    modules["conv1"] = of_kind(config.first, weight)(
        (channels, inputs, size, size), stride=4, padding=2
    )
    modules["norm1"], modules["active1"] = nn.BatchNorm2d(channels), relu()
    modules["pool1"] = nn.MaxPool2d(3, 2)
    sides = [_pooled((side + 4 - size) // 4 + 1) for side in sides]
    for number, row in enumerate(MIDDLE, start=2):
        modules[f"norm{number}"] = nn.BatchNorm2d(channels, eps=1e-4)
        modules[f"active{number}"] = activation()
        modules[f"conv{number}"] = weight((row.channels, channels, row.size, row.size))
        channels = row.channels
        if row.pooled:
            modules[f"pool{number}"] = nn.MaxPool2d(3, 2)
            sides = [_pooled(side) for side in sides]
    for number, width in enumerate(LINEAR, start=len(MIDDLE) + 2):
        modules[f"norm{number}"] = nn.BatchNorm2d(channels, eps=1e-4)
        modules[f"active{number}"] = activation()
        modules[f"conv{number}"] = weight((width, channels, *sides), padding=0)
        channels, sides = width, [1, 1]
    modules["norm8"], modules["active8"] = nn.BatchNorm2d(channels, eps=1e-3), relu()
    modules["flat"] = nn.Flatten()
    modules["linear8"] = of_kind(config.last, weight)((classes, channels), scaled=True, bias=True)
    return nn.Sequential(modules)


def _pooled(side: int) -> int:
    return (side - 3) // 2 + 1
