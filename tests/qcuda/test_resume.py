"""Saved and resumed training is uninterrupted training, bit for bit.

Hypothesis drives two runs: the twin is never saved, the other is saved, loaded into fresh
objects, taken back to old checkpoints and copied, at any point. After every action all their
bytes are equal.
"""

from __future__ import annotations

import copy
import io

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from torch import nn

import qcuda
from qtheory import DST, Lattice
from qtheory.optimisers import SGD, Adam, Momentum

BASES = [SGD(0.3), Momentum(0.2), Adam(0.1), Adam(0.05, (0.5, 0.9), 1e-3)]


class Run:
    """A model, its optimiser and a schedule."""

    def __init__(self, base, moments: str, seed: int = 3) -> None:
        self.base, self.moments, self.seed = base, moments, seed
        lattice = Lattice.ternary()
        self.model = nn.Sequential(
            qcuda.nn.Linear(6, 5, lattice),
            nn.BatchNorm1d(5),
            qcuda.nn.MultiStep(1),
            qcuda.nn.Linear(5, 3, lattice, bias=True),
        )
        qcuda.nn.draw_levels(self.model, seed)
        first, rest = list(self.model[:2].parameters()), list(self.model[2:].parameters())
        self.optimizer = qcuda.LatticeOptimizer(
            [{"params": first, "lr": 0.4}, {"params": rest, "nonlinearity": 1.5}],
            DST(lattice), base=base, seed=seed, moments=moments,
        )  # fmt: skip
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, 0.7)

    def step(self, number: int, skip: frozenset[int]) -> None:
        g = torch.Generator().manual_seed(number)
        self.optimizer.zero_grad()
        self.model(torch.randn(8, 6, generator=g)).square().mean().backward()
        for k in skip:
            list(self.model.parameters())[k].grad = None
        self.optimizer.step()

    def save(self) -> bytes:
        buffer = io.BytesIO()
        parts = (self.model, self.optimizer, self.schedule)
        torch.save([p.state_dict() for p in parts], buffer)
        return buffer.getvalue()

    def resumed(self, saved: bytes) -> Run:
        run = Run(self.base, self.moments, self.seed)
        parts = torch.load(io.BytesIO(saved), weights_only=True)
        for part, state in zip((run.model, run.optimizer, run.schedule), parts, strict=True):
            part.load_state_dict(state)
        return run

    def bytes(self) -> list:
        tensors = [t for t in self.model.state_dict().values() if isinstance(t, torch.Tensor)]
        state = self.optimizer.state_dict()
        groups = state["param_groups"]
        for number in sorted(state["state"]):
            tensors += [state["state"][number][k] for k in sorted(state["state"][number])]
        return [
            [
                (t.dtype, t.shape, t.contiguous().view(-1).view(torch.uint8).tolist())
                for t in tensors
            ],
            groups,
        ]


class Resuming(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.history: list = []
        self.checkpoints: list[tuple[bytes, int]] = []

    @initialize(base=st.sampled_from(BASES), moments=st.sampled_from(["float32", "bfloat16"]))
    def begin(self, base, moments) -> None:
        self.twin, self.run = Run(base, moments), Run(base, moments)

    def both(self, action) -> None:
        self.history.append(action)
        action(self.twin)
        action(self.run)

    @rule(number=st.integers(0, 99), skip=st.frozensets(st.integers(0, 4), max_size=3))
    def step(self, number, skip) -> None:
        self.both(lambda run: run.step(number, skip))

    @rule()
    def schedule(self) -> None:
        self.both(lambda run: run.schedule.step())

    @rule(group=st.integers(0, 1), m=st.floats(0.1, 9))
    def change_the_nonlinearity(self, group, m) -> None:
        self.both(lambda run: run.optimizer.param_groups[group].update(nonlinearity=m))

    @rule()
    def save(self) -> None:
        self.checkpoints.append((self.run.save(), len(self.history)))

    @rule()
    def save_and_load(self) -> None:
        self.run = self.run.resumed(self.run.save())

    @precondition(lambda self: self.checkpoints)
    @rule(data=st.data())
    def resume_at_an_old_checkpoint(self, data) -> None:
        saved, done = data.draw(st.sampled_from(self.checkpoints))
        self.run = self.run.resumed(saved)
        for action in self.history[done:]:
            action(self.run)

    @rule()
    def copy(self) -> None:
        self.run = copy.deepcopy(self.run)

    @invariant()
    def all_bytes_are_equal(self) -> None:
        if hasattr(self, "twin"):
            assert self.run.bytes() == self.twin.bytes()


TestResuming = Resuming.TestCase
TestResuming.settings = settings(
    derandomize=True, database=None, deadline=None, print_blob=True, max_examples=15,
    stateful_step_count=14,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")
@pytest.mark.parametrize("moments", ["float32", "bfloat16"])
@pytest.mark.parametrize("base", BASES, ids=repr)
def test_a_deep_copy_goes_on_alone(base, moments):
    """It trains as the original does, and touches nothing of it."""
    run, twin = Run(base, moments), Run(base, moments)
    for each in (run, twin):
        each.step(1, frozenset())
    twin_copy = copy.deepcopy(twin)
    before = twin.bytes()
    for each in (run, twin_copy):
        each.step(2, frozenset())
    assert run.bytes() == twin_copy.bytes()
    assert twin.bytes() == before
    assert twin_copy.optimizer.moved.tolist() == run.optimizer.moved.tolist()


@pytest.mark.parametrize("moments", ["float32", "bfloat16"])
def test_saved_tensors_have_their_own_types(moments):
    """torch would cast them to the parameter's: a checkpoint says bfloat16, uint8, int8."""
    run = Run(Adam(0.1), moments)
    run.step(1, frozenset())
    model, optimizer, _ = torch.load(io.BytesIO(run.save()), weights_only=True)
    assert model["0.state"].dtype == torch.uint8
    assert not any("slot" in key for key in model)
    assert optimizer["state"][0]["first"].dtype == getattr(torch, moments)
    assert optimizer["param_groups"][0]["iteration"] == 1
    fresh = run.resumed(run.save())
    assert fresh.optimizer.state[fresh.model[0].slot]["second"].dtype == getattr(torch, moments)


def test_a_loaded_state_is_a_copy():
    run = Run(Adam(0.1), "float32")
    run.step(1, frozenset())
    state = copy.deepcopy(run.optimizer.state_dict())
    fresh = Run(Adam(0.1), "float32")
    fresh.optimizer.load_state_dict(state)
    kept = state["state"][0]["first"].clone()
    fresh.step(2, frozenset())
    assert torch.equal(state["state"][0]["first"], kept)
