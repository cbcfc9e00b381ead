"""Functions of stairs under additive noise [spallanzani2022]: x becomes x - mean - scale e.

With a_i = (x - mean - t_i) / scale, and F and f the distribution function and the density of e, a
layer hands on one of

    expectation   q_0 + sum_i d_i F(a_i)
    mode          the lowest of the most probable levels, P(level i) = F(a_i) - F(a_(i+1))
    random        level number #{i : word < floor(F(a_i) 2**32)}, one word for each element
    hard          the stair at x - mean, with its tie rule

and, whichever it is, the backward slopes are those of the expectation:

    in x       sum_i d_i f(a_i) / scale
    in mean    minus that
    in scale   -sum_i d_i a_i f(a_i) / scale

For mode, random and hard they are a straight-through estimate: behind a hard pass, a window of the
straight-through estimator is the density of a noise. At scale 0 every pass is the hard one, and
slopes are 0; so a schedule that moves the mean should end at 0. The window of uniform noise
contains its left end but not its right one. Where the input, scale or mean is NaN, so is what is
handed on.

float64 is computed in float64, everything else in float32 and rounded once at the end: half
precision costs half a unit of its last place, no more. A scale below the smallest number of
that type is 0. Slopes can not be differentiated again, and there is no forward-mode derivative:
asking for either raises an error.

`odd_stair` is the hard pass of [deng2018], with windows as printed there, closed at both ends and
folded at 0. It is what a network of discrete activations spends its time in: it has no mean and no
slope in the scale, and is one kernel forwards and one backwards (qcuda.kernels.stairs). What is
kept for the backward pass is one bit an element for one threshold, a count of 2, 4 or 8 bits for
more, and the input itself if windows are triangular or jumps differ.
"""

from __future__ import annotations

import inspect
import math
from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import torch
from torch import Tensor

from qcuda.errors import require
from qcuda.kernels import stairs
from qtheory.stairs.stair import Stair

Family: TypeAlias = Literal["uniform", "triangular", "normal", "logistic"]
Forward: TypeAlias = Literal["expectation", "mode", "random", "hard"]
Made = TypeVar("Made", bound=Callable[..., Any])
FAMILIES: tuple[Family, ...] = get_args(Family)
FORWARDS: tuple[Forward, ...] = get_args(Forward)


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


def goes_up(stair: Stair, threshold: float) -> bool:
    """Whether an input on a threshold has the upper level."""
    away, inward = stair.tie == "away", stair.tie == "inward"
    return stair.tie == "up" or (away and threshold >= 0) or (inward and threshold <= 0)


def hard(stair: Stair, x: Tensor) -> Tensor:
    """The stair at x, which is x - mean already; of NaN the lowest level."""
    out = torch.full_like(x, stair.levels[0])
    for t, level in zip(stair.thresholds, stair.levels[1:], strict=True):
        out = torch.where(x >= t if goes_up(stair, t) else x > t, level, out)
    return out


def _noisy(
    stair: Stair, family: Family, forward: Forward, x: Tensor, scale: Tensor, words: Tensor | None
) -> Tensor:
    """What is handed on at scale > 0, of no meaning at others; x is x - mean already."""
    if forward == "hard":
        return hard(stair, x)
    reached = [cumulative(family, (x - t) / scale) for t in stair.thresholds]
    out = torch.full_like(x, stair.levels[0])
    if forward == "expectation":
        for f, jump in zip(reached, jumps(stair), strict=True):
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


def jumps(stair: Stair) -> list[float]:
    """From each level to the next."""
    return [high - low for low, high in pairwise(stair.levels)]


def computed(x: Tensor) -> torch.dtype:
    """The type in which an activation of x is computed."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


class _NoisyStair(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor,
        scale: Tensor,
        mean: Tensor,
        words: Tensor | None,
        stair: Stair,
        family: Family,
        forward: Forward,
    ) -> Tensor:
        dtype = computed(x)
        at, s = x.to(dtype) - mean.to(dtype), scale.to(dtype)
        noisy = _noisy(stair, family, forward, at, s, words)
        out = torch.where(s > 0, noisy, hard(stair, at))
        return torch.where(at.isnan() | s.isnan(), torch.nan, out).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, scale, mean, _, *shape, _ = inputs
        ctx.save_for_backward(x, scale, mean)
        ctx.shape = shape

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, mean = ctx.saved_tensors
        stair, family = ctx.shape
        need = ctx.needs_input_grad
        dtype = computed(x)
        at, s = x.to(dtype) - mean.to(dtype), scale.to(dtype)
        slope, moment = torch.zeros_like(at), torch.zeros_like(at)
        for t, jump in zip(stair.thresholds, jumps(stair), strict=True):
            a = (at - t) / s
            f = density(family, a)
            slope = slope + jump * f
            if need[1]:
                moment = moment + jump * torch.where(f == 0, 0, torch.where(f == 0, 0, a) * f)
        noisy = s > 0
        slope = torch.where(noisy, slope / s, 0) * gradients[0].to(dtype)
        moment = torch.where(noisy, moment / s, 0) * gradients[0].to(dtype) if need[1] else moment
        found = (
            slope.to(x.dtype),
            -moment.sum(dtype=torch.float64).to(scale.dtype) if need[1] else None,
            -slope.sum(dtype=torch.float64).to(mean.dtype) if need[2] else None,
        )
        sources = (gradients[0], x, scale, mean)
        return *(f if f is None else once(f, *sources) for f in found), None, None, None, None


def noisy_stair(
    inputs: Tensor,
    scale: Tensor,
    mean: Tensor,
    stair: Stair,
    family: Family,
    forward: Forward,
    words: Tensor | None = None,
) -> Tensor:
    """The function of `NoisyStair` while it trains, in the shape and type of the inputs.

    scale, mean: tensors of one number, differentiable. words: int64 in [0, 2**32), one for each
    element of a random pass. Raises ValueError if there are words for another pass or none for it.
    """
    require(
        (words is not None) == (forward == "random"),
        f"words are for a random pass, and it needs them, got {forward!r}",
    )
    return _NoisyStair.apply(inputs, scale, mean, words, stair, family, forward)


def is_half(stair: Stair) -> bool:
    """Whether an odd stair is given for x >= 0 alone."""
    return stair.levels[0] == 0


class _Given(inspect.BoundArguments):
    """All arguments of a call, by their places."""

    @property
    def args(self) -> tuple[Any, ...]:
        return tuple(self.arguments.values())

    def apply_defaults(self) -> None:
        pass


class _Places(inspect.Signature):
    """The signature of a function that is called with all of its arguments by their places."""

    def bind(self, *args: Any) -> inspect.BoundArguments:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Given(self, OrderedDict(zip(self.parameters, args, strict=True)))


def quick_to_bind(forward: Made) -> Made:
    """The function, for which `autograd.Function.apply` binds arguments in a few microseconds.

    It asks for the signature at each call, and walks through it twice, unless there is one here.
    """
    signature = inspect.signature(forward)
    setattr(forward, "__signature__", _Places(list(signature.parameters.values())))  # noqa: B010
    return forward


class _OddStair(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    @quick_to_bind
    def forward(x: Tensor, scale: Tensor, stair: Stair, triangular: bool) -> tuple[Tensor, Tensor]:
        bits = stairs.count_bits(stair.levels, triangular)
        return torch.ops.qtheory.stair(
            x, scale, stair.thresholds, stair.levels, is_half(stair), stair.tie == "up", bits
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, scale, stair, triangular = inputs
        z, windows = output
        ctx.mark_non_differentiable(windows)
        ctx.set_materialize_grads(False)  # or zeros would be written for the windows
        bits = stairs.count_bits(stair.levels, triangular)
        ctx.save_for_backward(windows if bits else x, scale)
        ctx.shape = (stair, triangular, bits, z.stride())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None, None]:
        kept, scale = ctx.saved_tensors
        if gradients[0] is None:
            return None, None, None, None
        stair, triangular, bits, stride = ctx.shape
        slope = torch.ops.qtheory.stair_slope(
            gradients[0], kept, scale, stair.thresholds, stair.levels, is_half(stair), triangular,
            bits, stride,
        )  # fmt: skip
        return once(slope, gradients[0], kept), None, None, None


class _Once(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(slope: Tensor, *sources: Tensor) -> Tensor:
        return slope.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, ...]:
        raise RuntimeError("slopes of a stair are differentiated once, got a second derivative")


def once(slope: Tensor, *sources: Tensor) -> Tensor:
    """The slope, which raises RuntimeError where it is differentiated again in its sources."""
    return _Once.apply(slope, *sources) if torch.is_grad_enabled() else slope


def odd_stair(inputs: Tensor, scale: Tensor, stair: Stair, family: Family) -> Tensor:
    """An odd stair, with a window of half width a = scale around each of its thresholds [deng2018].

    A stair whose lowest level is 0 is given for x >= 0 alone, and stands for sign(x) q(|x|); any
    other is given whole. With u = |x| or u = x, the slope is a sum over thresholds of

        uniform      d_i / 2a                    for |u - t_i| <= a, else 0
        triangular   d_i max(0, 1 - |u - t_i| / a) / a

    so that windows of half a stair end at x = 0. A threshold belongs to its upper level if the tie
    rule is "up", else to its lower one. Levels are sums of jumps, exact for those of `MultiStep`.
    """
    return _OddStair.apply(inputs, scale, stair, family == "triangular")[0]
