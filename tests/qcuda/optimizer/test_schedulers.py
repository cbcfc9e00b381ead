"""Every scheduler of torch: the rates that torch's own optimiser has, saved and loaded."""

from __future__ import annotations

import io
import warnings

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as torch_schedules

import qcuda
from qtheory import DST, Lattice
from qtheory.optimisers import Adam, Momentum

TERNARY = Lattice.ternary()
SCHEDULES = {
    "LambdaLR": lambda o: torch_schedules.LambdaLR(o, lambda k: 0.9**k),
    "MultiplicativeLR": lambda o: torch_schedules.MultiplicativeLR(o, lambda k: 0.8),
    "StepLR": lambda o: torch_schedules.StepLR(o, 2),
    "MultiStepLR": lambda o: torch_schedules.MultiStepLR(o, [2, 4]),
    "ConstantLR": lambda o: torch_schedules.ConstantLR(o, 0.5, 3),
    "LinearLR": lambda o: torch_schedules.LinearLR(o, 0.1, total_iters=4),
    "ExponentialLR": lambda o: torch_schedules.ExponentialLR(o, 0.7),
    "PolynomialLR": lambda o: torch_schedules.PolynomialLR(o, 8),
    "CosineAnnealingLR": lambda o: torch_schedules.CosineAnnealingLR(o, 6),
    "CosineAnnealingWarmRestarts": lambda o: torch_schedules.CosineAnnealingWarmRestarts(o, 3),
    "CyclicLR": lambda o: torch_schedules.CyclicLR(o, 0.1, 0.6, step_size_up=2),
    "OneCycleLR": lambda o: torch_schedules.OneCycleLR(o, 0.6, total_steps=12),
    "ReduceLROnPlateau": lambda o: torch_schedules.ReduceLROnPlateau(o, patience=0),
    "ChainedScheduler": lambda o: torch_schedules.ChainedScheduler(
        [torch_schedules.ConstantLR(o, 0.5, 3), torch_schedules.ExponentialLR(o, 0.9)]
    ),
    "SequentialLR": lambda o: torch_schedules.SequentialLR(
        o, [torch_schedules.ConstantLR(o, 0.5, 3), torch_schedules.ExponentialLR(o, 0.9)], [3]
    ),
    "SWALR": lambda o: torch.optim.swa_utils.SWALR(o, 0.05, 3),
}


def test_every_scheduler_of_torch_is_here():
    names = {name for name in torch_schedules.__all__ if name != "LRScheduler"}
    assert names <= set(SCHEDULES)


def pair(base):
    """Ours on a lattice layer, and torch's on a parameter that never moves."""
    layer = qcuda.nn.Linear(20, 3, TERNARY, bias=False)
    layer.draw_levels(1, 0)
    ours = qcuda.LatticeOptimizer(layer.parameters(), DST(TERNARY), base=base, seed=4)
    spare = nn.Parameter(torch.zeros(2))
    spare.grad = torch.zeros(2)
    if isinstance(base, Adam):
        return layer, ours, torch.optim.Adam([spare], base.learning_rate)
    return layer, ours, torch.optim.SGD([spare], base.learning_rate, momentum=base.momentum)


def advance(schedule, t: int) -> None:
    if isinstance(schedule, torch_schedules.ReduceLROnPlateau):
        schedule.step(1.0)
    else:
        schedule.step()


@pytest.mark.parametrize("base", [Adam(0.2), Momentum(0.2)], ids=lambda b: type(b).__name__)
@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_torchs_before_and_after_a_checkpoint(name, base):
    """Momenta too, where a scheduler moves them; saved in the middle and loaded into new ones."""
    layer, ours, theirs = pair(base)
    schedules = [SCHEDULES[name](o) for o in (ours, theirs)]
    seen = []
    for t in range(9):
        if t == 4:
            buffer = io.BytesIO()
            state = [layer.state_dict(), ours.state_dict()]
            torch.save(state, buffer)
            buffer.seek(0)
            loaded = torch.load(buffer, weights_only=True)
            layer, ours, _ = pair(base)
            kept = schedules[0].state_dict()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                schedules[0] = SCHEDULES[name](ours)
            layer.load_state_dict(loaded[0])
            ours.load_state_dict(loaded[1])
            schedules[0].load_state_dict(kept)
        layer.slot.grad = torch.randn(3, 20, generator=torch.Generator().manual_seed(t))
        ours.step()
        theirs.step()
        for schedule in schedules:
            advance(schedule, t)
        mine, other = ours.param_groups[0], theirs.param_groups[0]
        assert mine["lr"] == other["lr"]
        knob = "betas" if isinstance(base, Adam) else "momentum"
        assert mine[knob] == other[knob]
        assert ours.next_numbers(mine).base.learning_rate == other["lr"]
        seen.append(mine["lr"])
    assert len(set(seen)) > 1
    assert int(ours.param_groups[0]["iteration"]) == 9


def test_a_learning_rate_that_is_a_tensor_is_filled_in_place():
    layer, _, _ = pair(Adam(0.2))
    rate = torch.tensor(0.5)
    optimizer = qcuda.LatticeOptimizer(layer.parameters(), DST(TERNARY), base="adam", lr=rate)
    schedule = torch_schedules.ExponentialLR(optimizer, 0.5)
    layer.slot.grad = torch.ones(3, 20)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == 0.25
    assert optimizer.next_numbers(optimizer.param_groups[0]).base.learning_rate == 0.25
