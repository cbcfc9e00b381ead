"""LatticeOptimizer beside torch's own optimisers, schedulers and gradient tools."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import qcuda
from qcuda.nn import lattice_layers
from qreference import optimisers as plain
from qreference import philox, walker
from qtheory import DST, DeterministicRounding, Lattice, StochasticRounding
from qtheory.optimisers import SGD, Adam, Momentum
from qtheory.stairs.stair import Stair
from qtheory.streams import Stream

TERNARY = Lattice.ternary()
BASES = [SGD(0.3), Momentum(0.2, 0.8), Adam(0.1), Adam(0.05, (0.5, 0.9), 1e-3)]
by_base = pytest.mark.parametrize("base", BASES, ids=repr)


def network(lattice: Lattice = TERNARY, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(
        qcuda.nn.Linear(6, 5, lattice),
        nn.BatchNorm1d(5),
        qcuda.nn.MultiStep(1),
        qcuda.nn.Linear(5, 3, lattice, bias=True),
        nn.Linear(3, 2),
    )
    qcuda.nn.draw_levels(model, seed)
    return model


def inputs(seed: int, count: int = 8) -> torch.Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


def states(model: nn.Module) -> list[list[int]]:
    return [layer.state.tolist() for layer in lattice_layers(model).values()]


def torch_optimizer(base, parameters, **which) -> torch.optim.Optimizer:
    if isinstance(base, Adam):
        return torch.optim.Adam(
            parameters, base.learning_rate, betas=base.betas, eps=base.epsilon, **which
        )
    heavy = base.momentum if isinstance(base, Momentum) else 0.0
    return torch.optim.SGD(parameters, base.learning_rate, momentum=heavy, **which)


@by_base
@pytest.mark.parametrize("fused", [None, True, False])
def test_other_parameters_are_trained_as_torch_does(base, fused):
    """Equality: it is torch's own function with the same numbers."""
    torch.manual_seed(1)
    ours = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
    theirs = copy.deepcopy(ours)
    mine = qcuda.LatticeOptimizer(ours.parameters(), DST(TERNARY), base=base, seed=0, fused=fused)
    which = {"foreach": True} if fused is False else {"fused": True}
    other = torch_optimizer(base, theirs.parameters(), **which)
    for k in range(12):
        for model, optimizer in ((ours, mine), (theirs, other)):
            optimizer.zero_grad()
            model(inputs(k)).square().mean().backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


@by_base
@pytest.mark.parametrize("moments", ["float32", "bfloat16"])
def test_slots_follow_the_plain_training_step(base, moments):
    """Twenty iterations on given gradients: indices, moments, counters and increments."""
    layer = qcuda.nn.Linear(33, 7, TERNARY)
    layer.draw_levels(5, 0)
    optimizer = qcuda.LatticeOptimizer(
        [nn.Parameter(torch.zeros(1)), layer.slot], StochasticRounding(TERNARY), base=base,
        seed=2**64 - 3, moments=moments,
    )  # fmt: skip
    index = layer.index.numpy().copy()
    state = plain.init(base, index.shape, moments)
    moved = nan = 0
    for t in range(1, 21):
        gradient = torch.randn(7, 33, generator=torch.Generator().manual_seed(t)) * 3
        gradient[0, t] = float("nan") if t == 9 else float("inf") if t == 12 else 0.0
        layer.slot.grad = gradient
        with optimizer.recorded([layer.slot]) as used, optimizer.recorded([layer.slot]) as again:
            optimizer.step()
        assert again[layer.slot] is used[layer.slot]
        wide = state if moments == "float32" else plain._widen(state)
        proposed, _ = plain.increment(base, wide, gradient.numpy(), t)
        index, state, changed, lost = plain.train_step(
            optimizer.spec, base, index, state, gradient.numpy(), seed=2**64 - 3, iteration=t,
            tensor=0, moment_type=moments,
        )  # fmt: skip
        moved, nan = moved + changed, nan + lost
        assert (layer.index.numpy() == index).all()
        assert [optimizer.moved.tolist(), optimizer.nan.tolist()] == [[moved], [nan]]
        if moments == "float32":
            same = torch.equal(
                used[layer.slot].nan_to_num(77.0),
                torch.from_numpy(proposed).nan_to_num(77.0),
            )
            assert same
    assert nan >= 1
    assert moved > 0


def test_tensors_are_numbered_in_the_order_given():
    """Slot 0, 1, 2 across groups; other parameters take no number."""
    layers = [qcuda.nn.Linear(40, 5, TERNARY) for _ in range(3)]
    optimizer = qcuda.LatticeOptimizer(
        [{"params": [nn.Parameter(torch.ones(2)), layers[0].slot]},
         {"params": [layers[1].slot, nn.Parameter(torch.ones(2)), layers[2].slot]}],
        StochasticRounding(TERNARY), base=SGD(1.0), seed=9,
    )  # fmt: skip
    for layer in layers[:2]:  # a slot without a gradient keeps its number
        layer.slot.grad = None
    layers[2].slot.grad = torch.full((5, 40), -0.5)
    layers[0].slot.grad = torch.full((5, 40), -0.5)
    optimizer.step()
    for tensor in (0, 2):
        words = qcuda.words(9, 1, tensor, 200)
        assert layers[tensor].index.reshape(-1).tolist() == (1 + (words < 2**31)).tolist()
    assert (layers[1].index == 1).all()
    assert optimizer.moved[1] == 0
    assert optimizer.slots == [layer.slot for layer in layers]


def test_groups_have_numbers_of_their_own():
    """Group by group, the plain twin with that group's learning rate and nonlinearity."""
    layers = [qcuda.nn.Linear(50, 6, TERNARY) for _ in range(2)]
    optimizer = qcuda.LatticeOptimizer(
        [{"params": [layers[0].slot], "lr": 0.05},
         {"params": [layers[1].slot], "nonlinearity": 0.25}],
        DST(TERNARY, 2.0), base=SGD(0.4), seed=1,
    )  # fmt: skip
    gradient = torch.randn(6, 50, generator=torch.Generator().manual_seed(1))
    for layer in layers:
        layer.slot.grad = gradient.clone()
    optimizer.step()
    numbers = [(SGD(0.05), DST(TERNARY, 2.0)), (SGD(0.4), DST(TERNARY, 0.25))]
    for tensor, (layer, (base, spec)) in enumerate(zip(layers, numbers, strict=True)):
        # DST: no word of these 300 lies between the rooms' thresholds (probability 5e-4).
        expected, *_ = plain.train_step(
            spec, base, torch.ones(6, 50, dtype=torch.int64).numpy(), plain.init(base, (6, 50)),
            gradient.numpy(), seed=1, iteration=1, tensor=tensor,
        )  # fmt: skip
        assert (layer.index.numpy() == expected).all()


def test_a_group_that_comes_later_counts_its_own_iterations():
    """The counter of its words is its own iteration, not that of the groups before it."""
    layers = [qcuda.nn.Linear(50, 6, TERNARY) for _ in range(2)]
    optimizer = qcuda.LatticeOptimizer([layers[0].slot], DST(TERNARY, 2.0), base=SGD(0.4), seed=1)
    gradient = torch.randn(6, 50, generator=torch.Generator().manual_seed(1))
    index = [torch.ones(6, 50, dtype=torch.int64).numpy()] * 2
    for iterations in ((1, 0), (2, 0), (3, 1), (4, 2)):
        if iterations[1] == 1:
            optimizer.add_param_group({"params": [layers[1].slot]})
        for k, (layer, iteration) in enumerate(zip(layers, iterations, strict=True)):
            if iteration:
                layer.slot.grad = gradient.clone()
                index[k], *_ = plain.train_step(
                    DST(TERNARY, 2.0), SGD(0.4), index[k], plain.init(SGD(0.4), (6, 50)),
                    gradient.numpy(), seed=1, iteration=iteration, tensor=k,
                )  # fmt: skip
        optimizer.step()
        for layer, expected in zip(layers, index, strict=True):
            assert (layer.index.numpy() == expected).all()


SCHEDULES = {
    "exponential": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.5),
    "one cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.3, total_steps=9),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 9),
    "warm-up": lambda o: torch.optim.lr_scheduler.SequentialLR(
        o,
        [torch.optim.lr_scheduler.LinearLR(o, 0.1, total_iters=3),
         torch.optim.lr_scheduler.ExponentialLR(o, 0.9)],
        [3],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedulers_move_the_numbers(name):
    """Learning rates as torch's own Adam has them, and the kernel uses them."""
    layer = qcuda.nn.Linear(40, 4, TERNARY)
    spare = nn.Parameter(torch.zeros(3))
    ours = qcuda.LatticeOptimizer([layer.slot], StochasticRounding(TERNARY), base=Adam(0.2), seed=0)
    theirs = torch.optim.Adam([spare], 0.2)
    schedules = [SCHEDULES[name](o) for o in (ours, theirs)]
    spare.grad = torch.zeros(3)
    seen = []
    for t in range(1, 8):
        layer.slot.grad = torch.randn(4, 40, generator=torch.Generator().manual_seed(t))
        before = layer.index.numpy().copy()
        state = ours.state[layer.slot]
        moments = [state.get(k, torch.zeros(4, 40)).numpy().copy() for k in ("first", "second")]
        group = ours.param_groups[0]
        base = Adam(float(group["lr"]), tuple(map(float, group["betas"])), group["eps"])
        expected, *_ = plain.train_step(
            ours.spec, base, before, plain.Moments(*moments), layer.slot.grad.numpy(), seed=0,
            iteration=t, tensor=0,
        )  # fmt: skip
        ours.step()
        theirs.step()
        assert (layer.index.numpy() == expected).all()
        for schedule in schedules:
            schedule.step()
        assert ours.param_groups[0]["lr"] == theirs.param_groups[0]["lr"]
        seen.append(ours.param_groups[0]["lr"])
    assert len(set(seen)) > 3


def one_step(change, batches=1) -> tuple[list, list[torch.Tensor]]:
    """Gradients over some batches, changed, then a step: states, and what slots held."""
    model = network()
    optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(TERNARY), base=SGD(2.0), seed=0)
    for k in range(batches):
        model(inputs(k)).square().sum().backward()
    change(model, optimizer)
    gradients = [p.grad.clone() for p in model.parameters()]
    optimizer.step()
    return states(model), gradients


def test_clipping_sees_slots_as_any_gradient():
    """The norm over all gradients, slots among them, within the roundings of its sum."""
    norms = []

    def clip(model, _):
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), 0.5))

    _, before = one_step(lambda *_: None)
    clipped_states, after = one_step(clip)
    exact = torch.cat([g.reshape(-1).double() for g in before]).norm()
    # 60 squares summed in float32: relative error of the norm below 64 half-ulps.
    assert abs(norms[0] - exact) <= 64 * 2.0**-24 * exact
    scale = 0.5 / (norms[0] + 1e-6)
    for a, b in zip(after, before, strict=True):
        assert torch.equal(a, b * scale)

    def by_hand(model, _):
        for p in model.parameters():
            p.grad *= scale

    assert one_step(by_hand)[0] == clipped_states


def test_accumulated_gradients_are_added():
    """Two backward passes, one step: the slot holds the sum of both, as any parameter does."""
    _, both = one_step(lambda *_: None, batches=2)
    model = network()
    parts = []
    for k in (0, 1):
        model.zero_grad()
        model(inputs(k)).square().sum().backward()
        parts.append([p.grad.clone() for p in model.parameters()])
    for total, a, b in zip(both, *parts, strict=True):
        assert torch.equal(total, a + b)


def reals(model: nn.Module) -> list[list]:
    return [p.tolist() for name, p in model.named_parameters() if not name.endswith("slot")]


def test_grad_scaler():
    """A power of two scales without rounding: the same step; an overflow: no step at all."""
    kept = []
    plain_states, _ = one_step(lambda model, _: kept.append(model))
    for scale, overflow in ((2.0**10, False), (2.0**10, True)):
        model = network()
        before, others = states(model), reals(model)
        optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(TERNARY), base=SGD(2.0), seed=0)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        scaler.scale(model(inputs(0)).square().sum()).backward()
        if overflow:
            model[0].slot.grad[0, 0] = float("inf")
        scaler.step(optimizer)
        scaler.update()
        assert states(model) == (before if overflow else plain_states)
        assert reals(model) == (others if overflow else reals(kept[0]))
        assert scaler.get_scale() == (scale / 2 if overflow else scale)
        assert optimizer.param_groups[0]["iteration"] == (0 if overflow else 1)


def test_a_closure_is_called_with_gradients_on():
    model = network()
    optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(TERNARY), base=SGD(2.0), seed=0)

    def closure():
        loss = model(inputs(0)).square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) > 0
    assert states(model) == one_step(lambda *_: None)[0]


def test_slots_without_gradients_rest():
    model = network()
    optimizer = qcuda.LatticeOptimizer(model.parameters(), DST(TERNARY), base=Adam(0.5), seed=0)
    before = states(model)
    for _ in range(3):
        optimizer.step()
    assert states(model) == before
    assert optimizer.param_groups[0]["iteration"] == 3


@pytest.mark.parametrize("rule", [DST, StochasticRounding, DeterministicRounding])
def test_every_rule_trains_and_stays_on_the_lattice(rule):
    lattice = Lattice.z(3, 0.5)
    model = network(lattice)
    optimizer = qcuda.LatticeOptimizer(model.parameters(), rule(lattice), base=Adam(0.1), seed=0)
    for k in range(10):
        optimizer.zero_grad()
        model(inputs(k)).square().sum().backward()
        optimizer.step()
    for layer in lattice_layers(model).values():
        weights = layer.weight.detach()
        assert torch.isin(weights, torch.tensor(lattice.levels, dtype=torch.float32)).all()
    assert (optimizer.moved > 0).all()


def test_groups_may_be_added_later():
    layers = [qcuda.nn.Linear(4, 4, TERNARY) for _ in range(2)]
    optimizer = qcuda.LatticeOptimizer([layers[0].slot], DST(TERNARY), base=SGD(1.0), seed=0)
    layers[0].slot.grad = torch.full((4, 4), -1.0)
    optimizer.step()
    optimizer.add_param_group({"params": [layers[1].slot], "lr": 0.0})
    for layer in layers:
        layer.slot.grad = torch.full((4, 4), 1.0)
    optimizer.step()
    assert optimizer.moved.tolist() == [32, 0]


def test_hidden_levels_move_on_their_lattice_and_are_seen_through_the_readout():
    """Nine levels, seen as three: the state moves as the reference's."""
    fine, stair = Lattice.uniform(-1.0, 1.0, 9), Stair.nearest(Lattice.ternary())
    spec = StochasticRounding(fine, readout=stair)
    layer = qcuda.nn.Linear(9, 1, fine, readout=stair)
    layer.set_index(torch.arange(9)[None])
    assert layer.weight.tolist() == [[-1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]]
    optimizer = qcuda.LatticeOptimizer(layer.parameters(), spec, base=SGD(0.5), seed=0)
    layer.slot.grad = torch.full((1, 9), -0.25)
    optimizer.step()  # half a spacing up, or not
    words = philox.words(0, 1, 0, Stream.MOVE, 9)
    expected = walker.step(spec, np.arange(9), np.full(9, 0.125, np.float32), words)
    assert layer.index.flatten().tolist() == expected.tolist()
    assert layer.weight.flatten().tolist() == walker.read(spec, expected).tolist()
    other = qcuda.nn.Linear(9, 1, fine)
    with pytest.raises(RuntimeError, match="a checkpoint has its layer's lattice"):
        other.load_state_dict(layer.state_dict())
    with pytest.raises(ValueError, match=r"a layer has the spec's readout, Stair\(.*\), got None"):
        qcuda.LatticeOptimizer(other.parameters(), spec, seed=0)
