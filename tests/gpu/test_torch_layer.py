"""Layers and optimiser of torch on the pretended GPU: operators' CUDA side, with the host's memory.

The launcher is the real one. What torch itself would do on a GPU is done on the CPU.
"""

from __future__ import annotations

import copy
import ctypes
import warnings
from types import SimpleNamespace

import pytest
import torch

from qcuda.kernels import abi, decoding, ops, scalars, words
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
    "scalars_": scalars._scalars_cuda,
    "squares_": scalars._squares_cuda,
    "decode": decoding._decode_cuda,
    "words": words._words_cuda,
}


CASES = (
    ("adam", "bfloat16", TERNARY),
    ("momentum", "float32", SIXTEEN),
    ("normalised over a layer", "float32", TERNARY),
    ("normalised over a neuron", "int8", SIXTEEN),
)


@pytest.fixture
def current(launcher, monkeypatch):
    """The operators compute by the launcher; what is given is torch's current stream."""
    stream = SimpleNamespace(cuda_stream=0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: stream)
    for module in (decoding, ops, scalars, words):
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


def kept_by(optimizer):
    return [
        (name, value.contiguous().reshape(-1).view(torch.uint8).tolist())
        for slot in optimizer.slots
        for name, value in optimizer.state[slot].items()
    ]


@pytest.fixture
def on_cpu():
    """What the CPU side makes of it, by base, moments and lattice; made before `current` is."""
    made = {}
    for case in CASES:
        model = small_net(case[-1])
        optimizer = train(model, *case)
        made[case] = states(model), optimizer.moved.tolist(), kept_by(optimizer)
    return made


def test_training_by_the_cuda_side_has_the_cpus_bits(on_cpu, current, machine):
    before = machine.launches()
    for case, (kept, moved, moments) in on_cpu.items():
        model = small_net(case[-1])
        optimizer = train(model, *case)
        assert states(model) == kept and optimizer.moved.tolist() == moved
        assert kept_by(optimizer) == moments
        assert sum(moved) > 50
    assert machine.launches() - before > 30


@pytest.mark.parametrize(
    ("base", "moments"), [("adam", "float32"), ("normalised over a neuron", "int8")]
)
def test_a_captured_step_is_replayed_as_the_next(base, moments, current, machine, monkeypatch):
    """The graph has its own iterations, scalars and words: three replays are three steps."""
    pool = []  # torch's for a graph, which keeps what was allocated in its capture

    def keep(module, name):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args: pool.append(real(*args)) or pool[-1])

    for module, name in ((ops, "memory"), (scalars, "memory"), (scalars, "gains")):
        keep(module, name)
    eager = small_net()
    loss_of(eager, CPU).backward()
    model = copy.deepcopy(eager)
    copy_gradients(eager, model)
    optimizers = [optimizer_of(m, base, moments) for m in (eager, model)]
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
    assert kept_by(optimizers[0]) == kept_by(optimizers[1])
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
    assert sizes == [-(-(ctypes.sizeof(abi.Tensor) + 4) * len(lattice_layers(model)) // 8) * 8]
