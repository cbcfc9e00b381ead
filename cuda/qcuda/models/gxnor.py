"""The network of GXNOR-Net for MNIST, 32C5-MP2-64C5-MP2-512FC [deng2018].

Padding (none) and order (convolution, pool, norm, activation) are those of its public code, whose
biases before norms change nothing. Inputs in [0, 1] are as good as its [-1, 1]: where nothing is
padded, a norm takes scale and shift of the input away.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from qcuda.errors import require
from qcuda.models.config import GXNOR
from qcuda.models.mlp import head
from qcuda.models.weights import MakeActivation, MakeWeight

SIZE, LEAST = 5, 16  # of a filter, and of the sides of an image


def network(
    config: GXNOR,
    shape: tuple[int, ...],
    classes: int,
    weight: MakeWeight,
    activation: MakeActivation,
) -> nn.Sequential:
    """Every weight layer is followed by batch normalisation; all but the last are activated.

    shape: channels, height and width of an image. Raises InputError if examples are no images of
    16 x 16 pixels or more.
    """
    require(
        len(shape) == 3 and min(shape[1:]) >= LEAST,
        f"gxnor takes images of {LEAST} x {LEAST} or more, got examples of the shape {shape}",
    )
    channels, *sides = shape
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for number, outputs in enumerate((config.channels, 2 * config.channels), start=1):
        modules[f"conv{number}"] = weight((outputs, channels, SIZE, SIZE), padding=0)
        modules[f"pool{number}"] = nn.MaxPool2d(2)
        modules[f"norm{number}"] = nn.BatchNorm2d(outputs)
        modules[f"active{number}"] = activation()
        channels, sides = outputs, [(side - SIZE + 1) // 2 for side in sides]
    modules["flat"] = nn.Flatten()
    features = channels * sides[0] * sides[1]
    modules.update(head(features, config.hidden, classes, weight, activation))
    return nn.Sequential(modules)
