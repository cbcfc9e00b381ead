"""Networks of noisy stairs in torch: the coarse gradients of the laboratory, and a training run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from qcuda.nn import AdditiveNoiseStair, noise_stairs, number_stairs, set_iteration
from qtheory.gradients.estimators import annealed, backward, passed, starting
from qtheory.gradients.loss_network import random_network
from qtheory.gradients.stair_network import LayerNoise
from qtheory.lattice import Lattice
from qtheory.noise import Gaussian, Logistic, Triangular, Uniform
from qtheory.quantizer import Stair

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
                AdditiveNoiseStair(TERNARY, family=family, scale=scale, mean=mean, forward=forward)
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
        nn.Linear(2, 8), AdditiveNoiseStair(TERNARY, family="normal", forward=forward),
        nn.Linear(8, 8), AdditiveNoiseStair(TERNARY, family="normal", forward=forward),
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
