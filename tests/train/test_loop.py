"""What a trainee does: schedules, baselines, threads, and moves against the exact law."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Literal

import pytest
import torch
from torch import nn

from qcuda.data.source import opened
from qcuda.errors import InputError
from qcuda.kernels.order import as_stored
from qcuda.models.baselines import RealLayer, read_as
from qcuda.models.config import CNN
from qcuda.models.vgg import network
from qcuda.models.weights import draw, on_lattice, real, relu, weight_layers
from qcuda.nn import Linear, NoisyStair, lattice_layers
from qcuda.nn.latent import stop_latents
from qcuda.optimizer import LatticeOptimizer
from qcuda.schedules.shapes import Cosine, Exponential, Shape
from qcuda.schedules.table import Stretched, apply
from qcuda.train import loop
from qcuda.train.config import make
from qcuda.train.door import begin
from qcuda.train.gradients import hinge_loss
from qcuda.train.loop import PROBED, Trainee, train_epoch
from qcuda.train.methods import DEFAULT, METHODS
from qcuda.watch.odds import predicted_moves
from qtheory import DST, Lattice
from qtheory.algorithms import contract, walkers
from qtheory.optimisers import Adam

FALSE_ALARMS = 1e-9


def trained(method: str, **tree: Any) -> Trainee:
    """A trainee after all epochs of a config."""
    config = make(tree)
    trainee, data = begin(config, method, 0), opened(config.data)
    for number in range(1, config.run.epochs + 1):
        train_epoch(trainee, data.epoch(0, number), data.validation)
    return trainee


@pytest.mark.parametrize(("shape", "middle"), [(Cosine(), 0.505), (Exponential(), 0.1)])
def test_learning_rates_fall_from_the_first_to_the_last(shape: Shape, middle: float):
    schedule = Stretched(shape, 1.0, 11)
    factors = [schedule(epoch) for epoch in range(11)]
    assert factors[0] == 1
    assert factors[5] == pytest.approx(middle)
    assert factors[10] == schedule(99) == pytest.approx(0.01)
    assert all(a > b for a, b in pairwise(factors))
    assert [Stretched(shape, 3.0, 1)(epoch) for epoch in (0, 1)] == pytest.approx([3.0, 0.03])


SMALL = {
    "run": {"epochs": 3},
    "data": {"examples": 60},
    "model": {"channels": 2, "hidden": 8},
    "schedules": {"learning_rate": {"final": 0.1}},
}


def test_a_schedule_moves_the_lattice_weights_too():
    trainee = trained("dst", **SMALL)
    rates = [record["learning_rate"] for record in trainee.records[1:]]
    assert rates == pytest.approx([0.05, 0.05 * 0.55, 0.05 * 0.1])
    assert [group["lr"] for group in trainee.optimizer.param_groups] == [rates[-1]] * 2


def test_any_knob_may_have_a_schedule():
    """Another nonlinearity moves other weights; the log says what it was."""
    shapes = {"learning_rate": {"final": 0.1}, "nonlinearity": {"name": "exponential", "final": 4}}
    plain, other = trained("dst", **SMALL), trained("dst", **{**SMALL, "schedules": shapes})
    assert [record["nonlinearity"] for record in other.records[1:]] == pytest.approx([3, 6, 12])
    assert "nonlinearity" not in plain.records[1]
    moved = [[record["moved"] for record in trainee.records[1:]] for trainee in (plain, other)]
    assert moved[0][0] == moved[1][0]
    assert moved[0][1] != moved[1][1]


def test_a_table_reaches_every_group_and_takes_any_function_of_time():
    layer = Linear(4, 4, Lattice.ternary(), bias=True)
    groups = [{"params": [layer.slot]}, {"params": [layer.bias]}]
    optimizer = LatticeOptimizer(groups, DST(Lattice.ternary()), base=Adam(0.05))
    table = {"learning_rate": lambda t: 0.1 * t, "nonlinearity": lambda t: 1.0 + t}
    assert apply(table, optimizer, 2) == {"learning_rate": 0.2, "nonlinearity": 3.0}
    assert [(g["lr"], g["nonlinearity"]) for g in optimizer.param_groups] == [(0.2, 3.0)] * 2


@pytest.mark.parametrize("model", [{"name": "cnn", "channels": 4, "hidden": 16}, {"name": "mlp"}])
def test_methods_differ_in_weights_and_activations_alone(model: dict[str, Any]):
    config = make({"model": model})
    built = {method: begin(config, method, 0).model for method in DEFAULT}
    shapes = {
        method: [
            tuple((w.latent if isinstance(w, RealLayer) else w.weight).shape)
            for w in weight_layers(model).values()
        ]
        for method, model in built.items()
    }
    assert shapes["dst"] == shapes["full"] == shapes["ste"]
    names = [[type(m).__name__ for m in model.children()] for model in built.values()]
    ordinary = [[n for n in row if n.startswith(("Batch", "Max", "Flat"))] for row in names]
    assert ordinary[0] == ordinary[1] == ordinary[2]
    # Every weight layer of dst is on a lattice, first and last included.
    assert len(lattice_layers(built["dst"])) == len(shapes["dst"])
    assert not any(isinstance(m, nn.Linear | nn.Conv2d) for m in built["dst"].modules())
    assert not any(isinstance(m, NoisyStair) for m in built["full"].modules())


@pytest.mark.parametrize("stem", walkers())
def test_every_walker_is_a_method_with_its_own_knobs(stem: str):
    rows = METHODS.items()
    (method,) = [n for n, row in rows if row.stem == stem and not (row.bits or row.normalized)]
    tree = {**SMALL, "run": {"epochs": 1, "methods": [method], "law_audit": True}}
    trainee = trained(method, **tree)
    assert isinstance(trainee.optimizer, LatticeOptimizer)
    assert contract(trainee.optimizer.spec) is contract(stem)
    assert trainee.evidence is not None and not trainee.evidence.failing
    assert begin(make(tree), method, 0).optimizer.param_groups[0]["lr"] == 0.05


def test_convolutions_are_for_images():
    with pytest.raises(InputError, match=r"takes images, got examples of the shape \(40,\)"):
        network(CNN(), (40,), 10, real(None), relu)


def test_a_walker_with_hidden_levels_keeps_no_moments_and_shows_three():
    """Ordinary parameters have Adam and a rate of their own, which falls as the other does."""
    tree = {**SMALL, "run": {"epochs": 3, "methods": ["walker6"]}}
    trainee = trained("walker6", **tree, base={"learning_rate": {"walker6": 0.4}})
    lattice, rest = trainee.optimizer.param_groups
    assert [group["base"] for group in (lattice, rest)] == ["normalized", "adam"]
    rates = [(r["learning_rate"], r["others_learning_rate"]) for r in trainee.records[1:]]
    assert rates == [pytest.approx((0.4 * f, 0.01 * f)) for f in (1, 0.55, 0.1)]
    assert (lattice["lr"], rest["lr"]) == rates[-1]
    assert {tuple(trainee.optimizer.state[slot]) for slot in lattice["params"]} == {("square",)}
    for name, layer in lattice_layers(trainee.model).items():
        assert layer.lattice.size == 63
        shown = layer.weight.detach()
        counts = [int((shown == level).sum()) for level in (-1, 0, 1)]
        assert trainee.records[-1]["levels"][name] == counts
        assert torch.equal(layer.visible_index, shown.long() + 1)
        assert layer.index.max() > 3


def test_ternary_bop_keeps_a_byte_of_momentum():
    tree = {**SMALL, "run": {"epochs": 3, "methods": ["ternary_bop10"]}}
    trainee = trained("ternary_bop10", **tree)
    lattice, rest = trainee.optimizer.param_groups
    assert [group["base"] for group in (lattice, rest)] == ["normalized", "adam"]
    assert lattice["momentum"] == 0.97
    for slot in lattice["params"]:
        state = trainee.optimizer.state[slot]
        assert state["first"].dtype == torch.int8 and state["first"].any()
        assert state.keys() == {"first", "square"}


@pytest.mark.parametrize("method", DEFAULT)
def test_a_residual_network_with_real_ends_trains(method: str):
    """Levels are those of the layers between; the ends have a real weight for every method."""
    tree = {**SMALL, "run": {"epochs": 1, "methods": [method]}, "model": {"name": "resnet20"}}
    trainee = trained(method, **tree)
    layers = weight_layers(trainee.model)
    between = [name for name in layers if name not in ("conv1", "fc")]
    for record in trainee.records:
        assert list(record["levels"]) == ([] if method == "full" else between)
    assert all(isinstance(layers[end], nn.Conv2d | nn.Linear) for end in ("conv1", "fc"))
    assert math.isfinite(trainee.records[-1]["loss"])


def test_numbers_of_normalised_gradients_reach_the_optimiser():
    own = {"decay": 0.5, "over": "neuron", "others_learning_rate": 0.25}
    config = make({"run": {"methods": ["walker8"]}, "normalized": own, "base": {"name": "sgd"}})
    lattice, rest = begin(config, "walker8", 0).optimizer.param_groups
    assert (lattice["decay"], lattice["over"], lattice["lr"]) == (0.5, "neuron", 0.1)
    assert (rest["base"], rest["lr"]) == ("sgd", 0.25)


def test_a_network_takes_its_shape_from_the_data():
    """Three channels, 12 x 10 pixels, 7 classes: none of them the digits'."""
    for weight in (on_lattice(Lattice.binary()), real(read_as(3))):
        model = network(CNN(channels=2, hidden=5), (3, 12, 10), 7, weight, relu)
        assert model(torch.zeros(4, 3, 12, 10)).shape == (4, 7)


@pytest.mark.parametrize("name", ["adam", "momentum", "sgd"])
@pytest.mark.parametrize("method", ["dst", "full"])
def test_every_base_optimiser_trains(name: str, method: str):
    base = {"name": name, "learning_rate": {method: 0.25}}
    trainee = trained(method, **{**SMALL, "base": base})
    losses = [record["loss"] for record in trainee.records[1:]]
    assert trainee.records[1]["learning_rate"] == 0.25
    assert all(math.isfinite(loss) for loss in losses)
    assert len(set(losses)) == 3


@pytest.mark.parametrize(("levels", "lattice"), [(2, Lattice.binary()), (3, Lattice.ternary())])
def test_straight_through_weights_are_the_nearest_levels(levels: Literal[2, 3], lattice: Lattice):
    layer = RealLayer((1, 9), read_as(levels))
    below = math.nextafter(0.5, 0)
    points = torch.tensor([[-1.0, -0.5, -below, -0.0, 0.0, 0.3, below, 0.5, 1.0]])
    with torch.no_grad():
        layer.latent.copy_(points)
    nearest = lattice.levels[lattice.nearest(layer.latent.detach().numpy())]
    assert layer.visible.tolist() == nearest.tolist()
    layer.visible.backward(torch.arange(9.0)[None])
    assert layer.latent.grad.tolist() == [list(range(9))]
    with torch.no_grad():
        layer.latent.mul_(3)
    stop_latents(layer)
    assert layer.latent.abs().max() == 1


def test_first_weights_of_the_baselines_are_uniform():
    """10**5 words: the mean of U(-b, b) has std b / sqrt(3 n); 7 std is 3e-12 two-sided."""
    cases: list[tuple[Literal[2, 3] | None, float]] = [(3, 1.0), (2, 1.0), (None, 0.1)]
    for levels, bound in cases:
        layer = real(levels and read_as(levels))((1000, 100))
        draw(layer, 0)
        (weight,) = layer.parameters()
        assert bound * 0.999 < weight.abs().max() <= bound
        assert abs(weight.mean()) < 7 * bound / math.sqrt(3 * 10**5)


def test_the_loss_is_the_squared_hinge():
    logits = torch.tensor([[2.0, -0.5, 0.25]])
    expected = (0 + 0.5**2 + 1.25**2) / 3
    assert hinge_loss(logits, torch.tensor([0])).item() == pytest.approx(expected)


def test_equal_gradients_move_equal_weights_with_any_number_of_threads():
    """What is promised of threads: words and moves. Sums inside torch's own layers are not, so
    gradients, and with them whole runs, may differ; `threads` is therefore part of a config."""
    before, states = torch.get_num_threads(), []
    gradient = torch.randn(1000, 300, generator=torch.Generator().manual_seed(0))
    for threads in (1, 2):
        torch.set_num_threads(threads)
        layer = Linear(300, 1000, Lattice.ternary())
        layer.draw_levels(4, 0)
        optimizer = LatticeOptimizer([layer.slot], DST(Lattice.ternary()), base=Adam(0.05), seed=4)
        for sign in (1, -1, 1):
            layer.slot.grad = sign * gradient
            optimizer.step()
        states.append((layer.state.clone(), optimizer.moved.tolist()))
    torch.set_num_threads(before)
    assert states[0][1][0] > 10**4
    assert torch.equal(states[0][0], states[1][0])
    assert states[0][1] == states[1][1]


def allowed(variance: float, tests: int) -> float:
    """How far a sum of independent coins may be from its mean, by Bernstein's inequality.

    P(|S - mean| >= t) <= 2 exp(-t**2 / (2 (variance + t / 3))), which is set to the share of the
    false alarms that one of so many tests may have.
    """
    log = math.log(2 * tests / FALSE_ALARMS)
    return log / 3 + math.sqrt(log**2 / 9 + 2 * log * variance)


def test_moves_of_a_training_run_have_the_exact_law():
    """Probes of every layer in every epoch. Increments are given when words are drawn, so the
    bound holds for each probe by itself, and over all of them by the union bound: a correct
    kernel fails with probability 1e-9 at most. The largest probes see a rate that is off by an
    eighth, with the same probability of missing it.
    """
    trainee = trained(
        "dst",
        model={"name": "mlp", "hidden": 512},
        run={"epochs": 4},
        data={"examples": 500},
        base={"learning_rate": {"dst": 0.5}},
    )
    probes = []
    for record in trainee.records[1:]:
        found = record["probe"]
        probes += zip(found["measured"], found["mean"], found["variance"], strict=True)
    assert len(probes) == 4 * 3
    for measured, mean, variance in probes:
        assert abs(measured - mean) <= allowed(variance, len(probes))
    mean, variance = max(values[1:] for values in probes)
    assert 2 * allowed(8 / 7 * variance, len(probes)) < mean / 7


@pytest.mark.parametrize("method", ["dst", "walker8"])
def test_probes_pair_each_weight_of_a_convolution_with_its_own_increment(method: str):
    """Expected moves from the levels and increments that the step itself has, one by one."""
    trainee = trained(method, **{**SMALL, "run": {"epochs": 1, "methods": [method]}})
    optimizer = trainee.optimizer
    assert isinstance(optimizer, LatticeOptimizer)
    gradients = torch.Generator().manual_seed(0)
    for slot in optimizer.slots:
        slot.grad = torch.randn(slot.shape, generator=gradients)
    spec, many = optimizer.next_numbers(optimizer.param_groups[0]).spec, []
    before = {n: layer.index for n, layer in lattice_layers(trainee.model).items()}
    with optimizer.recorded(optimizer.slots) as used:
        probe = loop._probed_step(trainee, optimizer)
    for place, (name, layer) in enumerate(lattice_layers(trainee.model).items()):
        index, increment = as_stored(before[name]), used[layer.slot]
        many.append(min(PROBED // spec.lattice.size, index.numel()))
        pairs = (index.flatten()[: many[-1]], increment.flatten()[: many[-1]])
        mean, variance = predicted_moves(spec, *(x.numpy() for x in pairs))
        assert (probe["mean"][place], probe["variance"][place]) == (mean, variance)
    assert probe["weights"] == many


def test_probes_follow_a_knob_that_has_a_schedule():
    """With m from 3 to 12; a probe against m = 3 expects far fewer moves at the end."""
    trainee = trained(
        "dst",
        model={"name": "mlp", "hidden": 64},
        run={"epochs": 2},
        data={"examples": 200},
        schedules={"nonlinearity": {"final": 4}, "learning_rate": {"name": "constant"}},
    )
    probe = trainee.records[-1]["probe"]
    for measured, mean, variance in zip(
        probe["measured"], probe["mean"], probe["variance"], strict=True
    ):
        assert abs(measured - mean) <= allowed(variance, 3)


@pytest.mark.parametrize("nonlinearity", [2.5, 3.5])
def test_another_law_is_noticed(nonlinearity: float):
    """The test above bites: with m = 2.5 or 3.5 in the law, moves with m = 3 are too many or
    too few."""
    lattice = Lattice.ternary()
    layer = Linear(300, 1000, lattice)
    layer.draw_levels(0, 0)
    optimizer = LatticeOptimizer([layer.slot], DST(lattice, 3.0), base=Adam(0.05))
    layer.slot.grad = torch.randn(1000, 300, generator=torch.Generator().manual_seed(0))
    before = layer.index
    with optimizer.recorded([layer.slot]) as found:
        optimizer.step()
    measured = int((layer.index != before).sum())
    increments = found[layer.slot].numpy()
    mean, variance = predicted_moves(DST(lattice, 3.0), before.numpy(), increments)
    assert abs(measured - mean) <= allowed(variance, 1)
    mean, variance = predicted_moves(DST(lattice, nonlinearity), before.numpy(), increments)
    assert abs(measured - mean) > allowed(variance, 1)
