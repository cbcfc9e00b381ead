"""Somebody else's kernel on trial: any torch function that claims to round at random.

The protocol: `function(values)` takes a float32 tensor of increments, in spacings, and returns a
tensor of the same shape with whole numbers, the moves before an end of the lattice stops them.
One that claims to be stochastic rounding returns floor|x| or floor|x| + 1 with the sign of x and
the mean x, which is stochastic rounding of values to whole numbers. One that claims to be DST
takes the one level more with probability tanh(3 f). Randomness is its own; where it comes from
torch's default generator it is also examined for how fine it is.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from qcuda.validate.cells import Group, group
from qcuda.validate.kernels import Draw, Kernel, key
from qcuda.validate.tomography import COUNT, bisect
from qtheory.algorithms import Spec, spec_class
from qtheory.lattice import Lattice

Function = Callable[[Tensor], Tensor]
WIDE = Lattice(size=255, spacing=1.0, low=-127.0)
CHUNK = 2**16  # values of one call
QUOTIENTS = (0.0, 2.0**-20, 1 / 16, 0.1831, 0.25, 0.5, 0.75, 0.97, 1.0, 1.3, 2.5, 100.25)


def load(name: str) -> Function:
    """The function `module:function`; modules of the current folder are found too.

    Raises ValueError if there is none of that name.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f"an op is written module:function, got {name!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(
            f"an op is a function that can be imported, got {name!r}: {error}"
        ) from None
    if not callable(found):
        raise ValueError(f"an op is a function, got {name!r}")
    return cast(Function, found)


def op_kernel(function: Function, device: str, *, repeatable: bool) -> Kernel:
    """The function as a kernel.

    repeatable: seed torch before every launch, so that the same numbers give the same launch.
    Otherwise torch is seeded once and runs on, as it does in anybody's program.
    """
    last = [-1]

    def kernel(index: np.ndarray, increments: np.ndarray, draw: Draw) -> np.ndarray:
        if repeatable or last[0] != draw.seed:
            place = f"{draw.iteration} {draw.tensor}"
            torch.manual_seed(key(draw.seed, place) if repeatable else draw.seed)
            last[0] = draw.seed
        values = torch.from_numpy(increments).to(device)
        moves = [_whole(function, part) for part in values.split(CHUNK)]
        return np.clip(index + np.concatenate(moves), 0, draw.spec.lattice.size - 1)

    return kernel


def _whole(function: Function, values: Tensor) -> np.ndarray:
    """The function's moves as int64."""
    moves = function(values).detach().cpu()
    if moves.shape != values.shape:
        raise ValueError(f"an op keeps the shape {tuple(values.shape)}, got {tuple(moves.shape)}")
    whole = moves.to(torch.int64)
    if not bool((whole == moves).all()):
        raise ValueError(f"an op returns whole numbers, got {float(moves[whole != moves][0])}")
    return whole.numpy()


def table(stem: str) -> tuple[Group, ...]:
    """Increments of both signs from the middle of a lattice whose ends are far."""
    both = [*QUOTIENTS, *(-x for x in QUOTIENTS[1:])]
    return (group(spec_class(stem)(WIDE), [WIDE.centre], both),)


class Grain(NamedTuple):
    """How fine the hidden numbers of a kernel are."""

    log_e: float  # against numbers of 32 bits
    bits: int | None  # all are multiples of 2**-bits; None if finer than can be seen
    numbers: int


def grain(kernel: Kernel, spec: Spec, *, seed: int) -> Grain | None:
    """Whether critical fractions lie on a grid; None if launches can not be repeated.

    Under stochastic rounding the fraction from which on an element moves is uniform on (0, 1), so
    its bracket (l, l + h) of two neighbouring float32 has probability h, and one end is a multiple
    of 2**-b with probability h 2**b at most, where h is finer than that. If every one is, the
    product of the inverse probabilities is an e-value; those of all b, both ends and both
    signs are averaged.
    """
    index, draw = np.full(COUNT, spec.lattice.centre), Draw(spec, seed, 0, 0)
    half = np.full(COUNT, 0.5, np.float32)
    once, again = (kernel(index, half, draw) for _ in range(2))
    if not np.array_equal(once, again):
        return None
    found = bisect(kernel, COUNT, draw)
    ends = [end.astype(np.float64) for end in found]
    gap = ends[1] - ends[0]
    inside = (ends[0] >= 2.0**-9) & (ends[1] < 1)  # where 32-bit words are finer than float32
    odd = np.arange(COUNT) % 2 == 1  # those that were asked downwards
    values, bits = [], None
    for b, asked in ((b, asked) for b in range(8, 32) for asked in (odd, ~odd)):
        fine = inside & asked & (gap < 2.0**-b)
        for end in ends:
            on_grid = bool(((end * 2.0**b) % 1 == 0)[fine].all()) and bool(fine.any())
            values.append(float(-np.log(gap[fine] * 2.0**b).sum()) if on_grid else -math.inf)
            bits = b if bits is None and on_grid else bits
    return Grain(
        float(np.logaddexp.reduce(values)) - math.log(len(values)), bits, int(inside.sum())
    )
