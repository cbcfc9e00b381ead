"""The linear layer with a lattice weight."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from qcuda.kernels.abi import Storage
from qcuda.nn.layers import LatticeLayer
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair


class Linear(LatticeLayer):
    """torch.nn.Linear with a lattice weight of shape (out_features, in_features).

    There is no bias unless it is asked for. Other arguments are those of LatticeLayer.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        lattice: Lattice,
        *,
        bias: bool = False,
        scale: float | Tensor = 1.0,
        storage: Storage | None = None,
        readout: Stair | None = None,
        gradient_dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            (out_features, in_features), lattice, outputs=out_features, bias=bias, scale=scale,
            storage=storage, readout=readout, gradient_dtype=gradient_dtype,
            device=device, dtype=dtype,
        )  # fmt: skip
        self.in_features, self.out_features = in_features, out_features

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        weight = self.weight
        with self._keeping(weight):
            return F.linear(input, weight, self.bias)

    def extra_repr(self) -> str:
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}, {super().extra_repr()}"
