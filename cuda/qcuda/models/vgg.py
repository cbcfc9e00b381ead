"""Convolutions one after the other, some with a pool, and linear layers: VGG and its like.

The networks are rows of `qcuda.models.config`. Order (convolution, pool, norm, activation) and, for
MNIST, padding (none) are those of GXNOR-Net's public code, whose biases before norms change nothing
[deng2018]. On MNIST inputs in [0, 1] are as good as its [-1, 1]: where nothing is padded, a norm
takes scale and shift of the input away. Published VGG-7 pools after the activation, but the largest
of four ternary numbers is nearly always 1.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from qcuda.errors import require
from qcuda.models.config import CNN
from qcuda.models.mlp import head
from qcuda.models.weights import MakeActivation, MakeWeight, of_kind


def network(
    config: CNN,
    shape: tuple[int, ...],
    classes: int,
    weight: MakeWeight,
    activation: MakeActivation,
) -> nn.Sequential:
    """Every weight layer is followed by batch normalisation; all but the last are activated.

    shape: channels, height and width of an image. Raises InputError if examples are no images, or
    images too small.
    """
    require(
        len(shape) == 3,
        f"a network of convolutions takes images, got examples of the shape {shape}: try mlp",
    )
    channels, *sides = shape
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for number, times in enumerate(config.WIDTHS, start=1):
        outputs, make = (
            times * config.channels,
            weight if modules else of_kind(config.first, weight),
        )
        padding = config.SIZE // 2 if config.PADDED else 0
        sides = [side + 2 * padding - config.SIZE + 1 for side in sides]
        modules[f"conv{number}"] = make(
            (outputs, channels, config.SIZE, config.SIZE), padding=padding
        )
        if number % config.POOLED == 0:
            modules[f"pool{number}"] = nn.MaxPool2d(2)
            sides = [side // 2 for side in sides]
        modules[f"norm{number}"] = nn.BatchNorm2d(outputs)
        modules[f"active{number}"], channels = activation(), outputs
    require(
        min(sides) > 0,
        f"{len(config.WIDTHS)} convolutions and their pools leave a pixel of each image, got "
        f"examples of the shape {shape}",
    )
    modules["flat"] = nn.Flatten()
    features = channels * sides[0] * sides[1]
    ends = {"last": config.last, "after": len(config.WIDTHS)}
    modules.update(head(features, config.hidden, classes, weight, activation, **ends))
    return nn.Sequential(modules)
