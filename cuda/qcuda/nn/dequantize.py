"""The plain float twin of a discrete network, for inference and export."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from qcuda.errors import require
from qcuda.nn.activations import NoisyStair
from qcuda.nn.attention import WEIGHTS, MultiheadAttention
from qcuda.nn.fused import BatchStair
from qcuda.nn.layers import LatticeLayer
from qcuda.nn.rules import RULES, become
from qtheory.stairs.stair import Stair

# What lattice layers and stairs have of their own, beside buffers and parameters.
OF_LAYERS = {
    "dtype", "shape", "lattice", "readout", "storage", "scale", "gradient_dtype", "channels_last",
    "_one", "_original", "_numbers", "_reading", "_per_channel", "frugal",
}  # fmt: skip
OF_STAIRS = {"stair", "family", "strategy", "odd", "seed", "tensor", "row"}


class HardStair(nn.Module):
    """A stair without noise, of plain torch operators: what a NoisyStair is in evaluation.

    mean: subtracted first. mirrored: the stair is given for x >= 0, and stands for sign(x) q(|x|).
    Computed in float32, or float64 for such inputs, and rounded once.
    """

    def __init__(self, stair: Stair, mean: float = 0.0, mirrored: bool = False) -> None:
        super().__init__()
        self.levels: list[float] = [float(level) for level in stair.levels]
        self.thresholds: list[float] = [float(t) for t in stair.thresholds]
        self.up: list[bool] = [stair.reaches(t) for t in stair.thresholds]
        self.mean, self.mirrored = mean, mirrored

    def forward(self, input: Tensor) -> Tensor:
        """The level of each element, NaN where it is NaN."""
        x = input.to(torch.float64 if input.dtype == torch.float64 else torch.float32)
        if self.mean != 0.0:
            x = x - self.mean
        at = x.abs() if self.mirrored else x
        out = torch.full_like(at, self.levels[0])
        for i, t in enumerate(self.thresholds):
            above = at >= t if self.up[i] else at > t
            out = torch.where(above, torch.full_like(at, self.levels[i + 1]), out)
        out = out * x.sign() if self.mirrored else out
        return torch.where(x.isnan(), x, out).to(input.dtype)


class HardBatchStair(nn.Module):
    """What a BatchStair is in evaluation on the CPU: (x - mean) gain + shift, and a hard stair.

    norm: of running statistics. Computed in float32 in this order, as BatchStair does.
    """

    def __init__(self, norm: nn.Module, stair: HardStair) -> None:
        super().__init__()
        self.norm, self.stair = norm, stair

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...) to the same shape."""
        norm = self.norm
        gain = (norm.running_var.double() + norm.eps).rsqrt().float()  # pyright: ignore
        if norm.weight is not None:
            gain = gain * norm.weight.float()  # pyright: ignore
        shape = [1, -1] + [1] * (input.dim() - 2)
        mean = norm.running_mean.float()  # pyright: ignore
        x = (input.float() - mean.reshape(shape)) * gain.reshape(shape)  # pyright: ignore
        if norm.bias is not None:
            x = x + norm.bias.float().reshape(shape)  # pyright: ignore
        return self.stair(x).to(input.dtype)


def dequantize(model: nn.Module) -> nn.Module:
    """A copy of a model with torch's own layers in place of lattice layers, for inference.

    Its weights are the visible ones, so that outputs are equal, bit for bit on one machine with the
    same number of threads, in evaluation. Its state_dict has torch's names, and it needs no qcuda:
    every exporter takes it. Stairs, also those fused with a batch norm, become what they are in
    evaluation. Hooks, biases, attributes,
    mode, `requires_grad` and shared weights are as in the model, which is not changed: weights are
    trainable where slots are, until `twin.requires_grad_(False)`, and those of a channels_last
    model lie so, which savers that want contiguous tensors refuse.

    Raises ValueError if a code is off its lattice, or a layer is of a class derived from ours.
    """
    from qcuda.memory.units import Units  # which are made of layers

    twin = copy.deepcopy(model)
    shared: dict[int, nn.Parameter] = {}
    attentions = [m for m in twin.modules() if isinstance(m, MultiheadAttention)]
    for module in attentions:
        become(module, _plain_attention(module, shared))
    for module in list(twin.modules()):
        if isinstance(module, LatticeLayer):
            become(module, _plain(module, shared), OF_LAYERS)
        elif isinstance(module, BatchStair) and module.norm.running_mean is not None:
            stair = _plain_stair(module.stair)
            become(module, HardBatchStair(module.norm, stair))
        elif isinstance(module, NoisyStair):
            become(module, _plain_stair(module), OF_STAIRS)
        elif isinstance(module, Units):
            module.__class__ = nn.Sequential  # pyright: ignore[reportAttributeAccessIssue]
    return twin


def _weight(layer: LatticeLayer, shared: dict[int, nn.Parameter]) -> nn.Parameter:
    """The visible weight as a parameter, one for all layers that share a slot."""
    slot = layer.slot
    if id(slot) not in shared:
        with torch.no_grad(), torch.autocast(layer.state.device.type, enabled=False):
            shared[id(slot)] = nn.Parameter(layer.weight.detach(), slot.requires_grad)
    return shared[id(slot)]


def _plain(layer: LatticeLayer, shared: dict[int, nn.Parameter]) -> nn.Module:
    kind = next((kind for kind, rule in RULES.items() if rule.layer is type(layer)), None)
    require(
        kind is not None,
        f"a layer with a float twin is one of qcuda.nn, got {type(layer).__name__}",
    )
    assert kind is not None
    sizes = {name: getattr(layer, name) for name in RULES[kind].arguments}
    made = kind(**sizes, device="meta")
    made.register_parameter("weight", _weight(layer, shared))
    if "bias" in made._parameters:
        made.register_parameter("bias", layer.bias)
    return made


def _plain_attention(
    attention: MultiheadAttention, shared: dict[int, nn.Parameter]
) -> nn.MultiheadAttention:
    made = nn.MultiheadAttention.__new__(nn.MultiheadAttention)
    nn.Module.__init__(made)
    for name, part in WEIGHTS.items():
        layer = attention._modules.get(part)
        weight = _weight(layer, shared) if isinstance(layer, LatticeLayer) else None
        made.register_parameter(name, weight)
    for name, parameter in attention._parameters.items():
        made.register_parameter(name, parameter)
    made.out_proj = attention.out_proj
    return made


def _plain_stair(stair: NoisyStair) -> HardStair:
    half = stair.odd and stair.stair.levels[0] == 0
    return HardStair(stair.stair, float(stair.mean.detach()), half)
