"""Three linear layers."""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import nn

from qcuda.models.config import MLP
from qcuda.models.weights import MakeActivation, MakeWeight


def network(
    config: MLP,
    shape: tuple[int, ...],
    classes: int,
    weight: MakeWeight,
    activation: MakeActivation,
) -> nn.Sequential:
    """Every weight layer is followed by batch normalisation; all but the last are activated."""
    width = config.hidden
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    modules["flat"] = nn.Flatten()
    modules["linear1"], modules["norm1"] = weight((width, math.prod(shape))), nn.BatchNorm1d(width)
    modules["active1"] = activation()
    modules.update(head(width, width, classes, weight, activation))
    return nn.Sequential(modules)


def head(
    inputs: int, width: int, classes: int, weight: MakeWeight, activation: MakeActivation
) -> OrderedDict[str, nn.Module]:
    """A hidden linear layer and the one that reads the classes."""
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    modules["linear2"], modules["norm3"] = weight((width, inputs)), nn.BatchNorm1d(width)
    modules["active3"] = activation()
    modules["linear3"], modules["norm4"] = weight((classes, width)), nn.BatchNorm1d(classes)
    return modules
