"""Conversion of a torch model in place."""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from qcuda.errors import InputError, require
from qcuda.kernels.abi import Storage
from qcuda.nn.attention import MultiheadAttention
from qcuda.nn.layers import VISIBLE, LatticeLayer
from qcuda.nn.linear import Linear
from qcuda.nn.plan import Conversions, Filter, Plan, plan
from qcuda.nn.rules import RULES, become, channel_groups, parent, weights
from qcuda.nn.scales import best_scales, by_channel, on_lattice
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair

LOG = logging.getLogger("qcuda")
STORAGES = tuple(storage.name.lower() for storage in Storage)
LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


@dataclass(frozen=True, slots=True)
class LatticeConfig:
    """How layers are converted.

    lattice: the levels of every converted weight.
    readout: the stair through which they are seen, None if they are seen themselves:
    `LatticeConfig(**hidden(8))` has 255 levels that are read as three.
    levels: "nearest" keeps the float weights as well as the lattice can, "uniform" draws levels.
    scale: factor of the visible weights. "layer" takes, for each layer, the power of two with the
    smallest squared error; "channel" one for each output channel, or row of an embedding. It is 1
    where levels are drawn.
    storage: "trits", four weights a byte, "nibbles" of 4 bits, "sixes" of 6, or "int8"; None is
    trits for two or three levels, the fewest bits for hidden levels, and int8 for others.
    seed: key of the words that draw levels.
    """

    lattice: Lattice = field(default_factory=Lattice.ternary)
    levels: Literal["nearest", "uniform"] = "nearest"
    scale: float | Literal["layer", "channel"] = "layer"
    storage: Literal["trits", "nibbles", "sixes", "int8"] | None = None
    seed: int = 0
    readout: Stair | None = None

    def __post_init__(self) -> None:
        require(isinstance(self.lattice, Lattice), f"a config has a Lattice, got {self.lattice!r}")
        require(
            self.readout is None or isinstance(self.readout, Stair),
            f"a readout is a Stair, got {self.readout!r}",
        )
        require(
            self.levels in ("nearest", "uniform"),
            f"levels are nearest or uniform, got {self.levels!r}",
        )
        require(
            self.scale in ("layer", "channel")
            or (
                isinstance(self.scale, int | float) and math.isfinite(self.scale) and self.scale > 0
            ),
            f"a scale is positive and finite, or 'layer' or 'channel', got {self.scale!r}",
        )
        require(
            self.storage in (None, *STORAGES),
            f"a storage is one of {', '.join(STORAGES)}, got {self.storage!r}",
        )


def conversions(
    model: nn.Module, config: LatticeConfig | None = None, filter_fn: Filter | None = None
) -> Conversions:
    """What `quantize_` with these arguments would do, as a table that prints itself.

    Nothing is changed. Raises what `quantize_` raises.
    """
    found = plan(model, filter_fn)
    _make(found, _checked(config))
    return found.table


def quantize_(
    model: nn.Module, config: LatticeConfig | None = None, filter_fn: Filter | None = None
) -> nn.Module:
    """Put the weights of a model's layers on a lattice, in place; returns the model.

    Linear layers, convolutions, transposed convolutions, embeddings, and the projections of
    attention become lattice layers; `qcuda.conversions` shows beforehand what becomes of each
    module, and `quantize_` logs the same table ("qcuda", level INFO). Layers that keep real weights
    without being asked to are warned of. filter_fn: called with (module, name); only modules for
    which it is true are converted.

    The modules stay the same objects: whoever refers to a layer refers to the lattice layer. Hooks,
    attributes, biases, device, dtype, `requires_grad` and mode stay. Layers that share a weight
    share the lattice weight. Gradients of converted weights are dropped.

    Raises ValueError, and changes nothing, if nothing can be converted; if a weight is shared with
    a module that is not converted; if an optimiser or a hook already holds a weight; or if a weight
    is not finite, or on meta.
    """
    config = _checked(config)
    found = plan(model, filter_fn)
    made = _make(found, config)
    for name, module in found.chosen.items():
        become(module, made[name])
    LOG.info("%s", found.table)
    unasked = [row for row in found.table.rows if row.unasked]
    if unasked:
        some = ", ".join(f"{row.name} ({row.type}: {row.left})" for row in unasked[:5])
        rest = f" and {len(unasked) - 5} more" if len(unasked) > 5 else ""
        warnings.warn(
            f"layers keep real weights: {some}{rest}; a filter_fn that leaves them says so",
            stacklevel=2,
        )
    return model


def _checked(config: LatticeConfig | None) -> LatticeConfig:
    config = LatticeConfig() if config is None else config
    require(
        isinstance(config, LatticeConfig),
        f"a conversion takes a LatticeConfig, such as LatticeConfig(spec.lattice), got {config!r}",
    )
    return config


def _make(found: Plan, config: LatticeConfig) -> dict[str, nn.Module]:
    """What each chosen module becomes. Layers that share a weight share it again."""
    by_weight: dict[int, LatticeLayer] = {}
    made: dict[str, nn.Module] = {}
    for name, module in found.chosen.items():
        try:
            if isinstance(module, nn.MultiheadAttention):
                parts = {
                    part: _layer(module, attribute, config, by_weight)
                    for attribute, part in weights(module).items()
                }
                made[name] = MultiheadAttention(module, parts)
            else:
                made[name] = _layer(module, "weight", config, by_weight)
        except ValueError as error:
            raise InputError(f"{name or '(the model)'}: {error}") from None
    return made


def _layer(
    module: nn.Module,
    attribute: str,
    config: LatticeConfig,
    by_weight: dict[int, LatticeLayer],
) -> LatticeLayer:
    """The lattice layer of one weight of a module."""
    weight, kind = module._parameters[attribute], parent(module)
    assert weight is not None and kind is not None
    require(
        weight.dtype in VISIBLE, f"the dtype of a weight to convert is real, got {weight.dtype}"
    )
    require(not weight.is_meta, "a weight to convert has numbers, got one on meta")
    shared = by_weight.get(id(weight))
    groups = channel_groups(module)
    options = {
        "storage": None if config.storage is None else Storage[config.storage.upper()],
        "scale": _scale(weight, groups, config) if shared is None else shared.scale,
        "device": weight.device,
        "dtype": weight.dtype,
        "readout": config.readout,
    }
    if kind is nn.MultiheadAttention:
        rows, columns = weight.shape
        layer: LatticeLayer = Linear(columns, rows, config.lattice, **options)
    else:
        rule = RULES[kind]
        sizes = {name: getattr(module, name) for name in rule.arguments}
        layer = rule.layer(lattice=config.lattice, **sizes, **options)
        if (bias := module._parameters.get("bias")) is not None:
            layer.bias = bias
    if shared is not None:
        require(
            not shared.scale.dim() or groups == channel_groups(shared),
            "layers that share a weight with a scale for each channel have the same channels, "
            f"got {type(shared).__name__} and {type(module).__name__}",
        )
        layer._parameters["slot"] = shared.slot
        layer._buffers.update(shared._buffers)
        layer._numbers = shared._numbers
        return layer
    if config.levels == "uniform":
        layer.draw_levels(config.seed, len(by_weight))
    else:
        real = weight.detach() * _stretch(config.readout)
        layer.set_index(on_lattice(real, layer.scale, config.lattice, groups))
    layer.slot.requires_grad_(weight.requires_grad)
    if not weight.is_contiguous() and weight.dim() in LAYOUTS:
        layer.to(memory_format=LAYOUTS[weight.dim()])  # pyright: ignore[reportCallIssue]
    by_weight[id(weight)] = layer
    return layer


def _scale(weight: Tensor, groups: int, config: LatticeConfig) -> float | Tensor:
    if not isinstance(config.scale, str):
        return config.scale
    if config.levels == "uniform":
        return 1.0
    channels = config.scale == "channel"
    rows = by_channel(weight.detach(), groups) if channels else weight.detach().reshape(1, -1)
    found = best_scales(rows, config.lattice if config.readout is None else shown(config.readout))
    return found if channels else float(found)


def shown(readout: Stair) -> Lattice:
    """The visible levels. Raises InputError if they are not equally spaced."""
    low, high, size = readout.levels[0], readout.levels[-1], len(readout.levels)
    lattice = Lattice.uniform(low, high, size)
    require(
        bool(np.allclose(lattice.levels, readout.levels, rtol=0, atol=1e-9 * (high - low))),
        "the scale of a layer or channel is found for levels that are equally spaced; give a scale "
        f"as a number for the levels {readout.levels}",
    )
    return lattice


def _stretch(readout: Stair | None) -> float:
    """By what real weights are multiplied so that the readout of the level nearest to them is the
    visible level nearest to them: the last threshold over the middle of the last two levels."""
    if readout is None:
        return 1.0
    middle = 0.5 * (readout.levels[-2] + readout.levels[-1])
    return readout.thresholds[-1] / middle if middle and readout.thresholds[-1] else 1.0
