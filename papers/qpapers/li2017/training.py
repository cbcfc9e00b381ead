"""Networks with binary convolutions, trained by five rules and one that does not train them.

The experiments of [li2017] in small (their protocol not verified against the print): handwritten
digits; convolutions with weights -1 and +1, every other weight real; cross-entropy; Adam at rate
0.01, divided by ten twice. Only the convolutions differ between methods:

    adam    real weights
    bc      latent weights r in [-1, 1], of which the network sees sign(r): BinaryConnect
    big_sr  as sr, with batches eight times larger, hence an eighth of the iterations
    long_sr as big_sr, with eight passes in place of each, hence as many iterations as sr
    sr      weights -1, +1, rounded stochastically after each step
    r       weights -1, +1, rounded to the nearer after each step
    frozen  weights -1, +1, without training

From one seed all but adam begin with the same signs, all with the same linear layer, and see the
same shifted images; with batches of one size they see the same batches. So methods compare in
pairs.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qcuda.data.config import Digits
from qcuda.data.digits import TASK, batches, load, shifted, split
from qcuda.data.source import Examples
from qcuda.models.baselines import RealLayer, read_as
from qcuda.models.weights import draw, on_lattice, real, weight_layers
from qcuda.nn import Conv2d
from qcuda.nn.latent import stop_latents
from qcuda.optimizer import LatticeOptimizer
from qtheory.algorithms import DeterministicRounding, StochasticRounding
from qtheory.lattice import Lattice
from qtheory.optimisers import Adam

BINARY = Lattice.binary()
CLASSES, SIDE = TASK.classes, TASK.shape[-1]


@dataclass(frozen=True, slots=True)
class Method:
    """How convolutions are trained.

    weights: what they keep. batch: how many times the batch. passes: over the images, an epoch.
    """

    weights: Literal["real", "latent", "stochastic", "nearest", "frozen"]
    batch: int = 1
    passes: int = 1


METHODS: dict[str, Method] = {
    "adam": Method("real"),
    "bc": Method("latent"),
    "big_sr": Method("stochastic", batch=8),
    "long_sr": Method("stochastic", batch=8, passes=8),
    "sr": Method("stochastic"),
    "r": Method("nearest"),
    "frozen": Method("frozen"),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """What the methods share.

    channels: of the two convolutions. batch: examples. drops: epochs after which the learning
    rate, in weight units, is divided by ten. shift: the largest of an image, in pixels, in
    training drawn anew each epoch. examples: training examples to use, 0 for all.
    """

    channels: tuple[int, int] = (8, 16)
    epochs: int = 24
    batch: int = 16
    learning_rate: float = 0.01
    drops: tuple[int, ...] = (12, 18)
    shift: int = 1
    examples: int = 0

    def rate(self, epoch: int) -> float:
        """The learning rate of epoch 1, 2, ...

        >>> [Setting(drops=(2,)).rate(epoch) for epoch in (1, 2, 3)]
        [0.01, 0.01, 0.001]
        """
        return self.learning_rate / 10 ** sum(epoch > drop for drop in self.drops)


class Outcome(NamedTuple):
    """What a run leaves.

    error: share of the test images that are misread. logits: of the test images. changed: by
    epoch, share of convolution weights whose sign is not the first. asked: by epoch, sum over the
    iterations so far of the mean absolute increment of the convolutions; 0 unless they are
    rounded stochastically. first, last: signs of the convolutions, True for w >= 0, flat.
    """

    error: float
    logits: Tensor
    changed: tuple[float, ...]
    asked: tuple[float, ...]
    first: Tensor
    last: Tensor


def network(setting: Setting, method: Method, seed: int) -> nn.Sequential:
    """Two convolutions, each pooled and normalised, and a linear layer; drawn from the seed."""
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    inputs = 1
    for number, outputs in enumerate(setting.channels):
        modules[f"conv{number}"] = _convolution(method, inputs, outputs)
        modules[f"pool{number}"] = nn.MaxPool2d(2)
        modules[f"norm{number}"] = nn.BatchNorm2d(outputs)
        modules[f"active{number}"] = nn.ReLU()
        inputs = outputs
    modules["flat"] = nn.Flatten()
    modules["linear"] = real(None)((CLASSES, inputs * (SIDE // 4) ** 2))
    model = nn.Sequential(modules)
    draw(model, seed)
    return model


def _convolution(method: Method, inputs: int, outputs: int) -> nn.Module:
    kinds = {"real": real(None), "latent": real(read_as(2))}
    return kinds.get(method.weights, on_lattice(BINARY))((outputs, inputs, 3, 3))


@torch.no_grad()
def signs(model: nn.Module) -> Tensor:
    """Whether each convolution weight (a latent one for BC) is >= 0, in order, flat."""
    layers = [m for name, m in weight_layers(model).items() if name.startswith("conv")]
    found = [m.latent if isinstance(m, RealLayer) else m.weight for m in layers]
    return torch.cat([(weight >= 0).reshape(-1) for weight in found])


def optimiser(setting: Setting, method: Method, seed: int, model: nn.Module) -> LatticeOptimizer:
    """Adam for every weight; those on the lattice are then rounded, or left out if frozen."""
    rule = StochasticRounding if method.weights == "stochastic" else DeterministicRounding
    if method.weights == "frozen":
        for layer in model.modules():
            if isinstance(layer, Conv2d):
                layer.slot.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    return LatticeOptimizer(trained, rule(BINARY), base=Adam(setting.learning_rate), seed=seed)


def every_shift(examples: Examples, limit: int) -> Examples:
    """Every image moved by each of -limit .. limit pixels down and across."""
    padded, ways = F.pad(examples.images, (limit,) * 4), range(2 * limit + 1)
    moved = [padded[:, :, i : i + SIDE, j : j + SIDE] for i in ways for j in ways]
    return Examples(torch.cat(moved), examples.labels.repeat(len(moved)))


def run(name: str, setting: Setting, seed: int) -> Outcome:
    """Train by a method of METHODS; misread images are counted over every shift of every one."""
    method = METHODS[name]
    config = Digits(batch=setting.batch * method.batch, examples=setting.examples)
    examples = load()
    parts = split(examples.labels, config)
    train = examples.take(parts.train)
    model = network(setting, method, seed)
    optimizer = optimiser(setting, method, seed, model)
    first, changed, asked = signs(model), [0.0], [0.0]
    for epoch in range(1, setting.epochs + 1):
        optimizer.param_groups[0]["lr"] = setting.rate(epoch)
        total = 0.0
        for number in range((epoch - 1) * method.passes, epoch * method.passes):
            seen = Examples(shifted(train.images, setting.shift, seed, number), train.labels)
            for part in batches(config, seed, number, len(train.labels)):
                batch, drawn = seen.take(part), method.weights == "stochastic"
                total += iterate(model, optimizer, batch, watch=drawn)
        asked.append(asked[-1] + total)
        changed.append((signs(model) != first).double().mean().item())
    settle(model, every_shift(train, setting.shift).images)
    test = every_shift(examples.take(parts.test), setting.shift)
    with torch.no_grad():
        logits = model(test.images)
    error = (logits.argmax(1) != test.labels).double().mean().item()
    return Outcome(error, logits, tuple(changed[1:]), tuple(asked[1:]), first, signs(model))


def iterate(
    model: nn.Module, optimizer: LatticeOptimizer, batch: Examples, *, watch: bool = False
) -> float:
    """One iteration; watch: returns the mean absolute increment of lattice weights, else 0."""
    optimizer.zero_grad(set_to_none=True)
    F.cross_entropy(model(batch.images), batch.labels).backward()
    watched = optimizer.slots if watch else []
    with optimizer.recorded(watched) as increments:
        optimizer.step()
    stop_latents(model)
    if not watched:
        return 0.0
    asked = torch.cat([increments[slot].reshape(-1) for slot in watched])
    return asked.abs().double().mean().item()


@torch.no_grad()
def settle(model: nn.Module, images: Tensor) -> None:
    """Measure the statistics of normalisation again, with the last weights, and use them.

    Running means remember weights that are gone: the signs of BC flip to the end, and its error
    would be twice as large.
    """
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # the mean over all that it sees
    model(images)
    model.eval()
