"""A step is all or nothing: after an error every byte is as before, and a retry moves once."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import qcuda
from qcuda.errors import BackendUnavailable
from qcuda.kernels import ops
from qtheory import DST, Lattice
from qtheory.optimisers import SGD, Adam, Momentum

TERNARY = Lattice.ternary()
BASES = [SGD(0.4), Momentum(0.4), Adam(0.4)]


def network() -> nn.ModuleList:
    """Two lattice layers, then an embedding whose gradient may be sparse, and a real layer."""
    torch.manual_seed(0)
    layers = [qcuda.nn.Linear(6, 5, TERNARY, bias=False) for _ in range(2)]
    model = nn.ModuleList([*layers, nn.Embedding(4, 3, sparse=True), nn.Linear(3, 2)])
    qcuda.nn.draw_levels(model, 1)
    return model


def optimizer_of(model: nn.ModuleList, base) -> qcuda.LatticeOptimizer:
    groups = [{"params": part.parameters()} for part in model]
    return qcuda.LatticeOptimizer(groups, DST(TERNARY), base=base, seed=3)


def fill(model: nn.ModuleList) -> None:
    generator = torch.Generator().manual_seed(5)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=generator)


def snapshot(model: nn.ModuleList, optimizer: qcuda.LatticeOptimizer) -> str:
    """All that a step may change."""
    torch.set_printoptions(precision=17, threshold=10**6)
    saved = optimizer.state_dict()
    kept = sorted((n, sorted((k, str(v)) for k, v in s.items())) for n, s in saved["state"].items())
    return str([{k: v.tolist() for k, v in dict(model.state_dict()).items()
                 if isinstance(v, torch.Tensor)}, kept, saved["param_groups"]])  # fmt: skip


def sparse(model, optimizer, monkeypatch) -> None:
    model[2](torch.tensor([1, 1])).sum().backward() if model[2].weight.grad is None else None
    model[2].weight.grad = torch.eye(4, 3).to_sparse()


def complex_gradient(model, optimizer, monkeypatch) -> None:
    model[1].slot.grad_dtype = None
    model[1].slot.grad = torch.zeros(5, 6, dtype=torch.complex64)


def another_shape(model, optimizer, monkeypatch) -> None:
    model[1].slot.grad = None
    monkeypatch.setattr(type(model[1].slot), "grad", property(lambda self: torch.ones(6, 5)))


def bad_number(model, optimizer, monkeypatch) -> None:
    optimizer.param_groups[3]["lr"] = float("nan")


def late_iteration(model, optimizer, monkeypatch) -> None:
    optimizer.param_groups[3]["iteration"] = 2**32


def decay_of_lattice_weights(model, optimizer, monkeypatch) -> None:
    optimizer.param_groups[1]["weight_decay"] = 0.1


def moment_of_another_shape(model, optimizer, monkeypatch) -> None:
    optimizer.state[model[3].weight] = {"first": torch.zeros(7), "second": torch.zeros(7),
                                        "step": torch.zeros(())}  # fmt: skip


def no_kernels(model, optimizer, monkeypatch) -> None:
    def missing() -> None:
        raise BackendUnavailable("the CPU kernels were not built")

    # For moves alone: what begins an iteration is found, and must not have begun.
    ops._prepare.cache_clear()
    monkeypatch.setattr(ops, "native", SimpleNamespace(**(vars(ops.native) | {"library": missing})))


def another_lattice(model, optimizer, monkeypatch) -> None:
    model[1].lattice = Lattice.ternary(0.5)


ERRORS: dict[str, tuple[Callable, str]] = {
    "a sparse gradient": (sparse, r"a gradient is dense, got torch.sparse_coo for parameter 0"),
    "a complex gradient": (complex_gradient, "read as float32, got torch.complex64"),
    "a gradient of another shape": (another_shape, r"weight's shape, \(5, 6\), got \(6, 5\)"),
    "a learning rate": (bad_number, "learning rate is finite and >= 0, got nan"),
    "an iteration": (late_iteration, "an iteration is in 0..4294967294, got 4294967296"),
    "decay of lattice weights": (decay_of_lattice_weights, "got 0.1 in a group with 1 of them"),
    "a state of another shape": (moment_of_another_shape, r"\(2, 3\) on cpu, got \(7,\) on cpu"),
    "missing kernels": (no_kernels, "the CPU kernels were not built"),
    "another lattice": (another_lattice, "a layer has the spec's lattice"),
}


@pytest.mark.parametrize("base", BASES, ids=lambda b: type(b).__name__)
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_in_the_last_group_changes_nothing_in_the_first(name, base, monkeypatch):
    """Before the first step of all, when moments would be made, and after it."""
    spoil, message = ERRORS[name]
    for steps in (0, 1):
        model = network()
        optimizer = optimizer_of(model, base)
        for _ in range(steps):
            fill(model)
            optimizer.step()
        before = snapshot(model, optimizer)
        fill(model)
        with monkeypatch.context() as patch:
            spoil(model, optimizer, patch)
            groups = [dict(g) for g in optimizer.param_groups]
            if name == "a state of another shape" and isinstance(base, SGD):
                optimizer.state[model[3].weight] = {"first": torch.zeros(7)}
            with pytest.raises((ValueError, BackendUnavailable), match=message):
                optimizer.step()
            with pytest.raises((ValueError, BackendUnavailable), match=message):
                optimizer.step()
        ops._prepare.cache_clear()
        for group, old in zip(optimizer.param_groups, groups, strict=True):
            assert int(group["iteration"]) in (steps, 2**32)
            assert group["lr"] is old["lr"]
        # What was spoilt is mended, and the retry is the first step.
        model[1].lattice = TERNARY
        model[1].slot.grad = None
        model[1].slot.grad_dtype = torch.float32
        for k, group in enumerate(optimizer.param_groups):
            group.update(lr=base.learning_rate, iteration=steps, weight_decay=0.0)
            assert k >= 0
        if name == "a state of another shape":
            del optimizer.state[model[3].weight]
        else:
            assert snapshot(model, optimizer) == before
        twin = network()
        other = optimizer_of(twin, base)
        for _ in range(steps + 1):
            fill(twin)
            other.step()
        fill(model)
        optimizer.step()
        for mine, theirs in zip(model[:2], twin[:2], strict=True):
            assert torch.equal(mine.state, theirs.state)
        assert optimizer.moved.tolist() == other.moved.tolist() != [0, 0]


def test_a_closure_that_raises_changes_nothing():
    model = network()
    optimizer = optimizer_of(model, Adam(0.4))
    fill(model)
    before = snapshot(model, optimizer)

    def closure():
        raise RuntimeError("no loss")

    with pytest.raises(RuntimeError, match="no loss"):
        optimizer.step(closure)
    assert snapshot(model, optimizer) == before


def test_a_slot_without_its_layer_is_refused():
    layer = qcuda.nn.Linear(3, 2, TERNARY)
    optimizer = qcuda.LatticeOptimizer(layer.parameters(), DST(TERNARY))
    slot = layer.slot
    slot.grad = torch.ones(2, 3)
    del layer
    with pytest.raises(ReferenceError, match="the layer of a gradient slot exists as long as"):
        optimizer.step()
    assert int(optimizer.param_groups[0]["iteration"]) == 0
