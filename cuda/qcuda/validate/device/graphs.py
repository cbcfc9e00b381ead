"""Stages: CUDA graphs, streams and threads."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

import qcuda
from qcuda.nn import NoisyStair, lattice_layers, number_stairs, set_iteration
from qcuda.validate.device.card import Card
from qcuda.validate.device.nets import (
    copy_gradients,
    expect,
    expect_equal_states,
    loss_of,
    optimizer_of,
    small_net,
    twins,
)
from qtheory.stairs.stair import Stair


def cold_capture(card: Card) -> dict[str, Any]:
    """The first call of a process is inside a capture, after a warm-up of plain torch alone."""
    ours, theirs = twins(card.device)
    optimizers = [optimizer_of(m) for m in (ours, theirs)]
    loss_of(ours, torch.device("cpu")).backward()
    copy_gradients(ours, theirs)
    optimizers[1].send_numbers()  # no number may change in a capture
    layer = next(iter(lattice_layers(theirs).values()))
    seen = torch.empty_like(layer.slot, memory_format=torch.contiguous_format)
    x = torch.randn(64, 64, device=card.device)
    for _ in range(3):
        x = (x @ x).tanh()

    @torch.no_grad()
    def work() -> None:
        seen.copy_(layer.weight)
        optimizers[1].step()

    replay = card.capture(work)
    replay()
    weight = next(iter(lattice_layers(ours).values())).weight
    expect(torch.equal(seen.cpu(), weight), "the visible weight of a first call that was captured")
    optimizers[0].step()
    expect_equal_states(ours, theirs, "of a step whose first launch was captured")
    return {}


def captured_step(card: Card) -> dict[str, Any]:
    """Forward, backward and Adam as one graph: three replays are three eager steps."""
    eager = small_net().to(card.device)
    model = copy.deepcopy(eager)
    optimizers = [optimizer_of(m) for m in (eager, model)]

    def step(place: int) -> None:
        optimizers[place].zero_grad(set_to_none=False)
        loss_of((eager, model)[place], card.device).backward()
        optimizers[place].step()

    with card.stream():  # torch warms up what it captures on a stream of its own
        for place in (0, 1):
            step(place)
    card.synchronize()
    replay = card.capture(lambda: step(1))
    for _ in range(3):
        step(0)
        replay()
    expect_equal_states(eager, model, "after three replays")
    counts = [optimizer.moved.cpu().tolist() for optimizer in optimizers]
    expect(counts[0] == counts[1], f"equal counts of moves, got {counts}")
    return {"moves": sum(counts[0])}


def new_noise(card: Card) -> dict[str, Any]:
    """A captured random stair draws new words when it is replayed at another iteration."""
    layer = NoisyStair(Stair.multi_step(1, 0.5), forward="random", scale=0.7).to(card.device)
    model = torch.nn.Sequential(layer)
    number_stairs(model, seed=3)
    x = torch.linspace(-1, 1, 4099, device=card.device)
    out = torch.empty_like(x)

    @torch.no_grad()
    def work() -> None:
        out.copy_(model(x))

    work()
    replay = card.capture(work)
    seen = []
    plain = copy.deepcopy(model).cpu()
    for iteration in (1, 2, 1):
        set_iteration(model, iteration)
        set_iteration(plain, iteration)
        replay()
        seen.append(out.cpu().clone())
        different = (seen[-1] != plain(x.cpu())).sum().item()
        # A cumulative probability may differ in its last bits from the CPU's: one in 2**20 words.
        expect(different <= 2, f"the CPU's draws, got {different} others of {x.numel()}")
    expect(torch.equal(seen[0], seen[2]), "equal noise at an equal iteration")
    expect(not torch.equal(seen[0], seen[1]), "other noise at another iteration")
    return {}


def nothing_waits(card: Card) -> dict[str, Any]:
    """After its first, a step of the optimiser reads nothing from the device."""
    model = small_net().to(card.device)
    optimizer = optimizer_of(model)
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(model, card.device).backward()
        optimizer.step()
    optimizer.zero_grad()
    loss_of(model, card.device).backward()
    with card.without_waiting():
        optimizer.step()
        qcuda.nn.set_iteration(model, 4)
    return {}


def streams(card: Card, rounds: int = 300) -> dict[str, Any]:
    """Steps on a stream of their own whose gradients are freed at once, and their memory used."""
    rounds = rounds if card.real else 5
    ours, theirs = twins(card.device)
    optimizers = [optimizer_of(m, "momentum") for m in (ours, theirs)]
    g = torch.Generator().manual_seed(3)
    with card.stream():
        for _ in range(rounds):
            for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
                one.grad = torch.randn(one.shape, generator=g) * 0.1
                other.grad = one.grad.to(card.device, non_blocking=False)
            for optimizer in optimizers:
                optimizer.step()
            theirs.zero_grad()
            junk = [torch.full_like(p, float("nan")) for p in theirs.parameters()]
            del junk
    expect_equal_states(ours, theirs, f"after {rounds} rounds")
    return {"rounds": rounds}


def threads(card: Card) -> dict[str, Any]:
    """Two threads train two networks on two streams, both as one thread alone does."""
    alone = small_net()
    models = [copy.deepcopy(alone).to(card.device) for _ in range(2)]
    g = torch.Generator().manual_seed(3)
    gradients = [
        [torch.randn(p.shape, generator=g) * 0.1 for p in alone.parameters()] for _ in range(20)
    ]

    def train(model: torch.nn.Module) -> None:
        optimizer = optimizer_of(model)
        device = next(model.parameters()).device
        with card.stream():
            for row in gradients:
                for param, gradient in zip(model.parameters(), row, strict=True):
                    param.grad = gradient.to(device)
                optimizer.step()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(train, models))
    train(alone)
    for model in models:
        expect_equal_states(alone, model, "of two threads")
    return {}
