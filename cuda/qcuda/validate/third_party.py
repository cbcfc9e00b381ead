"""Somebody else's kernel on trial: any function that claims to round at random.

The protocol: `function(values)` takes increments in spacings, float32, and returns whole numbers of
the same shape: the moves before an end of the lattice stops them. It takes and returns a torch
tensor, or a NumPy array, as functions of numba do. One that claims to be stochastic rounding
returns floor|x| or floor|x| + 1 with the sign of x and the mean x, which is stochastic rounding of
values to whole numbers. One that claims to be DST takes the one level more with probability
tanh(3 f). Randomness is its own; where it comes from the default generators of torch, NumPy or
Python it is also examined for how fine it is.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
import random
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from qcuda.errors import InputError, require
from qcuda.validate.cells import Group, group
from qcuda.validate.kernels import Draw, Kernel, key
from qcuda.validate.tomography import COUNT, bisect
from qtheory.algorithms import Spec, spec_class
from qtheory.lattice import Lattice

WIDE = Lattice(size=255, spacing=1.0, low=-127.0)
CHUNK = 2**16  # values of one call
QUOTIENTS = (0.0, 2.0**-20, 1 / 16, 0.1831, 0.25, 0.5, 0.75, 0.97, 1.0, 1.3, 2.5, 100.25)
LONGEST = 300  # characters of somebody's error message


class Op(NamedTuple):
    """A function on trial. kind: what it takes and returns, torch's tensors or NumPy's arrays."""

    name: str
    function: Callable[[Any], Any]
    kind: type[Tensor] | type[np.ndarray]

    def moves(self, values: Tensor) -> np.ndarray:
        """Its moves, int64 (n,), for increments in spacings, float32 (n,), which stay as they are.

        Raises InputError if it fails, or returns anything but whole numbers of that shape.
        """
        given = values.clone() if self.kind is Tensor else values.cpu().numpy().copy()
        try:
            found = self.function(given)
        except Exception as error:
            raise InputError(f"{self.name} rounds {_size(values)}, got {_said(error)}") from error
        require(
            isinstance(found, self.kind),
            f"{self.name} returns a torch tensor or a NumPy array, got {type(found).__name__}",
        )
        moves = found.detach().cpu() if isinstance(found, Tensor) else torch.from_numpy(found)
        require(
            moves.shape == values.shape,
            f"{self.name} keeps the shape {tuple(values.shape)}, got {tuple(moves.shape)}",
        )
        require(not moves.is_complex(), f"{self.name} returns real numbers, got {moves.dtype}")
        whole = moves.to(torch.int64)
        wrong = moves[whole != moves]
        require(
            not wrong.numel(),
            f"{self.name} returns whole numbers, got {float(wrong[0]) if wrong.numel() else 0}",
        )
        return whole.numpy()


def _size(values: Tensor) -> str:
    return f"a float32 array of shape {tuple(values.shape)}"


def _said(error: Exception) -> str:
    """Somebody's error in a line: what, and in which line of their file it came up."""
    text = " ".join(str(error).split())
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    files = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_file()]
    theirs = [f for f in files if Path(f.filename) != Path(__file__)]
    place = f" ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else ""
    return f"{type(error).__name__}: {text}{place}"


def trial(name: str, function: Callable[[Any], Any]) -> Op:
    """A function as an op, tried on three values: first as tensor, then as array.

    Raises InputError if it takes neither.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        signature = None  # as of functions written in C
    if signature is not None:
        try:
            signature.bind(None)
        except TypeError:
            raise InputError(f"an op is called with one argument, got {name}{signature}") from None
    wrong: list[InputError] = []
    for kind in (Tensor, np.ndarray):
        op = Op(name, function, kind)
        try:
            op.moves(torch.tensor([0.0, 0.25, -1.5]))
        except InputError as error:
            wrong.append(error)
        else:
            return op
    raise next((error for error in wrong if error.__cause__ is None), wrong[0])


def load(name: str) -> Op:
    """The function `module:function`; modules of the current folder are found too.

    Raises InputError if there is none of that name, or it does not keep the protocol.
    """
    module, colon, attribute = name.partition(":")
    require(
        bool(module and colon and attribute) and not module.endswith(".py"),
        f"an op is written module:function, without .py, got {name!r}",
    )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        home = importlib.import_module(module)
    except Exception as error:
        raise InputError(
            f"an op is in a module that can be imported, got {_said(error)}"
        ) from error
    found = getattr(home, attribute, None)
    near = difflib.get_close_matches(attribute, _functions(home), n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    require(callable(found), f"an op is a function of its module, got {name!r}{meant}")
    assert callable(found)
    return trial(name, found)


def _functions(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if callable(value)]


def op_kernel(op: Op, device: str, *, repeatable: bool) -> Kernel:
    """The op as a kernel.

    repeatable: seed the default generators before every launch, so that the same numbers give the
    same launch. Otherwise they are seeded once and run on, as they do in anybody's program.
    """
    last = [-1]

    def kernel(index: np.ndarray, increments: np.ndarray, draw: Draw) -> np.ndarray:
        if repeatable or last[0] != draw.seed:
            place = f"{draw.iteration} {draw.tensor}"
            _seed(key(draw.seed, place) if repeatable else draw.seed)
            last[0] = draw.seed
        values = torch.from_numpy(increments).to(device)
        moves = [op.moves(part) for part in values.split(CHUNK)]
        return np.clip(index + np.concatenate(moves), 0, draw.spec.lattice.size - 1)

    return kernel


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed([seed % 2**32, seed >> 32])
    random.seed(seed)


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
