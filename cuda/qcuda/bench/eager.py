"""Updates and readings as a torch user would write them, by stem: what kernels are timed beside.

A move takes codes (an index less half the lattice's size), increments in spacings, the spec and
where uniform numbers come from, and gives the new codes, not yet stopped at the ends. A reading
takes latents, what is learned, the spec and the same source, and gives what is seen; its gradients
are torch's own. `through` is the usual straight-through trick.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Draw: TypeAlias = Callable[[Tensor], Tensor]
"""Uniform numbers in [0, 1) in a tensor's shape: `torch.rand_like`."""
Move: TypeAlias = Callable[[Tensor, Tensor, Any, Draw], Tensor]
Reading: TypeAlias = Callable[[Tensor, Sequence[Tensor], Any, Draw], Tensor]


def through(level: Tensor, proxy: Tensor) -> Tensor:
    """A level with the gradient of its proxy."""
    return level + (proxy - proxy.detach())


def _one_more(code: Tensor, x: Tensor, chance: Callable[[Tensor], Tensor], draw: Draw) -> Tensor:
    size = x.abs()
    whole = size.floor()
    return code + torch.sign(x) * (whole + (draw(x) < chance(size - whole)))


def _rounding(code: Tensor, x: Tensor, spec: Any, draw: Draw) -> Tensor:
    return torch.floor(code + x + draw(x))


def _nearest(code: Tensor, x: Tensor, spec: Any, draw: Draw) -> Tensor:
    target = code + x
    return torch.sign(target) * torch.floor(target.abs() + 0.5)


def _metropolis(code: Tensor, x: Tensor, spec: Any, draw: Draw) -> Tensor:
    unlikely = torch.exp(-x.abs() / spec.temperature)
    likely = torch.ones_like(x)
    if spec.acceptance == "heat_bath":
        likely = 1 / (1 + unlikely)
        unlikely = unlikely * likely
    half, u = 0.5 * spec.proposal, draw(x)
    down = half * torch.where(x > 0, unlikely, likely)
    up = half * torch.where(x < 0, unlikely, likely)
    return code + (u >= 1 - up).float() - (u < down).float()


def _beyond(code: Tensor, x: Tensor, threshold: Tensor | float) -> Tensor:
    return code + (x > threshold).float() - (x < -threshold).float()


def _hysteresis(code: Tensor, x: Tensor, spec: Any, draw: Draw) -> Tensor:
    inner = spec.threshold * spec.hysteresis if spec.lattice.size % 2 else spec.threshold
    return _beyond(code, x, torch.where(code == 0, inner, spec.threshold))


def _langevin(code: Tensor, x: Tensor, spec: Any, draw: Draw) -> Tensor:
    """Unadjusted."""
    levels = torch.arange(spec.lattice.size, device=x.device) - spec.lattice.size // 2
    moves = levels - code[..., None]
    force, stiffness = x[..., None] / (2 * spec.temperature), 1 / (2 * spec.step)
    shares = torch.softmax(moves * (force - stiffness * moves), -1)
    return levels[0] + (shares.cumsum(-1)[..., :-1] <= draw(x)[..., None]).sum(-1)


MOVES: dict[str, Move] = {
    "dst": lambda code, x, spec, draw: _one_more(
        code, x, lambda f: torch.tanh(spec.nonlinearity * f), draw
    ),
    "stochastic_rounding": _rounding,
    "deterministic_rounding": _nearest,
    "metropolis": _metropolis,
    "bop": lambda code, x, spec, draw: _beyond(code, x, spec.threshold),
    "ternary_bop": _hysteresis,
    "discrete_langevin": _langevin,
}


def moved(code: Tensor, increment: Tensor, spec: Any, move: Move, draw: Draw) -> Tensor:
    """Codes after a step, in their own type. increment: in weight units."""
    low, lattice = -(spec.lattice.size // 2), spec.lattice
    after = move(code, increment / lattice.spacing, spec, draw)
    return after.clamp(low, low + lattice.size - 1).to(code.dtype)


def _filters(x: Tensor, group: str) -> tuple[int, ...]:
    return tuple(range(1 if group == "filter" else 0, x.dim()))


def _binary_connect(x: Tensor, learned: Sequence[Tensor], spec: Any, draw: Draw) -> Tensor:
    lattice = spec.lattice
    place = (x - lattice.low) / lattice.spacing
    at = draw(x) if spec.reading == "stochastic" else 0.5
    level = torch.floor(place + at).clamp(0, lattice.size - 1)
    return through(lattice.low + lattice.spacing * level, x)


def _xnor(x: Tensor, learned: Sequence[Tensor], spec: Any, draw: Draw) -> Tensor:
    axes = _filters(x, "filter")
    alpha, sign = x.abs().mean(axes, keepdim=True), torch.where(x >= 0, 1.0, -1.0)
    if spec.gradient == "exact":
        return alpha * through(sign, x.clamp(-1, 1))
    alpha = alpha.detach()
    inside = functional.hardtanh(x) if spec.gradient == "released" else x.clamp(-1, 1)
    return through(alpha * sign, alpha * inside + x / x[0].numel())


def _ternary(x: Tensor, learned: Sequence[Tensor], spec: Any, draw: Draw) -> Tensor:
    axes, size = _filters(x, spec.group), x.detach().abs()
    if spec.gains == "means":
        some = size > spec.threshold * size.mean(axes, keepdim=True)
        count = some.sum(axes, keepdim=True).clamp(min=1)
        alpha = (size * some).sum(axes, keepdim=True) / count
        return through(alpha * some * x.detach().sign(), x)
    cut = spec.threshold * size.amax(axes, keepdim=True)
    above, below = x.detach() > cut, x.detach() < -cut
    up, down = learned
    factor = torch.where(above, up, torch.where(below, down, 1.0)).detach()
    return through(up * above - down * below, factor * x)


def _learned_steps(x: Tensor, learned: Sequence[Tensor], spec: Any, draw: Draw) -> Tensor:
    lattice, step = spec.lattice, learned[0]
    if spec.scale == "size":
        factor = 1 / math.sqrt(x.numel() // step.numel() * lattice.high)
        step = through(step.detach(), step * factor)
    inside = functional.hardtanh(x / step, lattice.low, lattice.high)
    place = torch.floor((inside - lattice.low) / lattice.spacing + 0.5)
    level = lattice.low + lattice.spacing * place.clamp(max=lattice.size - 1)
    return step * through(level.detach(), inside)


def _pruned(x: Tensor, learned: Sequence[Tensor], spec: Any, draw: Draw) -> Tensor:
    """By size or by a learned threshold, which feels latents within half of it."""
    axes, size = _filters(x, spec.group), x.detach().abs()
    if spec.rule == "threshold":
        cut = learned[0]
    else:
        rows = size.flatten(1) if spec.group == "filter" else size.reshape(1, -1)
        cut = rows.kthvalue(math.floor(spec.zeros * rows.shape[1] + 0.5)).values
        cut = cut.reshape(-1, *(1,) * (x.dim() - 1))
    some = size > cut.detach()
    alpha = (size * some).sum(axes, keepdim=True) / some.sum(axes, keepdim=True).clamp(min=1)
    seen = through(alpha * some * x.detach().sign(), x)
    if spec.rule != "threshold":
        return seen
    felt = x.detach().sign() * (size / cut - 0.5).clamp(0, 1)
    return seen + alpha * (felt - felt.detach())


CHANCES: dict[str, Callable[[Tensor], Tensor]] = {
    "uniform": lambda a: (0.5 * (1 + a)).clamp(0, 1),
    "triangular": lambda a: torch.where(
        a < 0, 0.5 * (1 + a).clamp(min=0) ** 2, 1 - 0.5 * (1 - a).clamp(min=0) ** 2
    ),
    "normal": lambda a: 0.5 * (1 + torch.erf(a * math.sqrt(0.5))),
    "logistic": torch.sigmoid,
}
"""Distribution functions of noise of scale 1."""


def _annealed(x: Tensor, learned: Sequence[Tensor], spec: Any, draw: Draw) -> Tensor:
    lattice, cdf = spec.lattice, CHANCES[spec.family]
    scale = spec.scale * lattice.spacing
    cuts = [lattice.low + lattice.spacing * (k + 0.5) for k in range(lattice.size - 1)]
    chances = [cdf((x - cut) / scale) for cut in cuts]
    mean = lattice.low + lattice.spacing * sum(chances)
    if spec.shown == "expectation":
        return mean
    if spec.shown == "mode":
        certain = torch.stack([torch.ones_like(x), *chances, torch.zeros_like(x)]).detach()
        place = (certain[:-1] - certain[1:]).argmax(0)
    elif spec.shown == "random":
        u = draw(x)
        place = sum((u < chance.detach()).float() for chance in chances)
    else:
        place = sum((x.detach() >= cut).float() for cut in cuts)
    return through(lattice.low + lattice.spacing * place, mean)


READINGS: dict[str, Reading] = {
    "binary_connect": _binary_connect,
    "xnor_net": _xnor,
    "ternary_weights": _ternary,
    "learned_steps": _learned_steps,
    "prune_quantize": _pruned,
    "ana": _annealed,
}
