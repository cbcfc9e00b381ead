"""Networks and data that stages share, the same on every device."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

import qcuda
from qcuda.nn import lattice_layers
from qtheory import Lattice
from qtheory.algorithms import contract, spec_class, walkers
from qtheory.optimisers import SGD, Adam, Momentum, Normalized, Optimiser

TERNARY, SIXTEEN = Lattice.ternary(), Lattice(16, 0.25, -2.0)
MOMENTS = ("float32", "bfloat16")
RULES = sorted(walkers())
# The walker that stages use which are about something else: the first with a number of its own.
RULE = next(  # whose words count, and which has a number
    rule
    for rule in RULES
    if contract(rule).destinations == "coin"
    and any(not knob.choices for knob in contract(rule).knobs)
)
BASES: dict[str, Optimiser] = {
    "sgd": SGD(0.3),
    "momentum": Momentum(0.1, 0.9),
    "adam": Adam(0.02),
}
NORMALISED = {
    "normalised over a layer": Normalized(0.1),
    "normalised over a neuron": Normalized(0.1, 0.9, 0.9, "neuron"),
}


def small_net(lattice: Lattice = TERNARY) -> nn.Module:
    """Convolution and linear layers, batch norm and stairs; counts that fill no whole group."""
    torch.manual_seed(5)
    model = nn.Sequential(
        nn.Conv2d(3, 13, 3, padding=1),
        nn.BatchNorm2d(13),
        qcuda.nn.MultiStep(),
        nn.Conv2d(13, 11, 3, stride=2, padding=1),
        nn.BatchNorm2d(11),
        qcuda.nn.MultiStep(),
        nn.Flatten(),
        nn.Linear(11 * 8 * 8, 10),
    )
    return qcuda.quantize_(model, qcuda.LatticeConfig(lattice))


@cache
def batch(device: torch.device) -> tuple[Tensor, Tensor]:
    """Sixteen images and labels, made once: a capture copies nothing from the host."""
    g = torch.Generator().manual_seed(6)
    images = torch.randn(16, 3, 16, 16, generator=g)
    return images.to(device), torch.randint(0, 10, (16,), generator=g).to(device)


def loss_of(model: Callable[[Tensor], Tensor], device: torch.device) -> Tensor:
    """Cross entropy on the batch."""
    images, labels = batch(device)
    return nn.functional.cross_entropy(model(images).float(), labels)


def optimizer_of(
    model: nn.Module,
    base: str = "adam",
    moments: str = "float32",
    lattice: Lattice = TERNARY,
    rule: str = RULE,
) -> qcuda.LatticeOptimizer:
    """A walker on the lattice, with its own numbers as they are by default."""
    spec = spec_class(rule)(lattice)
    return qcuda.LatticeOptimizer(
        model.parameters(), spec, base={**BASES, **NORMALISED}[base], seed=7, moments=moments
    )


def states(model: nn.Module) -> list[bytes]:
    """The stored weights of all lattice layers."""
    layers = lattice_layers(model).values()
    return [layer.state.detach().cpu().numpy().tobytes() for layer in layers]


def twins(device: torch.device, lattice: Lattice = TERNARY) -> tuple[nn.Module, nn.Module]:
    """The same network on the CPU and on a device."""
    model = small_net(lattice)
    return model, copy.deepcopy(model).to(device)


def copy_gradients(source: nn.Module, target: nn.Module) -> None:
    """Give a network the gradients of its twin, bit for bit."""
    for one, other in zip(source.parameters(), target.parameters(), strict=True):
        assert one.grad is not None
        other.grad = one.grad.detach().to(other.device)


class Difference(Exception):
    """Two results that should be equal are not."""


def expect(holds: bool, sentence: str) -> None:
    """Raise Difference with the sentence unless it holds."""
    if not holds:
        raise Difference(sentence)


def expect_equal_states(model: nn.Module, other: nn.Module, when: str) -> None:
    """Raise Difference unless the stored weights of two networks are the same bytes."""
    names = lattice_layers(model)
    wrong = [n for n, a, b in zip(names, states(model), states(other), strict=True) if a != b]
    expect(not wrong, f"equal states {when}, got others in {', '.join(wrong)}")


def expect_equal_kept(
    optimizer: qcuda.LatticeOptimizer, other: qcuda.LatticeOptimizer, when: str
) -> None:
    """Raise Difference unless what two optimisers keep for lattice weights has the same bytes."""
    for place, slots in enumerate(zip(optimizer.slots, other.slots, strict=True)):
        one, two = (o.state[s] for o, s in zip((optimizer, other), slots, strict=True))
        wrong = [
            name
            for name in {**one, **two}
            if name not in one or name not in two or _bytes(one[name]) != _bytes(two[name])
        ]
        expect(not wrong, f"equal moments {when}, got others in {', '.join(wrong)} of slot {place}")


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


class NotRun(Exception):
    """A stage needs what this machine has not."""
