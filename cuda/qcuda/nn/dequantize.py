"""The plain float twin of a discrete network, for inference and export."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from qcuda.nn.activations import NoisyStair
from qcuda.nn.attention import WEIGHTS, MultiheadAttention
from qcuda.nn.layers import LatticeLayer
from qcuda.nn.rules import RULES, become
from qtheory.stairs.stair import Stair


class HardStair(nn.Module):
    """A stair without noise, of plain torch operators: what a NoisyStair is in evaluation.

    mean: what is subtracted first, in float32 or wider; None computes in the type of the input.
    mirrored: the stair is given for x >= 0, and stands for sign(x) q(|x|).
    """

    def __init__(self, stair: Stair, mean: float | None, mirrored: bool) -> None:
        super().__init__()
        self.levels: list[float] = [float(level) for level in stair.levels]
        self.thresholds: list[float] = [float(t) for t in stair.thresholds]
        self.up: list[bool] = [
            stair.tie == "up" or (stair.tie == "away" and t >= 0) for t in stair.thresholds
        ]
        self.mean, self.mirrored = mean, mirrored

    def forward(self, input: Tensor) -> Tensor:
        """The level of each element, NaN where it is NaN."""
        x = input
        if self.mean is not None:
            x = input.to(torch.float64 if input.dtype == torch.float64 else torch.float32)
            x = x - self.mean
        at = x.abs() if self.mirrored else x
        out = torch.full_like(at, self.levels[0])
        for i, t in enumerate(self.thresholds):
            above = at >= t if self.up[i] else at > t
            out = torch.where(above, torch.full_like(at, self.levels[i + 1]), out)
        out = out * x.sign() if self.mirrored else out
        return torch.where(x.isnan(), x, out).to(input.dtype)


def dequantize(model: nn.Module) -> nn.Module:
    """A copy of a model with torch's own layers in place of lattice layers, for inference.

    Its weights are the visible ones, so that outputs are equal, bit for bit on one machine with the
    same number of threads, in evaluation. Its state_dict has torch's names, and it needs no qcuda:
    every exporter takes it. Stairs become what they are in evaluation. Hooks, biases, attributes,
    mode, `requires_grad` and shared weights are as in the model, which is not changed.

    Raises ValueError if a code is off its lattice.
    """
    twin = copy.deepcopy(model)
    shared: dict[int, nn.Parameter] = {}
    attentions = [m for m in twin.modules() if isinstance(m, MultiheadAttention)]
    for module in attentions:
        become(module, _plain_attention(module, shared))
    for module in list(twin.modules()):
        if isinstance(module, LatticeLayer):
            become(module, _plain(module, shared))
        elif isinstance(module, NoisyStair):
            become(module, _plain_stair(module))
    return twin


def _weight(layer: LatticeLayer, shared: dict[int, nn.Parameter]) -> nn.Parameter:
    """The visible weight as a parameter, one for all layers that share a slot."""
    slot = layer.slot
    if id(slot) not in shared:
        with torch.no_grad(), torch.autocast(layer.state.device.type, enabled=False):
            shared[id(slot)] = nn.Parameter(layer.weight.detach(), slot.requires_grad)
    return shared[id(slot)]


def _plain(layer: LatticeLayer, shared: dict[int, nn.Parameter]) -> nn.Module:
    kind = next(kind for kind, rule in RULES.items() if rule.layer is type(layer))
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
    mean = None if stair.odd else float(stair.mean.detach())
    return HardStair(stair.stair, mean, stair.odd and stair.stair.levels[0] == 0)
