"""Layers and optimiser of torch on the pretended GPU: operators' CUDA side, with the host's memory.

The launcher is the real one. What torch itself would do on a GPU is done on the CPU.
"""

from __future__ import annotations

import copy
import warnings
from types import SimpleNamespace

import pytest
import torch

from qcuda.kernels import decoding, ops, words
from qcuda.nn import lattice_layers
from qcuda.validate.device.nets import (
    SIXTEEN,
    TERNARY,
    copy_gradients,
    loss_of,
    optimizer_of,
    small_net,
    states,
)

CPU = torch.device("cpu")
CUDA_SIDES = {
    "step_": ops._step_cuda,
    "scalars_": ops._scalars_cuda,
    "decode": decoding._decode_cuda,
    "words": words._words_cuda,
}


@pytest.fixture
def current(launcher, monkeypatch):
    """The operators compute by the launcher; what is given is torch's current stream."""
    stream = SimpleNamespace(cuda_stream=0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: stream)
    for module in (decoding, ops, words):
        monkeypatch.setattr(module, "launcher", lambda _: launcher)
    monkeypatch.setitem(decoding.SIDES, "cpu", decoding._decode_cuda)
    library = torch.library.Library("qtheory", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that an operator has two forms
        for name, function in CUDA_SIDES.items():
            library.impl(name, function, "CPU", allow_override=True)
    yield stream
    library._destroy()


def train(model, base, moments, lattice, steps=3):
    optimizer = optimizer_of(model, base, moments, lattice)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model, CPU).backward()
        optimizer.step()
    return optimizer


@pytest.fixture
def on_cpu():
    """What the CPU side makes of it, by base, moments and lattice; made before `current` is."""
    made = {}
    for case in (("adam", "bfloat16", TERNARY), ("momentum", "float32", SIXTEEN)):
        model = small_net(case[-1])
        optimizer = train(model, *case)
        made[case] = states(model), optimizer.moved.tolist()
    return made


def test_training_by_the_cuda_side_has_the_cpus_bits(on_cpu, current, machine):
    before = machine.launches()
    for case, (kept, moved) in on_cpu.items():
        model = small_net(case[-1])
        optimizer = train(model, *case)
        assert states(model) == kept and optimizer.moved.tolist() == moved
        assert sum(moved) > 50
    assert machine.launches() - before > 30


def test_a_captured_step_is_replayed_as_the_next(current, machine, monkeypatch):
    """The graph has its own iterations, scalars and words: three replays are three steps."""
    pool, real = [], ops._memory

    def kept(size, device):  # torch's pool for a graph keeps what was allocated in its capture
        pool.append(real(size, device))
        return pool[-1]

    monkeypatch.setattr(ops, "_memory", kept)
    eager = small_net()
    loss_of(eager, CPU).backward()
    model = copy.deepcopy(eager)
    copy_gradients(eager, model)
    optimizers = [optimizer_of(m) for m in (eager, model)]
    for optimizer in optimizers:
        optimizer.step()  # moments are made, kernels loaded, numbers sent

    def work(stream):
        current.cuda_stream = stream
        optimizers[1].step()

    replay = machine.capture(work)
    current.cuda_stream = 0
    for _ in range(3):
        optimizers[0].step()
        replay()
        assert states(eager) == states(model)
    assert optimizers[0].moved.tolist() == optimizers[1].moved.tolist()
    assert sum(optimizers[0].moved.tolist()) > 300


def test_work_memory_is_torchs(current, launcher, monkeypatch):
    sizes, real = [], torch.empty

    def empty(*shape, **options):
        if options.get("dtype") == torch.uint8:
            sizes.append(shape[0])
        return real(*shape, **options)

    model = small_net()
    loss_of(model, CPU).backward()
    optimizer = optimizer_of(model)
    monkeypatch.setattr(torch, "empty", empty)
    for _ in range(3):
        optimizer.step()
    assert sizes == [-(-68 * len(lattice_layers(model)) // 8) * 8]
