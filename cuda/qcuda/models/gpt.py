"""A transformer that foretells the next token, as GPT-2 [radford2019] with smaller parts.

Norms are of the root mean square, before attention and before two linear layers, whose activation
is the square of ReLU; nothing has a bias, and what is learned of a place is added to the embedding.
Linear layers are the only ones with quantised weights unless `first` and `last` say otherwise.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qcuda.errors import require
from qcuda.models.config import GPT
from qcuda.models.weights import MakeActivation, MakeWeight, of_kind


class SquaredReLU(nn.Module):
    """max(0, x)^2."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.relu().square()


class Block(nn.Module):
    """Attention to earlier tokens, then two linear layers; each is added to its inputs."""

    def __init__(self, width: int, heads: int, weight: MakeWeight, active: nn.Module) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attend = weight((3 * width, width), scaled=True)
        self.project = weight((width, width), scaled=True)
        self.widen = weight((4 * width, width), scaled=True)
        self.active = active
        self.narrow = weight((width, 4 * width), scaled=True)

    def forward(self, inputs: Tensor) -> Tensor:
        mixed = self.attend(self.norm1(inputs)).unflatten(-1, (3, self.heads, -1))
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = inputs + self.project(seen.transpose(1, 2).flatten(2))
        return x + self.narrow(self.active(self.widen(self.norm2(x))))


class Transformer(nn.Module):
    """(n, length) tokens to (n, length, tokens) scores of the next; a length may be shorter."""

    def __init__(
        self,
        config: GPT,
        length: int,
        tokens: int,
        weight: MakeWeight,
        activation: MakeActivation,
    ) -> None:
        super().__init__()
        width, self.tokens = config.width, tokens
        self.embedding = of_kind(config.first, weight)((width, tokens))
        self.place = nn.Parameter(torch.zeros(length, width))
        self.norm1 = nn.RMSNorm(width)
        self.blocks = nn.Sequential()
        for _ in range(config.blocks):
            active = SquaredReLU() if config.inner == "real" else activation()
            self.blocks.append(Block(width, config.heads, weight, active))
        self.norm2 = nn.RMSNorm(width)
        self.last = of_kind(config.last, weight)((tokens, width), scaled=True)

    def forward(self, tokens: Tensor) -> Tensor:
        require(
            not tokens.is_floating_point() and tokens.dim() == 2,
            f"a gpt takes rows of tokens, whole numbers, got {tokens.dtype} in {tokens.dim()} "
            "dimensions",
        )
        one_hot = F.one_hot(tokens, self.tokens).to(self.place.dtype)
        x = self.norm1(self.embedding(one_hot)) + self.place[: tokens.shape[1]]
        return self.last(self.norm2(self.blocks(x)))


def network(
    config: GPT,
    shape: tuple[int, ...],
    classes: int,
    weight: MakeWeight,
    activation: MakeActivation,
) -> Transformer:
    """shape: the greatest number of tokens in a row. classes: how many tokens there are.

    Raises InputError if examples are no rows.
    """
    require(len(shape) == 1, f"a gpt takes rows of tokens, got examples of the shape {shape}")
    return Transformer(config, shape[0], classes, weight, activation)
