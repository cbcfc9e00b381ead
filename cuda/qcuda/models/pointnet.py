"""PointNet [qi2017]: the same layers for each point, the largest of each feature, linear layers.

Points are rows, so that a layer for each point is a linear layer. The largest over points is taken
before the norm and the activation: over ternary numbers it would be nearly always 1. The nets that
turn points (3 x 3) and features (64 x 64) begin as the identity, since the gains and shifts of
their last norms begin as 0. Left out: the published penalty on turns that are not orthogonal.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from qcuda.errors import require
from qcuda.models.config import PointNet
from qcuda.models.weights import MakeActivation, MakeWeight, of_kind

BEFORE, AFTER, HEAD = (64, 64), (64, 128, 1024), (512, 256)
TURNING = (64, 128, 1024)
DROPPED = 0.3  # share of the units before the last layer


class Largest(nn.Module):
    """(n, points, features) to (n, features)."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.amax(1)


class Norm(nn.BatchNorm1d):
    """Over examples, and over points if there are any: (..., features)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.flatten(0, -2)).reshape(input.shape)


class Turn(nn.Module):
    """Multiplies the features of each point by a matrix that a net of its own finds."""

    def __init__(self, features: int, weight: MakeWeight, activation: MakeActivation) -> None:
        super().__init__()
        points = _layers(features, TURNING, weight, activation, largest=True)
        self.net = nn.Sequential(points, _layers(TURNING[-1], HEAD, weight, activation))
        self.matrix = weight((features**2, HEAD[-1]))
        self.norm = nn.BatchNorm1d(features**2)
        nn.init.zeros_(self.norm.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        features = inputs.shape[-1]
        change = self.norm(self.matrix(self.net(inputs))).reshape(-1, features, features)
        return inputs + torch.bmm(inputs, change)


def _layers(
    inputs: int,
    widths: tuple[int, ...],
    weight: MakeWeight,
    activation: MakeActivation,
    *,
    largest: bool = False,
    first: MakeWeight | None = None,
) -> nn.Sequential:
    """Linear layers with norms and activations. largest: the last is of the largest over points."""
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for number, outputs in enumerate(widths, start=1):
        make = first if first and number == 1 else weight
        modules[f"linear{number}"] = make((outputs, inputs))
        if largest and number == len(widths):
            modules["largest"] = Largest()
        modules[f"norm{number}"], modules[f"active{number}"] = Norm(outputs), activation()
        inputs = outputs
    return nn.Sequential(modules)


def network(
    config: PointNet,
    shape: tuple[int, ...],
    classes: int,
    weight: MakeWeight,
    activation: MakeActivation,
) -> nn.Sequential:
    """shape: points and coordinates of a cloud. Raises InputError if examples are no clouds."""
    require(
        len(shape) == 2,
        f"pointnet takes clouds, points by coordinates, got examples of the shape {shape}",
    )
    inputs, first = shape[1], of_kind(config.first, weight)
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    if config.TURNS:
        modules["turn1"] = Turn(inputs, weight, activation)
    modules["before"] = _layers(inputs, BEFORE, weight, activation, first=first)
    if config.TURNS:
        modules["turn2"] = Turn(BEFORE[-1], weight, activation)
    modules["after"] = _layers(BEFORE[-1], AFTER, weight, activation, largest=True)
    modules["head"] = _layers(AFTER[-1], HEAD, weight, activation)
    modules["drop"] = nn.Dropout(DROPPED)
    modules["last"] = of_kind(config.last, weight)((classes, HEAD[-1]))
    modules["norm"] = nn.BatchNorm1d(classes)
    return nn.Sequential(modules)
