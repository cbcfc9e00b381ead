"""A network by the name of its model."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torch import nn

from qcuda.models.config import MODELS
from qcuda.models.weights import MakeActivation, MakeWeight, draw


def build(
    config: Any,
    shape: tuple[int, ...],
    classes: int,
    weight: MakeWeight,
    activation: MakeActivation,
    seed: int,
) -> nn.Module:
    """A network for examples of a shape, with weights drawn from its seed.

    config: one of `qcuda.models.config.MODELS`. shape: of one example, e.g. channels, height,
    width. weight, activation: see `qcuda.models.weights`.
    """
    (name,) = (name for name, kind in MODELS.items() if kind is type(config))
    module = import_module(f"qcuda.models.{name}")
    model = module.network(config, shape, classes, weight, activation)
    draw(model, seed)
    return model
