"""A small torch model whose latents are read, its data, and a step of training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qcuda
from qcuda.nn import set_iteration


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 8),
        nn.BatchNorm1d(8), nn.Linear(8, 3),
    )  # fmt: skip


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(5)
    return torch.randn(16, 2, 4, 4), torch.randint(0, 3, (16,))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, iteration: int) -> float:
    images, labels = batch()
    set_iteration(model, iteration)
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    qcuda.stop_latents(model)
    return loss.item()
