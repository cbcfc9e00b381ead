"""The embedding with a lattice weight."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from qcuda.errors import require
from qcuda.kernels.abi import Storage
from qcuda.nn.layers import LatticeLayer
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair


class Embedding(LatticeLayer):
    """torch.nn.Embedding with a lattice weight of shape (num_embeddings, embedding_dim).

    padding_idx: a row that gets no gradient, and that `draw_levels` puts on the level 0. There is
    no `max_norm`, which would have to scale rows, and no sparse gradient. A scale for each output
    is one for each row. Other arguments are those of LatticeLayer.

    Raises ValueError if padding_idx is not a row, or no level shows 0 for it.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        lattice: Lattice,
        *,
        padding_idx: int | None = None,
        scale_grad_by_freq: bool = False,
        scale: float | Tensor = 1.0,
        storage: Storage | None = None,
        readout: Stair | None = None,
        gradient_dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            (num_embeddings, embedding_dim), lattice, outputs=num_embeddings, bias=False,
            scale=scale, storage=storage, readout=readout, gradient_dtype=gradient_dtype,
            device=device, dtype=dtype,
        )  # fmt: skip
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, False
        self.max_norm, self.norm_type = None, 2.0
        if padding_idx is not None:
            require(
                -num_embeddings <= padding_idx < num_embeddings,
                f"a padding_idx is a row of {num_embeddings}, got {padding_idx}",
            )
            require(
                bool((self._visible_levels() == 0).any()),
                f"an embedding with a padding_idx has a level 0, got {lattice}",
            )
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx

    def draw_levels(self, seed: int, tensor: int) -> None:
        """Put every weight on a level drawn uniformly, and those of padding_idx on 0."""
        super().draw_levels(seed, tensor)
        if self.padding_idx is not None:
            index = self.index
            index[self.padding_idx] = int((self._visible_levels() == 0).nonzero()[0])
            self.set_index(index)

    def forward(self, input: Tensor) -> Tensor:
        """Integers of any shape to (*shape, embedding_dim)."""
        return F.embedding(
            input, self.weight, self.padding_idx, scale_grad_by_freq=self.scale_grad_by_freq
        )

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        sizes = f"{self.num_embeddings}, {self.embedding_dim}{padding}"
        return f"{sizes}, {super().extra_repr()}"
