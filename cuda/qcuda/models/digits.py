"""The networks of the job. The methods differ in weight layers and activations alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

import qcuda.nn as lattice_nn
from qcuda.models.baselines import RealLayer
from qcuda.nn.slot import GradientSlot
from qcuda.optimizer import LatticeOptimizer
from qcuda.train.config import TrainConfig
from qtheory.algorithms.dst import DST
from qtheory.lattice import Lattice
from qtheory.optimisers import Adam

CLASSES = 10
SIDE = 8  # pixels
TERNARY = Lattice.ternary()

WeightLayer = lattice_nn.LatticeLayer | RealLayer


def build(config: TrainConfig, method: str, seed: int) -> nn.Sequential:
    """A network with weights drawn from its seed."""
    model = _network(config, _weight_layer(method), _activation(config, method))
    for tensor, layer in enumerate(weight_layers(model).values()):
        if isinstance(layer, RealLayer):
            layer.draw(seed, tensor)
        else:
            layer.draw_levels(seed, tensor)
    return model


def weight_layers(model: nn.Module) -> dict[str, WeightLayer]:
    """The layers with weights by name, in order."""
    layers = model.named_modules()
    return {name: m for name, m in layers if isinstance(m, lattice_nn.LatticeLayer | RealLayer)}


def _weight_layer(method: str) -> Callable[[tuple[int, ...]], nn.Module]:
    def make(shape: tuple[int, ...]) -> nn.Module:
        if method != "dst":
            return RealLayer(shape, levels=3 if method == "ste" else None)
        if len(shape) == 2:
            return lattice_nn.Linear(shape[1], shape[0], TERNARY)
        return lattice_nn.Conv2d(shape[1], shape[0], 3, TERNARY, padding=1)

    return make


def _activation(config: TrainConfig, method: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        if method == "full":
            return nn.ReLU()
        return lattice_nn.MultiStep(
            1,
            threshold=config.threshold,
            half_width=config.half_width,
            window=config.window,  # pyright: ignore[reportArgumentType]
        )

    return make


def _network(
    config: TrainConfig,
    weight: Callable[[tuple[int, ...]], nn.Module],
    activation: Callable[[], nn.Module],
) -> nn.Sequential:
    """Every weight layer is followed by batch normalisation; all but the last are activated."""
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    width = config.hidden
    if config.architecture == "cnn":
        first, second = config.channels, 2 * config.channels
        modules["conv1"], modules["norm1"] = weight((first, 1, 3, 3)), nn.BatchNorm2d(first)
        modules["active1"], modules["conv2"] = activation(), weight((second, first, 3, 3))
        modules["pool"], modules["norm2"] = nn.MaxPool2d(2), nn.BatchNorm2d(second)
        modules["active2"], modules["flat"] = activation(), nn.Flatten()
        inputs = second * (SIDE // 2) ** 2
    else:
        modules["flat"] = nn.Flatten()
        modules["linear1"], modules["norm1"] = weight((width, SIDE**2)), nn.BatchNorm1d(width)
        modules["active1"], inputs = activation(), width
    modules["linear2"], modules["norm3"] = weight((width, inputs)), nn.BatchNorm1d(width)
    modules["active3"] = activation()
    modules["linear3"], modules["norm4"] = weight((CLASSES, width)), nn.BatchNorm1d(CLASSES)
    return nn.Sequential(modules)


def optimiser(
    config: TrainConfig, method: str, seed: int, model: nn.Module
) -> torch.optim.Optimizer:
    """Adam, which for dst moves lattice weights and trains the rest in one object."""
    learning_rate = getattr(config, f"{method}_learning_rate")
    if method != "dst":
        return torch.optim.Adam(model.parameters(), lr=learning_rate, foreach=True)
    slots = [p for p in model.parameters() if isinstance(p, GradientSlot)]
    others = [p for p in model.parameters() if not isinstance(p, GradientSlot)]
    return LatticeOptimizer(
        [{"params": slots}, {"params": others}],
        DST(TERNARY, config.nonlinearity),
        base=Adam(learning_rate),
        seed=seed,
        moments=config.moments,
    )


def levels(layer: WeightLayer) -> Tensor | None:
    """Indices of the visible weights, int64; None if they are real."""
    if isinstance(layer, lattice_nn.LatticeLayer):
        return layer.index
    if layer.levels is None:
        return None
    return layer.visible.detach().to(torch.int64) + TERNARY.centre
