"""Conversion of a torch model in place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import nn

from qcuda.errors import require
from qcuda.kernels.ops import REALS
from qcuda.nn import Conv2d, LatticeLayer, Linear
from qtheory.lattice import Lattice


@dataclass(frozen=True, slots=True)
class LatticeConfig:
    """How layers are converted.

    lattice: the levels of every converted weight.
    levels: "nearest" keeps the float weights as well as the lattice can, "uniform" draws levels.
    scale: factor of the visible weights. None takes, for each layer, the power of two with the
    smallest squared error (1 where levels are drawn).
    seed: key of the words that draw levels.
    """

    lattice: Lattice = field(default_factory=Lattice.ternary)
    levels: Literal["nearest", "uniform"] = "nearest"
    scale: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            self.levels in ("nearest", "uniform"),
            f"levels are nearest or uniform, got {self.levels!r}",
        )
        require(
            self.scale is None or (math.isfinite(self.scale) and self.scale > 0),
            f"a scale is positive and finite, got {self.scale}",
        )


Filter = Callable[[nn.Module, str], bool]


def quantize_(
    model: nn.Module, config: LatticeConfig | None = None, filter_fn: Filter | None = None
) -> nn.Module:
    """Replace the linear and 2-D convolution layers of a model by lattice layers, in place.

    filter_fn: called with (module, name); only layers for which it is true are converted. Biases
    stay as they are. Returns the model (a new layer if the model is itself one). Raises ValueError
    for a convolution whose padding is not zeros, and if nothing was converted.
    """
    config = LatticeConfig() if config is None else config
    chosen = [
        (name, module)
        for name, module in model.named_modules(remove_duplicate=False)
        if type(module) in (nn.Linear, nn.Conv2d) and (filter_fn is None or filter_fn(module, name))
    ]
    require(bool(chosen), "a model to quantise has linear or convolution layers, got none")
    distinct = {id(module): module for _, module in chosen}  # a shared layer stays shared
    made = {
        key: _convert(module, config, tensor)
        for tensor, (key, module) in enumerate(distinct.items())
    }
    for name, module in chosen:
        layer = made[id(module)]
        if not name:
            return layer
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer)
    return model


def _convert(module: nn.Module, config: LatticeConfig, tensor: int) -> LatticeLayer:
    assert isinstance(module, nn.Linear | nn.Conv2d)
    require(
        module.weight.dtype in REALS,
        f"weights to convert are float32 or bfloat16, got {module.weight.dtype}",
    )
    weight = module.weight.detach().cpu().to(torch.float64).numpy()
    scale = config.scale
    if scale is None:
        scale = 1.0 if config.levels == "uniform" else _best_power_of_two(weight, config.lattice)
    layer: LatticeLayer
    if isinstance(module, nn.Linear):
        layer = Linear(module.in_features, module.out_features, config.lattice, scale=scale)
    else:
        require(
            module.padding_mode == "zeros",
            f"a converted convolution pads with zeros, got {module.padding_mode!r}",
        )
        layer = Conv2d(
            module.in_channels,
            module.out_channels,
            module.kernel_size,  # pyright: ignore[reportArgumentType]
            config.lattice,
            stride=module.stride,  # pyright: ignore[reportArgumentType]
            padding=module.padding,  # pyright: ignore[reportArgumentType]
            dilation=module.dilation,  # pyright: ignore[reportArgumentType]
            groups=module.groups,
            scale=scale,
        )
    if config.levels == "uniform":
        layer.draw_levels(config.seed, tensor)
    else:
        layer.set_index(torch.from_numpy(config.lattice.nearest(weight / scale)))
    if module.bias is not None:
        layer.bias = nn.Parameter(module.bias.detach(), module.bias.requires_grad)
    return layer.to(module.weight.device, module.weight.dtype).train(module.training)


def _best_power_of_two(weight: np.ndarray, lattice: Lattice) -> float:
    """The power of two s that makes |w - s Q(w / s)|^2 smallest; 1 if all weights are 0."""
    largest = float(np.abs(weight).max(initial=0.0))
    if largest == 0.0:
        return 1.0
    reach = max(abs(lattice.low), abs(lattice.high))
    top = int(np.ceil(np.log2(largest / reach)))
    scales = [2.0**k for k in range(top - 6, top + 1)]
    errors = [_squared_error(weight, s, lattice) for s in scales]
    return scales[int(np.argmin(errors))]


def _squared_error(weight: np.ndarray, scale: float, lattice: Lattice) -> float:
    visible = scale * lattice.levels[lattice.nearest(weight / scale)]
    return float(((weight - visible) ** 2).sum())
