"""Base optimisers and the whole training step of one tensor of lattice weights.

The equations are those of `qtheory.optimisers`; every operation is rounded to float32, in the
order written.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from qreference import walker
from qreference.arrays import BFloat16, Real
from qreference.philox import words
from qreference.storage import round_stochastically, widen
from qtheory.algorithms import Spec
from qtheory.arrays import Increment, Index
from qtheory.optimisers import LARGEST_MOMENT, SGD, Momentum, Optimiser
from qtheory.streams import Stream

MomentType: TypeAlias = Literal["float32", "bfloat16"]


class Moments(NamedTuple):
    """What a base optimiser remembers, in float32 or as bfloat16 bits."""

    first: Real | BFloat16 | None  # b of momentum, m of Adam
    second: Real | BFloat16 | None  # v of Adam


def init(
    optimiser: Optimiser, shape: tuple[int, ...], moment_type: MomentType = "float32"
) -> Moments:
    """Zeros for the moments that the optimiser has, None for the others."""
    dtype = np.float32 if moment_type == "float32" else np.uint16
    zeros = np.zeros(shape, dtype)
    if isinstance(optimiser, SGD):
        return Moments(None, None)
    if isinstance(optimiser, Momentum):
        return Moments(zeros, None)
    return Moments(zeros, zeros.copy())


def increment(
    optimiser: Optimiser, moments: Moments, gradient: Real, iteration: int
) -> tuple[Increment, Moments]:
    """The increment that iteration t = 1, 2, ... proposes, and the moments after it, float32.

    A gradient that is not finite, or one whose moments could not be kept, has the increment NaN
    and leaves both moments as they were. Other overflow gives infinities, without a warning.
    """
    scalars = optimiser.scalars(iteration)
    lr, beta1, gain1, beta2, gain2, c, epsilon = scalars
    g = gradient.astype(np.float32)
    first, second = moments
    with np.errstate(all="ignore"):
        if first is None:
            return _where(np.isfinite(g), -(lr * g)), moments
        if second is None:
            b = beta1 * first + g
            possible = np.abs(b) <= LARGEST_MOMENT
            return _where(possible, -(lr * b)), Moments(np.where(possible, b, first), None)
        m = beta1 * first + gain1 * g
        v = beta2 * second + gain2 * (g * g)
        possible = (np.abs(m) <= LARGEST_MOMENT) & (np.abs(v) <= LARGEST_MOMENT)
        proposed = -((lr * m) / (np.sqrt(v) * c + epsilon))
        after = Moments(np.where(possible, m, first), np.where(possible, v, second))
        return _where(possible, proposed), after


def _where(possible: np.ndarray, proposed: Increment) -> Increment:
    return np.where(possible, proposed, np.float32(np.nan))


def train_step(
    spec: Spec,
    optimiser: Optimiser,
    index: Index,
    moments: Moments,
    gradient: Real,
    *,
    seed: int,
    iteration: int,
    tensor: int,
    offset: int = 0,
    moment_type: MomentType = "float32",
) -> tuple[Index, Moments, int, int]:
    """One iteration t = 1, 2, ... of a tensor: gradient, increment, move.

    tensor, offset: the tensor's number and the global element number of its first weight.
    Returns the indices, the moments, the number of weights that changed level and the number
    of increments that were not a number.

    Moments in bfloat16 take part in float32 and are rounded stochastically when stored.
    """

    def draw(stream: Stream) -> np.ndarray:
        return words(seed, iteration, tensor, stream, index.size, offset).reshape(index.shape)

    wide = moments if moment_type == "float32" else _widen(moments)
    proposed, after = increment(optimiser, wide, gradient, iteration)
    if moment_type == "bfloat16":
        after = _round(after, draw(Stream.MOMENT))
    moved = walker.step(spec, index, proposed, draw(Stream.MOVE))
    changed = int(np.count_nonzero(moved != index))
    return moved, after, changed, int(np.count_nonzero(np.isnan(proposed)))


def _widen(moments: Moments) -> Moments:
    return Moments(*(None if value is None else widen(value) for value in moments))


def _round(moments: Moments, bits: np.ndarray) -> Moments:
    """The first moment takes the high 16 bits of each word, the second the low 16."""
    first, second = moments
    return Moments(
        None if first is None else round_stochastically(first, bits >> 16),
        None if second is None else round_stochastically(second, bits),
    )
