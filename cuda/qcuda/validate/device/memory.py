"""Stages: more weights than 32 bits count, and a card that torch has filled."""

from __future__ import annotations

import copy
import os
from typing import Any

import torch
from torch import Tensor

import qcuda
from qcuda.validate.device.card import Card
from qcuda.validate.device.nets import (
    TERNARY,
    NotRun,
    expect,
    expect_equal_states,
    loss_of,
    optimizer_of,
    small_net,
)

LEFT = 2**22  # bytes of a full card that torch has not
PIECE = 2**24


def large(card: Card) -> dict[str, Any]:
    """2**31 + 9 weights in one tensor, bfloat16 gradients and moments: equal to the CPU's."""
    count = 2**31 + 9 if card.real else 2**20 + 9
    needed = 16 * count  # two copies of a gradient and a moment of two bytes, and then some
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if free < needed:
        raise NotRun(f"{needed >> 30} GB of free host memory are needed, there are {free >> 30}")
    gradient = _gradient(count, card.device)
    on_card = _momentum_step(count, gradient)
    on_cpu = _momentum_step(count, gradient.cpu())
    for name, one, other in zip(("state", "moment"), on_card, on_cpu, strict=True):
        expect(torch.equal(one.cpu(), other), f"an equal {name}, got another")
    tail = int((on_cpu[0][-250_000:] != 0).sum())
    expect(tail > 1000, f"many of the last 10**6 weights move, got {tail} changed bytes")
    return {"weights": count, "changed_bytes_of_the_last_million": tail}


def _gradient(count: int, device: torch.device) -> Tensor:
    """Numbers in -1 .. 1, made piece by piece from their places, exact in bfloat16."""
    gradient = torch.empty(count, dtype=torch.bfloat16, device=device)
    for start in range(0, count, PIECE):
        piece = gradient[start : start + PIECE]
        place = torch.arange(start, start + piece.numel(), device=device)
        piece.copy_((place * 0x9E3779B1 >> 24) % 255 / 128.0 - 127 / 128)
    return gradient


def _momentum_step(count: int, gradient: Tensor) -> tuple[Tensor, Tensor]:
    layer = qcuda.nn.Linear(
        count, 1, TERNARY, bias=False, device=gradient.device, dtype=torch.bfloat16
    )
    layer.slot.grad = gradient.view(layer.slot.shape)
    optimizer = optimizer_of(layer, "momentum", "bfloat16")
    optimizer.step()
    return layer.state, optimizer.state[layer.slot]["first"].view(-1)


def full_memory(card: Card) -> dict[str, Any]:
    """An optimiser's first step where torch holds all memory: work memory comes from its cache."""
    model = small_net().to(card.device)
    twin, before = copy.deepcopy(model), copy.deepcopy(model)
    loss_of(before, card.device).backward()
    optimizer_of(before).step()  # kernels are loaded while there is room for their code
    loss_of(model, card.device).backward()
    gradients = [p.grad for p in model.parameters()]
    slack = [torch.empty(2**19, dtype=torch.uint8, device=card.device) for _ in range(16)]
    hoard = _fill(card) if card.real else []
    del slack  # is in torch's cache now
    optimizer = optimizer_of(model)
    optimizer.step()
    card.synchronize()
    filled = sum(piece.numel() for piece in hoard)
    del hoard
    for param, gradient in zip(twin.parameters(), gradients, strict=True):
        param.grad = gradient
    optimizer_of(twin).step()
    expect_equal_states(model, twin, "of a step on a full card")
    return {"filled_bytes": filled}


def _fill(card: Card) -> list[Tensor]:
    hoard, size = [], 2**30
    while size >= 2**21:
        if torch.cuda.mem_get_info(card.device)[0] < LEFT + size:
            size //= 2
            continue
        hoard.append(torch.empty(size, dtype=torch.uint8, device=card.device))
    return hoard
