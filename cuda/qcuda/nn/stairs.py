"""Stairs as activations under additive noise [spallanzani2022]: x becomes x - mean - scale e.

With a_i = (x - mean - t_i) / scale, and F and f the distribution function and the density of e, a
layer hands on one of

    expectation   q_0 + sum_i d_i F(a_i)
    mode          the lowest of the most probable levels, P(level i) = F(a_i) - F(a_(i+1))
    random        level number #{i : word < floor(F(a_i) 2**32)}, one word for each element

and, whichever it is, the backward slopes are those of the expectation:

    in x       sum_i d_i f(a_i) / scale
    in mean    minus that
    in scale   -sum_i d_i a_i f(a_i) / scale

For mode and random they are a straight-through estimate. At scale 0, and in evaluation, the stair
itself is handed on, at x - mean and with its tie rule, and slopes are 0; so a schedule that moves
the mean should end at 0. The window of uniform noise contains its left end but not its right one.
Where the input, scale or mean is NaN, so is what is handed on.

float64 is computed in float64, everything else in float32 and rounded once at the end: half
precision costs half a unit of its last place, no more. A scale below the smallest number of
that type is 0. Slopes can not be differentiated again: doing so raises RuntimeError.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from qcuda.errors import require
from qcuda.kernels import native
from qcuda.kernels.gpu import launcher
from qtheory.stairs.stair import Stair
from qtheory.streams import MAX_ELEMENT, MAX_ITERATION, MAX_SEED, MAX_TENSOR, Stream

Family: TypeAlias = Literal["uniform", "triangular", "normal", "logistic"]
Forward: TypeAlias = Literal["expectation", "mode", "random"]
FAMILIES: tuple[Family, ...] = get_args(Family)
FORWARDS: tuple[Forward, ...] = get_args(Forward)

LIBRARY = torch.library.Library("qtheory", "FRAGMENT")
LIBRARY.define("words(Tensor like, Tensor iteration, int seed, int tensor, int offset) -> Tensor")


def _checked_words(like: Tensor, iteration: Tensor, tensor: int, offset: int) -> int:
    """The iteration, after checks of what the counter is made from."""
    require(
        iteration.device.type == "cpu" and iteration.dtype == torch.int64,
        f"an iteration is int64 on the CPU, got {iteration.dtype} on {iteration.device}",
    )
    number = int(iteration)
    for name, value, limit in (
        ("an iteration", number, MAX_ITERATION),
        ("the number of a tensor", tensor, MAX_TENSOR),
        ("an element", offset, MAX_ELEMENT - like.numel()),
    ):
        require(0 <= value <= limit, f"{name} is in 0..{limit}, got {value}")
    return number


def _words_cpu(like: Tensor, iteration: Tensor, seed: int, tensor: int, offset: int) -> Tensor:
    number = _checked_words(like, iteration, tensor, offset)
    out = torch.empty(like.shape, dtype=torch.int32)
    if out.numel():
        native.library().qt_words(
            seed & MAX_SEED,
            number,
            tensor,
            int(Stream.ACTIVATE),
            offset,
            out.numel(),
            out.data_ptr(),
            torch.get_num_threads(),
        )
    return out.to(torch.int64) & 0xFFFFFFFF


def _words_cuda(like: Tensor, iteration: Tensor, seed: int, tensor: int, offset: int) -> Tensor:
    number = _checked_words(like, iteration, tensor, offset)
    out = torch.empty(like.shape, dtype=torch.int32, device=like.device)
    if out.numel():
        launcher(like.device.index).words(
            seed & MAX_SEED,
            number,
            tensor,
            int(Stream.ACTIVATE),
            offset,
            out.numel(),
            out.data_ptr(),
            torch.cuda.current_stream(like.device).cuda_stream,
        )
    return out.to(torch.int64) & 0xFFFFFFFF


def _words_fake(like: Tensor, iteration: Tensor, seed: int, tensor: int, offset: int) -> Tensor:
    return torch.empty(like.shape, dtype=torch.int64, device=like.device)


LIBRARY.impl("words", _words_cpu, "CPU")
LIBRARY.impl("words", _words_cuda, "CUDA")
torch.library.register_fake("qtheory::words", _words_fake, lib=LIBRARY)


def cumulative(family: Family, a: Tensor) -> Tensor:
    """F(a), in 0 .. 1."""
    match family:
        case "uniform":
            return (0.5 * (1 + a)).clamp(0, 1)
        case "triangular":
            half = 0.5 * (1 - a.abs()).clamp_min(0).square()
            return torch.where(a < 0, half, 1 - half)
        case "normal":
            return 0.5 * torch.special.erfc(a * -math.sqrt(0.5))
        case "logistic":
            return torch.sigmoid(a)


def density(family: Family, a: Tensor) -> Tensor:
    """f(a)."""
    match family:
        case "uniform":
            return 0.5 * ((a >= -1) & (a < 1)).to(a.dtype)
        case "triangular":
            return (1 - a.abs()).clamp_min(0)
        case "normal":
            return torch.exp(-0.5 * a.square()) * (1 / math.sqrt(2 * math.pi))
        case "logistic":
            return torch.sigmoid(a) * torch.sigmoid(-a)


def _hard(stair: Stair, x: Tensor) -> Tensor:
    """The stair at x, which is x - mean already."""
    out = torch.full_like(x, stair.levels[0])
    for t, level in zip(stair.thresholds, stair.levels[1:], strict=True):
        up = stair.tie == "up" or (stair.tie == "away" and t >= 0)
        out = torch.where(x >= t if up else x > t, level, out)
    return out


def _noisy(
    stair: Stair, family: Family, forward: Forward, x: Tensor, scale: Tensor, words: Tensor | None
) -> Tensor:
    """What is handed on at scale > 0, of no meaning at others; x is x - mean already."""
    reached = [cumulative(family, (x - t) / scale) for t in stair.thresholds]
    out = torch.full_like(x, stair.levels[0])
    if forward == "expectation":
        for f, jump in zip(reached, _jumps(stair), strict=True):
            out = out + jump * f
        return out
    if words is not None:
        past = torch.zeros(x.shape, dtype=torch.int64, device=x.device)
        for f in reached:
            past = past + (words < torch.floor(f.to(torch.float64) * 2.0**32))
        for i, level in enumerate(stair.levels):
            out = torch.where(past == i, level, out)
        return out
    best = 1 - reached[0]
    for f, above, level in zip(
        reached, [*reached[1:], torch.zeros_like(x)], stair.levels[1:], strict=True
    ):
        out = torch.where(f - above > best, level, out)
        best = torch.maximum(f - above, best)
    return out


def _jumps(stair: Stair) -> list[float]:
    return [high - low for low, high in pairwise(stair.levels)]


def _computed(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


class _NoisyStair(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        mean: Tensor,
        words: Tensor | None,
        stair: Stair,
        family: Family,
        forward: Forward,
    ) -> Tensor:
        ctx.save_for_backward(x, scale, mean)
        ctx.shape = (stair, family)
        dtype = _computed(x)
        at, s = x.to(dtype) - mean.to(dtype), scale.to(dtype)
        noisy = _noisy(stair, family, forward, at, s, words)
        out = torch.where(s > 0, noisy, _hard(stair, at))
        return torch.where(at.isnan() | s.isnan(), torch.nan, out).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  the decorator is at fault
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, scale, mean = ctx.saved_tensors
        stair, family = ctx.shape
        need = ctx.needs_input_grad
        dtype = _computed(x)
        at, s = x.to(dtype) - mean.to(dtype), scale.to(dtype)
        slope, moment = torch.zeros_like(at), torch.zeros_like(at)
        for t, jump in zip(stair.thresholds, _jumps(stair), strict=True):
            a = (at - t) / s
            f = density(family, a)
            slope = slope + jump * f
            if need[1]:
                moment = moment + jump * torch.where(f == 0, 0, torch.where(f == 0, 0, a) * f)
        noisy = s > 0
        slope = torch.where(noisy, slope / s, 0) * gradients[0].to(dtype)
        moment = torch.where(noisy, moment / s, 0) * gradients[0].to(dtype) if need[1] else moment
        return (
            slope.to(x.dtype),
            -moment.sum(dtype=torch.float64).to(scale.dtype) if need[1] else None,
            -slope.sum(dtype=torch.float64).to(mean.dtype) if need[2] else None,
            None, None, None, None,
        )  # fmt: skip


def additive_noise_stair(
    inputs: Tensor,
    scale: Tensor,
    mean: Tensor,
    stair: Stair,
    family: Family,
    forward: Forward,
    words: Tensor | None = None,
) -> Tensor:
    """The function of `AdditiveNoiseStair` while it trains, in the shape and type of the inputs.

    scale, mean: tensors of one number, differentiable. words: int64 in [0, 2**32), one for each
    element of a random pass. Raises ValueError if there are words for another pass or none for it.
    """
    require(
        (words is not None) == (forward == "random"),
        f"words are for a random pass, and it needs them, got {forward!r}",
    )
    return _NoisyStair.apply(inputs, scale, mean, words, stair, family, forward)


class AdditiveNoiseStair(nn.Module):
    """A stair as an activation, under additive noise while it trains. Formulas: see the module.

    stair: levels, thresholds and tie rule. family: uniform and triangular (scale: half width),
    normal (scale: standard deviation) or logistic (scale: its parameter). forward: what is handed
    on. scale >= 0 and mean: float64 tensors of no dimension, in units of the input; buffers that
    `set_noise` and a schedule move, or parameters if `learned`: then one that falls to 0 or below
    is a stair without noise, and stays one. They are float64 whatever the model is converted to.

    A random pass draws the word of element n (row by row, whatever the strides) of tensor `tensor`
    at `iteration` under `seed`, stream ACTIVATE: the same numbers give the same bits, for any
    number of threads, and again in a pass that is computed again. `number_stairs` gives layers
    their tensor numbers; a trainer moves `iteration` before each pass, by `set_iteration`, or words
    repeat. None of these is part of a checkpoint. The first axis is the batch, and its rows count
    from `row`: ranks and microbatches that share an iteration set it to their first row of the
    whole batch, and draw what the whole would; left at 0 they draw the same words as each other,
    as two places of a network that share one layer do.

    Raises ValueError if a name is not known, or scale or mean is not such a number.
    """

    scale: Tensor
    mean: Tensor
    family: Family
    strategy: Forward

    def __init__(
        self,
        stair: Stair,
        *,
        family: Family = "uniform",
        scale: float = 0.5,
        mean: float = 0.0,
        forward: Forward = "expectation",
        learned: bool = False,
    ) -> None:
        super().__init__()
        require(family in FAMILIES, f"a noise is one of {', '.join(FAMILIES)}, got {family!r}")
        require(
            forward in FORWARDS, f"a forward pass is one of {', '.join(FORWARDS)}, got {forward!r}"
        )
        self.stair, self.family, self.strategy = stair, family, forward
        for name in ("scale", "mean"):
            value = torch.zeros((), dtype=torch.float64)
            if learned:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
        self.set_noise(scale, mean)
        self.seed, self.tensor, self.row = 0, -1, 0
        self.iteration = torch.zeros((), dtype=torch.int64, device="cpu")  # whatever the device

    def set_noise(self, scale: float, mean: float = 0.0) -> None:
        """Move scale and mean, in place. Raises ValueError unless finite and scale >= 0."""
        require(
            math.isfinite(scale) and scale >= 0, f"a scale of noise is finite and >= 0, got {scale}"
        )
        require(math.isfinite(mean), f"the mean of a noise is finite, got {mean}")
        with torch.no_grad():
            self.scale.fill_(scale)
            self.mean.fill_(mean)

    def forward(self, inputs: Tensor) -> Tensor:
        require(
            inputs.is_floating_point(),
            f"a stair takes floating-point numbers, got {inputs.dtype}",
        )
        if not self.training:
            return self.hard(inputs)
        words = self.words(inputs) if self.strategy == "random" else None
        return additive_noise_stair(
            inputs, self.scale, self.mean, self.stair, self.family, self.strategy, words
        )

    def hard(self, inputs: Tensor) -> Tensor:
        """The stair at inputs - mean, as in evaluation; nothing flows back."""
        x = inputs.detach()
        at = x.to(_computed(x)) - self.mean.detach().to(_computed(x))
        return torch.where(at.isnan(), at, _hard(self.stair, at)).to(x.dtype)

    def words(self, inputs: Tensor) -> Tensor:
        """The words of a random pass, int64 in [0, 2**32), in the shape of the inputs.

        Raises ValueError if the layer has no tensor number yet.
        """
        require(
            self.tensor >= 0,
            "a random stair has its own tensor number, from number_stairs, got none",
        )
        seed = self.seed - 2**64 if self.seed >= 2**63 else self.seed
        offset = self.row * math.prod(inputs.shape[1:])
        return torch.ops.qtheory.words(inputs, self.iteration, seed, self.tensor, offset)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> AdditiveNoiseStair:
        exact = {name: getattr(self, name).detach().clone() for name in ("scale", "mean")}
        super()._apply(fn, recurse)
        for name, value in exact.items():
            moved = getattr(self, name)
            if moved.dtype != torch.float64:
                moved.data = value.to(moved.device)
        return self

    def extra_repr(self) -> str:
        shape = f"levels={len(self.stair.levels)}, family={self.family}, forward={self.strategy}"
        if self.scale.is_meta:
            return shape
        return f"{shape}, scale={self.scale.item():g}, mean={self.mean.item():g}"


def noise_stairs(model: nn.Module) -> dict[str, AdditiveNoiseStair]:
    """The noisy stairs of a model by name, in the order of its modules."""
    return {name: m for name, m in model.named_modules() if isinstance(m, AdditiveNoiseStair)}


def number_stairs(model: nn.Module, seed: int) -> None:
    """Give the noisy stairs their tensor numbers 0, 1, ... in module order, and a seed.

    Raises ValueError if the seed is not in 0..2**64 - 1.
    """
    require(0 <= seed <= MAX_SEED, f"a seed is in 0..{MAX_SEED}, got {seed}")
    for tensor, layer in enumerate(noise_stairs(model).values()):
        layer.seed, layer.tensor = seed, tensor


def set_iteration(model: nn.Module, iteration: int, row: int = 0) -> None:
    """Tell the noisy stairs of a model the iteration, in place, and the first row of their batch.

    row: how many rows of the whole batch of this iteration are before those of the next pass.
    Raises ValueError if the iteration is not in 0..2**32 - 1, or the row is below 0.
    """
    require(
        0 <= iteration <= MAX_ITERATION,
        f"an iteration is in 0..{MAX_ITERATION}, got {iteration}",
    )
    require(row >= 0, f"the first row of a batch is >= 0, got {row}")
    for layer in noise_stairs(model).values():
        layer.iteration.fill_(iteration)
        layer.row = row
