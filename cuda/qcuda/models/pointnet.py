"""PointNet [qi2017]: the same layers for each point, the largest of each feature, linear layers.

Points lie as the pixels of an image of one column, so that a layer for each point is a convolution
of 1 x 1. The largest over points is taken before the norm and the activation: over ternary numbers
it would be nearly always 1. The nets that turn points (3 x 3) and features (64 x 64) begin as the
identity, since the gains and shifts of their last norms begin as 0. Left out: the published penalty
on turns that are not orthogonal.
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


class Pixels(nn.Module):
    """(n, points, features) to (n, features, points, 1)."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.transpose(1, 2)[..., None]


class Largest(nn.Module):
    """(n, features, points, 1) to (n, features)."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.amax((2, 3))


class Turn(nn.Module):
    """Multiplies the features of each point by a matrix that a net of its own finds."""

    def __init__(self, features: int, weight: MakeWeight, activation: MakeActivation) -> None:
        super().__init__()
        self.net = nn.Sequential(
            _points(features, TURNING, weight, activation, largest=True),
            _linear(TURNING[-1], HEAD, weight, activation),
        )
        self.matrix = weight((features**2, HEAD[-1]))
        self.norm = nn.BatchNorm1d(features**2)
        nn.init.zeros_(self.norm.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        features = inputs.shape[1]
        change = self.norm(self.matrix(self.net(inputs))).reshape(-1, features, features)
        return inputs + torch.bmm(change, inputs[..., 0])[..., None]


def _points(
    inputs: int,
    widths: tuple[int, ...],
    weight: MakeWeight,
    activation: MakeActivation,
    *,
    largest: bool = False,
    first: MakeWeight | None = None,
) -> nn.Sequential:
    """Layers for each point. largest: the last ends with the largest over points.

    first: how the first is made, if not as others.
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for number, outputs in enumerate(widths, start=1):
        make = weight if modules or first is None else first
        modules[f"conv{number}"] = make((outputs, inputs, 1, 1))
        if largest and number == len(widths):
            modules["largest"], norm = Largest(), nn.BatchNorm1d(outputs)
        else:
            norm = nn.BatchNorm2d(outputs)
        modules[f"norm{number}"], modules[f"active{number}"] = norm, activation()
        inputs = outputs
    return nn.Sequential(modules)


def _linear(
    inputs: int, widths: tuple[int, ...], weight: MakeWeight, activation: MakeActivation
) -> nn.Sequential:
    """Linear layers, each with a norm and an activation."""
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for number, outputs in enumerate(widths, start=1):
        modules[f"linear{number}"] = weight((outputs, inputs))
        modules[f"norm{number}"] = nn.BatchNorm1d(outputs)
        modules[f"active{number}"], inputs = activation(), outputs
    return nn.Sequential(modules)


def network(
    config: PointNet,
    shape: tuple[int, ...],
    classes: int,
    weight: MakeWeight,
    activation: MakeActivation,
) -> nn.Sequential:
    """shape: points and coordinates of a cloud. Raises InputError if examples are no clouds.

    The first layer, whose weights may be real, is that of the points, not of the net that turns
    them.
    """
    require(
        len(shape) == 2,
        f"pointnet takes clouds, points by coordinates, got examples of the shape {shape}",
    )
    inputs, first = shape[1], of_kind(config.first, weight)
    modules: OrderedDict[str, nn.Module] = OrderedDict(pixels=Pixels())
    if config.TURNS:
        modules["turn1"] = Turn(inputs, weight, activation)
    modules["before"] = _points(inputs, BEFORE, weight, activation, first=first)
    if config.TURNS:
        modules["turn2"] = Turn(BEFORE[-1], weight, activation)
    modules["after"] = _points(BEFORE[-1], AFTER, weight, activation, largest=True)
    modules["head"] = _linear(AFTER[-1], HEAD, weight, activation)
    modules["drop"] = nn.Dropout(DROPPED)
    modules["last"] = of_kind(config.last, weight)((classes, HEAD[-1]))
    modules["norm"] = nn.BatchNorm1d(classes)
    return nn.Sequential(modules)
