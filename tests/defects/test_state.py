"""What training scripts kept by accident, restated; and ours, which keeps what it says."""

from __future__ import annotations

import copy

import numpy as np
import torch

import qcuda
from qreference.storage import round_stochastically, widen
from qtheory import DST, Lattice, StochasticRounding
from qtheory.evidence import binomial_p_value
from qtheory.optimisers import SGD, Adam

TERNARY = Lattice.ternary()


def trained(spec, base, steps: int = 3) -> tuple[qcuda.nn.Linear, qcuda.LatticeOptimizer]:
    layer = qcuda.nn.Linear(40, 30, spec.lattice)
    layer.draw_levels(1, 0)
    optimizer = qcuda.LatticeOptimizer([layer.slot], spec, base=base, seed=4)
    for t in range(steps):
        layer.slot.grad = torch.randn(30, 40, generator=torch.Generator().manual_seed(t))
        optimizer.step()
    return layer, optimizer


# A branch that no later assignment can reach


class Script:
    """A switch that is read while the step is built: from then on a constant."""

    def __init__(self) -> None:
        self.restart = 200
        restarting = self.restart < 100
        self.step = lambda weight: 0.0 if restarting else weight + 1.0


def test_a_switch_read_when_the_graph_is_built_is_dead():
    script = Script()
    before = script.step(5.0)
    script.restart = 0  # "restart from now on"
    assert script.step(5.0) == before == 6.0


def test_every_number_of_ours_is_read_at_every_step():
    """Each number of a group, changed between two steps, changes what the second one does."""
    numbers = {
        "lr": 0.0, "betas": (0.0, 0.5), "eps": 10.0, "nonlinearity": 0.01, "seed": 5,
        "iteration": 9, "spec": StochasticRounding(TERNARY),
    }  # fmt: skip

    def run(change: dict) -> list:
        layer, optimizer = trained(DST(TERNARY), Adam(0.5))
        optimizer.param_groups[0].update(change)
        layer.slot.grad = torch.randn(30, 40, generator=torch.Generator().manual_seed(9))
        optimizer.step()
        return layer.index.tolist()

    plain = run({})
    assert set(numbers) | {"params", "weight_decay", "base"} == set(
        trained(DST(TERNARY), Adam(0.5))[1].param_groups[0]
    )
    for name, value in numbers.items():
        assert run({name: value}) != plain, name


# The best parameters, which are the current ones


def test_a_list_of_the_same_arrays_is_no_copy_of_them():
    weights = [np.zeros(3)]
    best = list(weights)
    weights[0] += 1.0
    assert best[0].tolist() == weights[0].tolist() == [1.0, 1.0, 1.0]


def test_what_ours_saved_stays_when_training_goes_on():
    """deepcopy of the state dicts, and a model loaded from them, are of the past."""
    layer, optimizer = trained(StochasticRounding(TERNARY), Adam(0.5))
    best = copy.deepcopy((layer.state_dict(), optimizer.state_dict()))
    index = layer.index.clone()
    for _ in range(3):
        layer.slot.grad = torch.ones(30, 40)
        optimizer.step()
    assert not torch.equal(layer.index, index)
    layer.load_state_dict(best[0])
    optimizer.load_state_dict(best[1])
    assert torch.equal(layer.index, index)
    layer.slot.grad = torch.ones(30, 40)
    optimizer.step()
    assert torch.equal(best[1]["state"][0]["first"], best[1]["state"][0]["first"].clone())
    assert best[1]["param_groups"][0]["iteration"] == 3


# Weights that start off the lattice


def test_a_first_epoch_without_a_learning_rate_only_rounds():
    """Continuous weights that a zero increment quietly puts on the lattice, a third each: the
    published start. Ours are on it from the first moment, and a zero learning rate changes none."""
    start = np.random.default_rng(1).uniform(-1.5, 1.5, 60_000)
    on = np.clip(np.floor(start + 0.5), -1, 1)
    assert (on != start).all()
    for level in (-1, 0, 1):
        assert binomial_p_value(int((on == level).sum()), on.size, 1 / 3) > 1e-9
    layer, optimizer = trained(DST(TERNARY), SGD(0.0), 0)
    before = layer.index.clone()
    layer.slot.grad = torch.randn(30, 40)
    optimizer.step()
    assert torch.equal(layer.index, before)
    assert set(layer.weight.unique().tolist()) <= {-1.0, 0.0, 1.0}


# Moments in bfloat16, rounded to nearest


def to_nearest(x: np.ndarray) -> np.ndarray:
    b = x.view(np.uint32)
    return ((b + 0x7FFF + ((b >> 16) & 1)) >> 16).astype(np.uint16)


def test_a_moment_rounded_to_nearest_never_grows():
    """v <- 0.999 v + 0.001 of a constant 1, from 0.9: the gain 1e-4 is below half an ulp, 2**-9."""
    stuck = kept = np.full(2000, 0.9, np.float32)
    stuck = widen(to_nearest(stuck))
    first, rng = stuck.copy(), np.random.default_rng(1)
    kept = stuck.copy()
    for _ in range(300):
        stuck = widen(to_nearest(np.float32(0.999) * stuck + np.float32(0.001)))
        words = rng.integers(0, 2**32, 2000, dtype=np.uint32)
        kept = widen(round_stochastically(np.float32(0.999) * kept + np.float32(0.001), words))
    assert (stuck == first).all()
    expected = 1 - (1 - first.astype(float)[0]) * 0.999**300
    # Roundings are independent, of mean 0 and at most 2**-8: Hoeffding over 2000 x 300 of them.
    bound = 2.0**-8 * np.sqrt(300 * np.log(2 / 1e-9) / (2 * 2000))
    assert abs(kept.astype(np.float64).mean() - expected) <= bound + 300 * 2.0**-24
    assert expected - first[0] > bound + 300 * 2.0**-24 or expected - first[0] > 0.02
