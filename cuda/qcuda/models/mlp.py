"""Three linear layers."""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import nn

from qcuda.models.config import MLP, Kind
from qcuda.models.weights import MakeActivation, MakeWeight, of_kind


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
    inputs: int,
    width: int,
    classes: int,
    weight: MakeWeight,
    activation: MakeActivation,
    last: Kind = "quantised",
    after: int = 2,
) -> OrderedDict[str, nn.Module]:
    """A hidden linear layer, if its width is not 0, and the one that reads the classes.

    after: number of the norm before, by which names of layers are counted.
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    if width:
        modules[f"linear{after}"] = weight((width, inputs))
        modules[f"norm{after + 1}"] = nn.BatchNorm1d(width)
        modules[f"active{after + 1}"] = activation()
    modules[f"linear{after + 1}"] = of_kind(last, weight)((classes, width or inputs))
    modules[f"norm{after + 2}"] = nn.BatchNorm1d(classes)
    return modules
