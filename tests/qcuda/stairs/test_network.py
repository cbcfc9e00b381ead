"""Networks of noisy stairs in torch: the coarse gradients of the laboratory, and a training run."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import qcuda
from qcuda.nn import NoisyStair, noise_stairs, number_stairs, set_iteration
from qtheory.algorithms import DST
from qtheory.gradients.laboratory.estimators import annealed, backward, passed, starting
from qtheory.gradients.networks.loss_network import random_network
from qtheory.gradients.networks.stair_network import LayerNoise
from qtheory.lattice import Lattice
from qtheory.noise import Gaussian, Logistic, Triangular, Uniform
from qtheory.optimisers import Adam
from qtheory.stairs.stair import Stair

TERNARY = Stair.nearest(Lattice.ternary())
NOISES = {
    "uniform": (Uniform(0.6), Uniform(0.9)),
    "triangular": (Triangular(0.6), Triangular(0.9)),
    "normal": (Gaussian(0.3), Gaussian(0.5)),
    "logistic": (Logistic(0.2), Logistic(0.3)),
}
SCALES = {"uniform": (0.6, 0.9), "triangular": (0.6, 0.9), "normal": (0.3, 0.5)} | {
    "logistic": (0.2, 0.3)
}
MEANS = (-0.1, 0.2)
DEEP = random_network((2, 3, 3, 1), TERNARY, 1)


def in_torch(family: str, forward: str) -> nn.Sequential:
    """The laboratory's network, in float64."""
    parts: list[nn.Module] = []
    for k, layer in enumerate(DEEP.maps):
        linear = nn.Linear(*reversed(layer.weights.shape)).double()
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(layer.weights))
            linear.bias.copy_(torch.from_numpy(layer.bias))
        parts.append(linear)
        if k < 2:
            scale, mean = SCALES[family][k], MEANS[k]
            parts.append(
                NoisyStair(TERNARY, family=family, scale=scale, mean=mean, forward=forward)
            )
    model = nn.Sequential(*parts)
    number_stairs(model, 5)
    return model


@pytest.mark.parametrize("family", NOISES)
@pytest.mark.parametrize("forward", ["expectation", "mode", "random"])
def test_gradients_are_the_laboratorys(family, forward):
    """Row by row added up, 20 rows of numbers below 8: 1000 roundings. Levels that torch drew are
    given to the laboratory, which goes back from them."""
    rng = np.random.default_rng(6)
    x, targets = rng.normal(size=(20, 2)), rng.normal(size=(20, 1))
    model = in_torch(family, forward)
    states = [torch.from_numpy(x)]
    for part in model:
        states.append(part(states[-1]))
    (0.5 * (states[-1] - torch.from_numpy(targets)).square()).sum().backward()
    noises = tuple(map(LayerNoise, NOISES[family], MEANS))
    estimator = annealed(forward, noises)
    rows = starting(x, targets, np.full(20, 0.05))
    if forward == "random":
        at = [state.detach().numpy() for state in states]
        rows = rows._replace(pre=(at[1], at[3]), states=(at[0], at[2], at[4]))
    else:
        rows = passed(DEEP, estimator, rows)
    bound = 1000 * 2.0**-53 * 8
    for number, each in enumerate(backward(DEEP, estimator, rows)):
        linear = model[2 * number]
        got = torch.cat([linear.weight.grad.flatten(), linear.bias.grad]).numpy()
        assert np.abs(got).max() > 1e-3
        assert np.abs(got - each.sum(axis=0)).max() <= bound


@pytest.mark.parametrize("forward", ["expectation", "mode", "random"])
def test_a_network_is_trained_by_a_schedule_down_to_stairs(forward):
    """Two half planes of 400 points, scales falling to 0.05, first layer first: the network of
    stairs then tells them apart on nine of ten points, where the larger half has six."""
    torch.manual_seed(1)
    x = torch.randn(400, 2)
    labels = (x[:, 0] - 0.5 * x[:, 1] > 0.25).float()
    model = nn.Sequential(
        nn.Linear(2, 8), NoisyStair(TERNARY, family="normal", forward=forward),
        nn.Linear(8, 8), NoisyStair(TERNARY, family="normal", forward=forward),
        nn.Linear(8, 1),
    )  # fmt: skip
    number_stairs(model, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for iteration in range(150):
        set_iteration(model, iteration)
        for k, stair in enumerate(noise_stairs(model).values()):
            stair.set_noise(max(0.05, 0.5 * (1 - iteration / (75 * (k + 1)))))
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(x)[:, 0], labels)
        loss.backward()
        optimizer.step()
    model.eval()
    right = ((model(x)[:, 0] > 0) == (labels > 0)).float().mean().item()
    assert labels.mean().item() < 0.6 and right > 0.9
    assert set(model[:2](x).flatten().tolist()) <= {-1.0, 0.0, 1.0}


class Annealed:
    """Lattice weights, batch-norm and noisy stairs, whose scales fall as the iteration rises."""

    def __init__(self, forward: str, learned: bool) -> None:
        torch.manual_seed(1)
        lattice, parts = Lattice.ternary(), []
        for size in (6, 9):
            stair = NoisyStair(TERNARY, family="normal", forward=forward, learned=learned)
            parts += [qcuda.nn.Linear(size, 9, lattice), nn.BatchNorm1d(9), stair]
        self.model = nn.Sequential(*parts, nn.Linear(9, 2))
        qcuda.nn.draw_levels(self.model, 3)
        number_stairs(self.model, 3)
        self.learned = learned
        self.optimizer = qcuda.LatticeOptimizer(
            self.model.parameters(), DST(lattice), base=Adam(0.05), seed=3
        )
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 3, 0.5)

    def step(self, iteration: int) -> None:
        set_iteration(self.model, iteration)
        for k, stair in enumerate(noise_stairs(self.model).values()):
            if not self.learned:
                stair.set_noise(0.5 * max(0.0, 1 - iteration / (4 + 4 * k)))
        x = torch.randn(16, 6, generator=torch.Generator().manual_seed(iteration))
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(x), (x[:, 0] > 0).long()).backward()
        self.optimizer.step()
        self.schedule.step()

    def parts(self) -> tuple:
        return self.model, self.optimizer, self.schedule


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("forward", ["expectation", "mode", "random"])
def test_annealed_lattice_training_is_resumed_bit_for_bit(forward, learned):
    """Ten iterations; five, a checkpoint, and five more: the same weights, moments and noise."""
    whole, first, second = (Annealed(forward, learned) for _ in range(3))
    start = whole.model[3].index.clone()
    for iteration in range(10):
        whole.step(iteration)
    for iteration in range(5):
        first.step(iteration)
    buffer = io.BytesIO()
    torch.save([part.state_dict() for part in first.parts()], buffer)
    saved = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    for part, state in zip(second.parts(), saved, strict=True):
        part.load_state_dict(state)
    for iteration in range(5, 10):
        second.step(iteration)
    tensors = [
        [v for v in run.model.state_dict().values() if isinstance(v, torch.Tensor)]
        for run in (whole, second)
    ]
    moments = [
        [v for state in run.optimizer.state.values() for v in state.values()]
        for run in (whole, second)
    ]
    assert len(moments[0]) == len(moments[1]) > 0
    assert all(map(torch.equal, *tensors)) and all(map(torch.equal, *moments))
    assert not torch.equal(whole.model[3].index, start)
    assert (whole.model[5].scale.item() != 0.5) and whole.model[5].scale.dtype == torch.float64


def test_ranks_and_microbatches_draw_what_the_whole_batch_would():
    """Batch-norm apart, whose statistics are its own business: gradients of two halves add up to
    those of the whole, up to 100 roundings of sums of 12 numbers below 2."""
    x = torch.from_numpy(np.random.default_rng(3).normal(size=(12, 2)))
    gradients = []
    for cuts in ((0, 12), (0, 5, 12)):
        model = in_torch("normal", "random")
        for low, high in pairwise(cuts):
            set_iteration(model, 4, row=low)
            model(x[low:high]).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    bound = 100 * 12 * 2 * gradients[0].abs().max() * 2.0**-53
    assert (gradients[0] - gradients[1]).abs().max() <= bound
