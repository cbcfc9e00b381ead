"""Two convolutions and two linear layers."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from qcuda.errors import require
from qcuda.models.config import CNN
from qcuda.models.mlp import head
from qcuda.models.weights import MakeActivation, MakeWeight


def network(
    config: CNN,
    shape: tuple[int, ...],
    classes: int,
    weight: MakeWeight,
    activation: MakeActivation,
) -> nn.Sequential:
    """Every weight layer is followed by batch normalisation; all but the last are activated.

    shape: channels, height and width of an image, whose sides are halved once. Raises InputError
    if examples are no images.
    """
    require(len(shape) == 3, f"a cnn takes images, got examples of the shape {shape}: try mlp")
    inputs, height, width = shape
    first, second = config.channels, 2 * config.channels
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    modules["conv1"], modules["norm1"] = weight((first, inputs, 3, 3)), nn.BatchNorm2d(first)
    modules["active1"], modules["conv2"] = activation(), weight((second, first, 3, 3))
    modules["pool"], modules["norm2"] = nn.MaxPool2d(2), nn.BatchNorm2d(second)
    modules["active2"], modules["flat"] = activation(), nn.Flatten()
    features = second * (height // 2) * (width // 2)
    modules.update(head(features, config.hidden, classes, weight, activation))
    return nn.Sequential(modules)
