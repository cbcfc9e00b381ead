"""A network by its config, or by the name of its model."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torch import nn

from qcuda.errors import require
from qcuda.models.config import MODELS
from qcuda.models.weights import MakeActivation, MakeWeight, draw, real, stepped


def build(
    model: Any,
    shape: tuple[int, ...],
    classes: int,
    weight: MakeWeight | None = None,
    activation: MakeActivation | None = None,
    seed: int = 0,
) -> nn.Module:
    """A network for examples of a shape, with weights drawn from its seed.

    model: a name of `qcuda.models.config.MODELS`, or a config of one. shape: of one example, e.g.
    channels, height, width. weight, activation: see `qcuda.models.weights`; by default real weights
    in torch's own layers, which `qcuda.quantize_` converts, and the ternary activations of the
    config. Raises InputError if the name is not known, or the network takes no such examples.
    """
    if isinstance(model, str):
        require(model in MODELS, f"a model is one of {', '.join(MODELS)}, got {model!r}")
    config = MODELS[model]() if isinstance(model, str) else model
    module = import_module(f"qcuda.models.{config.MODULE}")
    weight = real(None) if weight is None else weight
    activation = stepped(config.activation) if activation is None else activation
    made = module.network(config, shape, classes, weight, activation)
    draw(made, seed)
    return made
