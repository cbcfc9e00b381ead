"""Multi-head attention whose projections have lattice weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from qcuda.nn.layers import LatticeLayer

WEIGHTS = {f"{name}_weight": name for name in ("in_proj", "q_proj", "k_proj", "v_proj")}
"""torch's name of each weight, and that of its projection here."""


class MultiheadAttention(nn.MultiheadAttention):
    """torch.nn.MultiheadAttention with projections on a lattice; the forward pass is torch's.

    attention: whose sizes, biases and output projection it takes over. projections: `in_proj`, one
    layer for queries, keys and values; or `q_proj`, `k_proj` and `v_proj`, if kdim or vdim is not
    embed_dim. torch's names of the weights (`in_proj_weight`, ...) give the visible ones, so that
    torch's fast path in evaluation computes with them.
    """

    def __init__(
        self, attention: nn.MultiheadAttention, projections: Mapping[str, LatticeLayer]
    ) -> None:
        nn.Module.__init__(self)
        own = vars(self)
        own |= {name: value for name, value in vars(attention).items() if name not in own}
        for name, value in attention._parameters.items():
            if name not in WEIGHTS:
                self.register_parameter(name, value)
        self.out_proj = attention.out_proj
        for name, layer in projections.items():
            self.add_module(name, layer)

    def _visible(self, projection: str) -> Tensor | None:
        layer = self._modules.get(projection)
        return None if layer is None else layer.weight  # pyright: ignore[reportReturnType]

    @property
    def in_proj_weight(self) -> Tensor | None:
        """The visible weight of `in_proj`, if there is one."""
        return self._visible("in_proj")

    @property
    def q_proj_weight(self) -> Tensor | None:
        """The visible weight of `q_proj`, if there is one."""
        return self._visible("q_proj")

    @property
    def k_proj_weight(self) -> Tensor | None:
        """The visible weight of `k_proj`, if there is one."""
        return self._visible("k_proj")

    @property
    def v_proj_weight(self) -> Tensor | None:
        """The visible weight of `v_proj`, if there is one."""
        return self._visible("v_proj")
