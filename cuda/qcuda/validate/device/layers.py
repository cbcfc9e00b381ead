"""Stages: layers, optimiser and torch's own tools around them, on one device."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterable
from itertools import product
from typing import Any, get_args

import torch

from qcuda.nn import BatchStair, MultiStep, lattice_layers
from qcuda.nn.activations import Window
from qcuda.validate.device.card import Card
from qcuda.validate.device.nets import (
    BASES,
    MOMENTS,
    NORMALISED,
    RULE,
    RULES,
    SIXTEEN,
    TERNARY,
    copy_gradients,
    expect,
    expect_equal_kept,
    expect_equal_states,
    loss_of,
    optimizer_of,
    small_net,
    states,
    twins,
)
from qtheory import Lattice


def updates(card: Card) -> dict[str, Any]:
    """Every walker, base, storage and type of moments: three steps, given the CPU's gradients."""
    made, moved = _equal_steps(card, product(RULES, (TERNARY, SIXTEEN), BASES, MOMENTS))
    return {"cases": made, "moves": moved}


def normalised(card: Card) -> dict[str, Any]:
    """Gradients over their running rms, of layers and neurons, with moments in int8 too."""
    kinds = product((RULE,), (TERNARY, SIXTEEN), NORMALISED, (*MOMENTS, "int8"))
    made, moved = _equal_steps(card, kinds)
    return {"cases": made, "moves": moved}


def _equal_steps(card: Card, kinds: Iterable[tuple[str, Lattice, str, str]]) -> tuple[int, int]:
    """Three steps of each rule, lattice, base and type of moments: how many cases, and moves."""
    made, moved = 0, 0
    for rule, lattice, base, moments in kinds:
        ours, theirs = twins(card.device, lattice)
        optimizers = [optimizer_of(m, base, moments, lattice, rule) for m in (ours, theirs)]
        for _ in range(3):
            ours.zero_grad()
            loss_of(ours, torch.device("cpu")).backward()
            copy_gradients(ours, theirs)
            for optimizer in optimizers:
                optimizer.step()
        case = f"{rule}, {base}, {moments} moments, {lattice.size} levels"
        expect_equal_states(ours, theirs, f"after {case}")
        counts = [optimizer.moved.cpu().tolist() for optimizer in optimizers]
        expect(counts[0] == counts[1], f"equal counts of moves by {case}, got {counts}")
        made, moved = made + 1, moved + sum(counts[0])
        expect_equal_kept(optimizers[0], optimizers[1], f"after {case}")
    expect(moved > 1000, f"many weights move, got {moved}")
    return made, moved


def visible_weights(card: Card) -> dict[str, Any]:
    """Decoded weights are the CPU's in every type, plain and in channels_last."""
    made = 0
    for lattice in (TERNARY, SIXTEEN):
        for kind in (torch.float32, torch.bfloat16, torch.float16):
            for layout in (torch.contiguous_format, torch.channels_last):
                ours, theirs = (m.to(kind) for m in twins(card.device, lattice))
                theirs = theirs.to(memory_format=layout)  # pyright: ignore
                pairs = zip(
                    lattice_layers(ours).values(), lattice_layers(theirs).values(), strict=True
                )
                for one, other in pairs:
                    expect(
                        torch.equal(one.weight, other.weight.cpu()),
                        f"equal weights of {kind}, {layout}",
                    )
                    made += 1
    return {"weights": made}


def activations(card: Card) -> dict[str, Any]:
    """Levels and slopes of stairs are the CPU's, bit for bit, in every type and order of memory."""
    made = 0
    kinds = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
    layouts = (torch.contiguous_format, torch.channels_last)
    windows: tuple[Window, ...] = get_args(Window)
    for order, window, kind, layout in product((0, 1, 2, 3, 5), windows, kinds, layouts):
        found = []
        for device in (torch.device("cpu"), card.device):
            module = MultiStep(order, half_width=0.6, window=window).to(device)
            generator = torch.Generator().manual_seed(order)
            x, gradient = (torch.randn(3, 67, 33, 5, generator=generator) for _ in range(2))
            x = x.to(device, kind, memory_format=layout).requires_grad_()
            out = module(x)
            out.backward(gradient.to(device, kind))
            assert x.grad is not None
            found.append([out.detach().cpu(), x.grad.cpu()])
        expect(
            all(map(torch.equal, *found)),
            f"equal levels and slopes of order {order}, {window}, {kind}, {layout}",
        )
        made += 1
    return {"cases": made}


def batch_norms(card: Card) -> dict[str, Any]:
    """Batch norm and a stair in one: outputs, gradients and running numbers are the CPU's bits."""
    made = 0
    kinds = (torch.float32, torch.bfloat16, torch.float16)
    layouts = (torch.contiguous_format, torch.channels_last)
    shapes = ((3, 67, 33, 5), (4, 5, 70, 90), (130, 20, 3, 1))
    for order, shape, kind, layout in product((0, 1, 2), shapes, kinds, layouts):
        found = []
        for device in (torch.device("cpu"), card.device):
            module = BatchStair(torch.nn.BatchNorm2d(shape[1]), MultiStep(order)).to(device)
            generator = torch.Generator().manual_seed(order)
            x, gradient = (torch.randn(shape, generator=generator) for _ in range(2))
            for training in (True, False):
                at = x.to(device, kind, memory_format=layout).requires_grad_()
                module.zero_grad()
                out = module.train(training)(at)
                out.backward(gradient.to(device, kind))
                slopes = [tensor.grad for tensor in (at, *module.parameters())]
                tensors = (out.detach(), *slopes, *module.norm.buffers())
                found.append([t.cpu().clone() for t in tensors if t is not None])
        for ours, theirs in zip(found[:2], found[2:], strict=True):
            expect(
                len(ours) == 7 and all(map(torch.equal, ours, theirs)),
                f"equal bits behind batch norm of order {order}, {shape}, {kind}, {layout}",
            )
            made += 1
    return {"cases": made}


def save_and_load(card: Card) -> dict[str, Any]:
    """A checkpoint of the device continues on it with the same bits, and its weights on the CPU."""
    model = small_net().to(card.device)
    optimizer = optimizer_of(model)

    def go(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss_of(model, card.device).backward()
            optimizer.step()

    go(model, optimizer, 2)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    kept = torch.load(file, weights_only=True, map_location="cpu")
    again = small_net().to(card.device)
    again.load_state_dict(kept["model"])
    on_cpu = small_net()
    on_cpu.load_state_dict(kept["model"])
    expect_equal_states(model, on_cpu, "of a checkpoint on the CPU")
    other = optimizer_of(again)
    other.load_state_dict(kept["optimizer"])
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    for params in (model.parameters(), again.parameters()):
        for param, gradient in zip(params, gradients, strict=True):
            param.grad = gradient.clone()
    optimizer.step()
    other.step()
    expect_equal_states(model, again, "a step after loading")
    return {"bytes": file.getbuffer().nbytes}


def autocast(card: Card) -> dict[str, Any]:
    """bfloat16, and the type that autocast takes by default on this device."""
    seen = {}
    for asked in (torch.bfloat16, None):
        model = small_net().to(card.device)
        optimizer = optimizer_of(model)
        before = states(model)
        with torch.autocast(card.device.type, dtype=asked):
            layer = next(iter(lattice_layers(model).values()))
            kind = layer.weight.dtype
            loss = loss_of(model, card.device)
        loss.backward()
        optimizer.step()
        expect(bool(loss.isfinite()), f"a finite loss under autocast, got {loss.item()}")
        expect(states(model) != before, f"weights move under autocast to {kind}")
        seen[str(asked)] = str(kind)
    return seen


def gradient_scaler(card: Card) -> dict[str, Any]:
    """A step with an infinity changes nothing; the next one trains."""
    model = small_net().to(card.device)
    optimizer = optimizer_of(model)
    scaler = torch.amp.GradScaler(card.device.type, init_scale=2.0**10)
    changed = []
    for poison in (False, True, False):
        before = states(model)
        optimizer.zero_grad()
        scaler.scale(loss_of(model, card.device)).backward()
        if poison:
            for param in model.parameters():
                assert param.grad is not None
                param.grad[(0,) * param.dim()] = float("inf")
        scaler.step(optimizer)
        scaler.update()
        changed.append(states(model) != before)
    expect(changed == [True, False, True], f"the second step changes nothing, got {changed}")
    expect(scaler.get_scale() == 2.0**9, f"the scale is halved once, got {scaler.get_scale()}")
    return {"scale": scaler.get_scale()}


def compiled(card: Card) -> dict[str, Any]:
    """One graph, forward and backward; its states are the eager ones, given equal gradients."""
    return _compiled(card, "default")


def compiled_with_graphs(card: Card) -> dict[str, Any]:
    """Under mode="reduce-overhead", which replays CUDA graphs."""
    return _compiled(card, "reduce-overhead")


def _compiled(card: Card, mode: str) -> dict[str, Any]:
    torch._dynamo.reset()
    eager = small_net().to(card.device)
    model = copy.deepcopy(eager)
    backend, mode_ = ("inductor", mode) if card.real else ("aot_eager", None)
    run = torch.compile(model, fullgraph=True, backend=backend, mode=mode_)
    optimizers = [optimizer_of(m) for m in (eager, model)]
    far = 0.0
    for _ in range(3):
        for one, call, optimizer in zip((eager, model), (eager, run), optimizers, strict=True):
            optimizer.zero_grad()
            loss_of(call, card.device).backward()
            if one is model:
                far = max(far, _distance(eager, model))
                copy_gradients(eager, model)
            optimizer.step()
        expect_equal_states(eager, model, f"after a step under mode {mode}")
    expect(far < 0.5, f"gradients of the compiled network are close, got {far:.2g} of the largest")
    return {"gradients_apart": far}


def _distance(model: torch.nn.Module, other: torch.nn.Module) -> float:
    """The largest difference of gradients, in units of the largest gradient of the same tensor."""
    found = 0.0
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert one.grad is not None and two.grad is not None
        scale = max(one.grad.abs().max().item(), 1e-6)
        found = max(found, (one.grad - two.grad).abs().max().item() / scale)
    return found
