"""Base optimisers and the whole training step of one tensor of lattice weights.

The equations are those of `qtheory.optimisers`; every operation is rounded to float32, in the
order written.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from qreference import walker
from qreference.arrays import BFloat16, Codes, Real
from qreference.philox import words
from qreference.storage import round_stochastically, round_to_units, widen
from qtheory.algorithms import Spec, contract
from qtheory.arrays import Increment, Index
from qtheory.optimisers import (
    LANES,
    LARGEST_MOMENT,
    PART,
    SGD,
    UNIT,
    Momentum,
    Normalized,
    Optimiser,
    Scalars,
)
from qtheory.streams import Stream

MomentType: TypeAlias = Literal["float32", "bfloat16", "int8"]
DTYPES = {"float32": np.float32, "bfloat16": np.uint16, "int8": np.int8}


class Moments(NamedTuple):
    """What a base optimiser remembers: moments in float32, as bfloat16 bits or in int8 units."""

    first: Real | BFloat16 | Codes | None  # b of momentum, m of Adam, z of normalised gradients
    second: Real | BFloat16 | None  # v of Adam
    square: Real | None = None  # q of normalised gradients, one for each row


def init(
    optimiser: Optimiser, shape: tuple[int, ...], moment_type: MomentType = "float32"
) -> Moments:
    """Zeros for the moments that the optimiser has, None for the others."""
    zeros = np.zeros(shape, DTYPES[moment_type])
    if isinstance(optimiser, Normalized):
        square = np.zeros(optimiser.rows(shape), np.float32)
        return Moments(zeros if optimiser.momentum else None, None, square)
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
    first, second, square = moments
    if square is not None:
        gain, square = gains(scalars, square, g)
        with np.errstate(all="ignore"):
            g = (gain[:, None] * g.reshape(gain.size, -1)).reshape(g.shape)
    with np.errstate(all="ignore"):
        if first is None:
            return _where(np.isfinite(g), -(lr * g)), Moments(None, None, square)
        if second is None:
            b = beta1 * first + g
            possible = np.abs(b) <= LARGEST_MOMENT
            return _where(possible, -(lr * b)), Moments(np.where(possible, b, first), None, square)
        m = beta1 * first + gain1 * g
        v = beta2 * second + gain2 * (g * g)
        possible = (np.abs(m) <= LARGEST_MOMENT) & (np.abs(v) <= LARGEST_MOMENT)
        proposed = -((lr * m) / (np.sqrt(v) * c + epsilon))
        after = Moments(np.where(possible, m, first), np.where(possible, v, second))
        return _where(possible, proposed), after


def gains(scalars: Scalars, square: Real, gradient: Real) -> tuple[Real, Real]:
    """The gain of each row, and the running mean squares after it, float32 of shape (rows,)."""
    rows = gradient.reshape(square.size, -1)
    with np.errstate(all="ignore"):
        mean = np.array([sum_of_squares(row) for row in rows]) / np.float64(rows.shape[1])
        q = scalars.second_decay * square + scalars.second_gain * mean.astype(np.float32)
        possible = np.abs(q) <= LARGEST_MOMENT
        root = np.sqrt(q) * scalars.second_scale
        gain = np.where(root > 0, scalars.first_gain / root, np.float32(0))
    nan = np.float32(np.nan)
    return np.where(possible, gain, nan), np.where(possible, q, square)


def sum_of_squares(row: Real) -> np.float64:
    """Of a row of float32, shape (n,), in float64: parts in order, lanes of a part in halves."""
    total = np.float64(0)
    for start in range(0, row.size, PART):
        squares = row[start : start + PART].astype(np.float64) ** 2
        padded = np.zeros(-(-squares.size // LANES) * LANES)
        padded[: squares.size] = squares
        lanes = np.zeros(LANES)
        for each in padded.reshape(-1, LANES):
            lanes += each
        while lanes.size > 1:
            lanes = lanes[: lanes.size // 2] + lanes[lanes.size // 2 :]
        total += lanes[0]
    return total


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

    Moments in bfloat16 or int8 take part in float32 and are rounded stochastically when stored.
    """

    def draw(stream: Stream) -> np.ndarray:
        return words(seed, iteration, tensor, stream, index.size, offset).reshape(index.shape)

    wide = moments if moment_type == "float32" else _widen(moments)
    proposed, after = increment(optimiser, wide, gradient, iteration)
    if moment_type != "float32":
        after = _round(after, draw(Stream.MOMENT), moment_type)
    moved = walker.step(spec, index, proposed, draw(Stream.MOVE))
    after = forget(spec, after, moved != index)
    changed = int(np.count_nonzero(moved != index))
    return moved, after, changed, int(np.count_nonzero(np.isnan(proposed)))


def forget(spec: Spec, moments: Moments, moved: np.ndarray) -> Moments:
    """The moments after a move: 0 first ones of weights that moved, if the spec forgets."""
    if not contract(spec).forgets or moments.first is None:
        return moments
    first = np.where(moved, 0, moments.first).astype(moments.first.dtype)
    return moments._replace(first=first)


def _widen(moments: Moments) -> Moments:
    def wide(value: np.ndarray | None) -> Real | None:
        if value is None:
            return None
        return value * np.float32(UNIT) if value.dtype == np.int8 else widen(value)

    return Moments(wide(moments.first), wide(moments.second), moments.square)


def _round(moments: Moments, bits: np.ndarray, moment_type: MomentType) -> Moments:
    """The first moment takes the high 16 bits of each word, the second the low 16."""
    first, second, square = moments
    rounded = round_to_units if moment_type == "int8" else round_stochastically
    return Moments(
        None if first is None else rounded(first, bits >> 16),
        None if second is None else rounded(second, bits),
        square,
    )
