"""Units: modules that keep for the backward pass what comes in, and make the rest again there.

Of a layer, a batch norm and a stair a backward pass asks for three tensors of real numbers: the
inputs of all three. The first is ternary where a stair is before the layer, so that two bits keep
it, and the others are made from it again. So a unit keeps a quarter of a byte an element. It costs
one more forward pass of its modules.

A block with shortcuts is a unit too: it keeps its input, which is real as a rule.

All bits are those of the modules as they are: they are called again with the same numbers. Sums of
ternary products are whole numbers, exact in any order; where an input is real, torch's kernels must
repeat themselves, as they do on a CPU. Running numbers of batch norms move once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import get_gradient_edge
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from qcuda.errors import InputError
from qcuda.memory.chunks import Chunked, images_of
from qcuda.nn.activations import NoisyStair
from qcuda.nn.embedding import Embedding
from qcuda.nn.fused import NORMS, BatchStair, hooked
from qcuda.nn.kept import MOVED, Trits, as_trits
from qcuda.nn.layers import LatticeLayer, lattice_layers

POOLS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
)  # fmt: skip
REAL = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Unit(NamedTuple):
    """Modules that follow each other and are called again in the backward pass.

    most: if not 0, the first two are a convolution and a batch norm, whose outputs may be made in
    chunks of about so many bytes, see `qcuda.memory.chunks`.
    """

    modules: tuple[nn.Module, ...]
    most: int = 0

    def __call__(self, inputs: Tensor) -> Tensor:
        """What the modules make of the inputs, one after the other."""
        if (
            not torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or torch._C._are_functorch_transforms_active()
            or any(hooked(m) for m in self.all())
        ):
            return self.plainly(inputs)
        if self.most:
            images = images_of(self.modules[0], inputs, self.most)
            if images < len(inputs):
                return Chunked.apply(self, images, inputs, *self.parameters())
        return _Unit.apply(self, inputs, *self.parameters())

    def plainly(self, inputs: Tensor) -> Tensor:
        """The same, and all is kept."""
        for module in self.modules:
            inputs = module(inputs)
        return inputs

    def all(self) -> Iterator[nn.Module]:
        """The modules, and those inside them."""
        for module in self.modules:
            yield from module.modules()

    def parameters(self) -> list[nn.Parameter]:
        """Their parameters, each once."""
        return list({id(p): p for m in self.modules for p in m.parameters()}.values())

    def versions(self) -> list[Any]:
        """What must not change until the backward pass: weights, and whether modules train."""
        states = [m.state for m in self.all() if isinstance(m, LatticeLayer)]
        return [t._version for t in (*states, *self.parameters())] + [
            m.training for m in self.all()
        ]

    @contextmanager
    def unmoved(self) -> Iterator[None]:
        """Within this context norms move copies of their running numbers."""
        norms = [m for m in self.all() if isinstance(m, _NormBase)]
        own = [dict(norm._buffers) for norm in norms]
        for norm in norms:
            norm._buffers.update(
                {k: b if b is None else b.clone() for k, b in norm._buffers.items()}
            )
        try:
            yield
        finally:
            for norm, buffers in zip(norms, own, strict=True):
                norm._buffers.update(buffers)


class _Unit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, unit: Unit, x: Tensor, *parameters: nn.Parameter) -> Tensor:
        trits, kind = as_trits(x), x.device.type
        ctx.save_for_backward(x if trits is None else trits.bytes)
        ctx.lies = None if trits is None else trits[1:]
        ctx.unit, ctx.parameters, ctx.versions = unit, parameters, unit.versions()
        ctx.autocast = kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        return unit.plainly(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        unit: Unit = ctx.unit
        if unit.versions() != ctx.versions:
            raise InputError(MOVED)
        enters = ctx.needs_input_grad[1]
        with torch.enable_grad(), torch.autocast(*ctx.autocast), unit.unmoved():
            x = _Entry.apply(torch.zeros((), requires_grad=enters), ctx)
            begin = get_gradient_edge(x) if enters else None
            out = unit.plainly(x)
            del x
            end = get_gradient_edge(out)
            del out  # of both, the graph alone has the numbers now, as long as it needs them
        needed = ctx.needs_input_grad[1:]
        wanted: list[Any] = [
            p for p, need in zip((begin, *ctx.parameters), needed, strict=True) if need
        ]
        made = iter(torch.autograd.grad(end, wanted, gradient, allow_unused=True))
        return None, *(next(made) if need else None for need in needed)


class _Entry(torch.autograd.Function):
    """What comes into a unit, made again; it hangs on a number, so that no leaf has a copy."""

    @staticmethod
    def forward(ctx: Any, number: Tensor, unit: Any) -> Tensor:
        (kept,) = unit.saved_tensors
        return kept.detach() if unit.lies is None else Trits(kept, *unit.lies).numbers()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> None:
        raise AssertionError("gradients of a unit end where it begins")


class Units(nn.Sequential):
    """A `Sequential` that calls its modules as units, see `parts`.

    Its modules, their names and its state_dict are those of a `Sequential`. Units with hooks are
    called as other modules are, and so is all under torch.compile and in torch.func.
    """

    def forward(self, input: Tensor) -> Tensor:
        for part in parts(list(self)):
            input = part(input)
        return input


def parts(modules: Sequence[nn.Module]) -> list[nn.Module | Unit]:
    """Modules that follow each other, units taken together.

    A unit is a linear layer or a convolution, pools, a batch norm and a stair, or both fused, and
    pools; or a module of its own kind with lattice layers inside, and no dropout, unless it says
    that it `keeps_little` itself.
    """
    found: list[nn.Module | Unit] = []
    place = 0
    while place < len(modules):
        end = _end_of_unit(modules, place)
        found.append(Unit(tuple(modules[place:end])) if end else modules[place])
        place = end or place + 1
    return found


def _end_of_unit(modules: Sequence[nn.Module], place: int) -> int:
    """Where the unit ends that begins at a place, 0 if none does."""
    first = modules[place]
    lattice = isinstance(first, LatticeLayer)
    if getattr(first, "keeps_little", False):
        return 0
    if not lattice and lattice_layers(first) and not isinstance(first, nn.Sequential):
        draws = any(isinstance(m, _DropoutNd) or getattr(m, "dropout", 0) for m in first.modules())
        return 0 if draws else place + 1
    if isinstance(first, Embedding) or not (lattice or type(first) in REAL):
        return 0
    at = _after_pools(modules, place + 1)
    if at < len(modules) and isinstance(modules[at], BatchStair):
        return _after_pools(modules, at + 1)
    pair = at + 1 < len(modules) and type(modules[at]) in NORMS
    return _after_pools(modules, at + 2) if pair and isinstance(modules[at + 1], NoisyStair) else 0


def _after_pools(modules: Sequence[nn.Module], at: int) -> int:
    while at < len(modules) and type(modules[at]) in (*POOLS, nn.Identity):
        at += 1
    return at


def units_(model: nn.Module) -> list[str]:
    """Make a `Units` of each `Sequential` of a model that has units; their names.

    In place: the modules and their names stay as they are.
    """
    made = []
    for name, sequence in model.named_modules():
        found = type(sequence) is nn.Sequential and parts(list(sequence))
        if found and any(isinstance(part, Unit) for part in found):
            sequence.__class__ = Units
            made.append(name)
    return made
