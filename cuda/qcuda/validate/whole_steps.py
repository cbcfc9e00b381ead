"""Ladder (b) for whole steps: the kernel does what the plain reference does, given the same words.

`same_words` compares one move of one tensor of ordinary numbers. Here is what else a launch may
meet: numbers that are not finite, large lattices, a last byte of trits that is not full, several
tensors, moments in bfloat16. A difference in a level, a moment, a counter or a byte that belongs to
no weight counts.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from qcuda.kernels import abi, native
from qcuda.validate.kernels import launch
from qcuda.validate.same_words import ITERATION, SEED, unexplained
from qtheory.algorithms import Spec, spec_class
from qtheory.evidence import Claim
from qtheory.lattice import Lattice
from qtheory.optimisers import SGD, Adam, Momentum, Optimiser
from qtheory.streams import Stream

OPTIMISERS: dict[str, Optimiser | None] = {
    "given": None,
    "sgd": SGD(0.3),
    "momentum": Momentum(0.1),
    "adam": Adam(0.02),
}
# The last three are finite, but their squares are not.
NOT_FINITE = np.array([np.nan, -np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e20], np.float32)
SIZES = (17, 129, 255, 256)
COUNTS = (1, 575, 577, 7, 1153)  # a run has 576 weights
ENOUGH = 20_000  # weights of a claim: what is special is met thousands of times
GUARD = 8  # bytes after a state that no kernel may touch


class Weights(NamedTuple):
    """A tensor before a step, or after it."""

    index: np.ndarray  # pyright: ignore[reportIncompatibleMethodOverride]  # int64 (n,)
    gradient: np.ndarray  # float32 (n,), or uint16 for bfloat16
    moments: tuple[np.ndarray, ...] = ()  # float32 (n,), or uint16
    tensor: int = 0
    offset: int = 0
    counters: tuple[int, int] = (0, 0)  # weights that moved, increments that were NaN
    stray: int = 0  # bytes and bits that were written and belong to no weight


def claims(level: str, library: ctypes.CDLL, stems: Sequence[str], draws: int) -> Iterator[Claim]:
    """What a library of a level is held to; about `draws` weights for each claim, of trits
    in partial bytes fewer."""
    yield _published(f"{level}: words = the published ones of Random123", library)
    for stem in stems:
        for title, judge in CLAIMS.items():
            total, wrong = judge(library, stem, draws)
            yield Claim(f"{level}: {stem}: {title}", "exact", total, wrong, 0.0)


def published() -> list[tuple[list[int], list[int], list[int]]]:
    """Counter, key and answer of Philox4x32-10, from the kat_vectors of Random123 [salmon2011]."""
    table = Path(native.__file__).parent / "known_answers" / "philox4x32.txt"
    rows = [line.split() for line in table.read_text().splitlines() if line[0] != "#"]
    numbers = [[int(x, 16) for x in row[1:]] for row in rows if row[0] == "10"]
    return [(row[:4], row[4:6], row[6:]) for row in numbers]


def _published(name: str, library: ctypes.CDLL) -> Claim:
    """The library and the reference, each."""
    from qreference import philox

    wrong, table = 0, published()
    for counter, (low, high), answer in table:
        seed, (c0, c1, iteration, tensor) = low | high << 32, counter
        got, now = np.empty(4, np.uint32), np.array([iteration], np.int64)
        element = 4 * (c0 | (c1 & 0xFFFFFF) << 32)
        place = (seed, now.ctypes.data, tensor, c1 >> 24, element, 4)
        library.qt_words(*place, got.ctypes.data, 1)
        reference = philox.philox(np.array(counter, np.uint32), seed)
        wrong += int((got != answer).sum() + (reference != answer).sum())
    return Claim(name, "exact", 4 * len(table), wrong, 0.0)


def _not_finite(library: ctypes.CDLL, stem: str, draws: int) -> tuple[int, int]:
    """NaN, infinities and overflow under every optimiser, a third of all gradients."""
    total = wrong = 0
    for lattice in (Lattice.ternary(0.5), Lattice.z(2)):
        spec, storage = spec_class(stem)(lattice), _storage(lattice)
        for optimiser in OPTIMISERS:
            weights = _weights(spec, optimiser, 4 * (draws // 32 + 4))
            weights.gradient[::3] = np.resize(NOT_FINITE, weights.gradient[::3].size)
            wrong += _differences(library, spec, optimiser, [weights], storage)
            total += weights.index.size
    return total, wrong


def _large(library: ctypes.CDLL, stem: str, draws: int) -> tuple[int, int]:
    """From every level, by less than a spacing and across half of the lattice."""
    total = wrong = 0
    for size in SIZES:
        spec = spec_class(stem)(Lattice.uniform(-0.7, 1.1, size))
        weights = _weights(spec, "given", draws // len(SIZES) + size)
        weights.gradient[1::2] *= size / 4
        wrong += _differences(library, spec, "given", [weights], abi.Storage.INT8)
        total += weights.index.size
    return total, wrong


def _partial_bytes(library: ctypes.CDLL, stem: str, draws: int) -> tuple[int, int]:
    """Tensors of 1 to 9 trits, in one launch."""
    spec = spec_class(stem)(Lattice.ternary(0.5))
    counts = np.resize(np.arange(1, 10), max(9, min(draws, 450) // 5)).tolist()
    rows = [_weights(spec, "given", n, tensor=k) for k, n in enumerate(counts)]
    return sum(counts), _differences(library, spec, "given", rows, abi.Storage.TRITS)


def _together(library: ctypes.CDLL, stem: str, draws: int) -> tuple[int, int]:
    """Tensors of other sizes, places and numbers, in one launch by two threads, or one by one."""
    total = wrong = 0
    for lattice in (Lattice.ternary(0.5), Lattice.z(2)):
        spec, storage = spec_class(stem)(lattice), _storage(lattice)
        rows = [
            _weights(spec, "adam", n, tensor=7 - k, offset=(4 * 2**34 - 5 + k) * (k % 2))
            for k, n in enumerate((*COUNTS, draws // 4))
        ]
        rows[1].gradient[::5] = np.nan
        together = step(library, spec, "adam", rows, storage, threads=2)
        alone = [step(library, spec, "adam", [row], storage)[0] for row in rows]
        wrong += sum(_unlike(a, b) for a, b in zip(together, alone, strict=True))
        total += sum(row.index.size for row in rows)
    return total, wrong


def _half_moments(library: ctypes.CDLL, stem: str, draws: int) -> tuple[int, int]:
    """Momentum and Adam, with gradients in float32 and in bfloat16, some of them not finite."""
    spec, total, wrong = spec_class(stem)(Lattice.z(2)), 0, 0
    for optimiser, kept in abi.MOMENTS.items():
        for gradient_type in abi.GRADIENTS if kept else ():
            weights = _weights(spec, optimiser, draws // 4 + 1, offset=3)
            weights.gradient[::7] = np.resize(NOT_FINITE, weights.gradient[::7].size)
            moments = tuple(_upper_half(m) for m in weights.moments)
            weights = weights._replace(moments=moments)
            if gradient_type is abi.Real.BFLOAT16:
                weights = weights._replace(gradient=_upper_half(weights.gradient))
            wrong += _differences(library, spec, optimiser, [weights], abi.Storage.INT8)
            total += weights.index.size
    return total, wrong


CLAIMS = {
    "NaN and infinities are counted, and change nothing else": _not_finite,
    "lattices of 17 to 256 levels": _large,
    "1 to 9 trits, and nothing behind them": _partial_bytes,
    "tensors of a launch = each alone": _together,
    "moments in bfloat16 = the reference's": _half_moments,
}


def step(
    library: ctypes.CDLL,
    spec: Spec,
    optimiser: str,
    rows: Sequence[Weights],
    storage: abi.Storage,
    threads: int = 1,
) -> list[Weights]:
    """One launch of a library; what was given stays as it is."""
    from qreference import storage as plain

    codes = [plain.to_codes(spec.lattice, row.index) for row in rows]
    states = [c.view(np.uint8) if storage is abi.Storage.INT8 else plain.pack(c) for c in codes]
    states = [np.concatenate([s, np.full(GUARD, 0xA5, np.uint8)]) for s in states]
    moments = [tuple(m.copy() for m in row.moments) for row in rows]
    table = [
        abi.Tensor(
            state.ctypes.data, row.gradient.ctypes.data, *(m.ctypes.data for m in kept),
            *(0,) * (3 - len(kept)), row.index.size, row.offset, row.tensor, 0,
        )
        for state, row, kept in zip(states, rows, moments, strict=True)
    ]  # fmt: skip
    counters, now = np.zeros((len(rows), 2), np.int64), np.array([ITERATION], np.int64)
    rule, scalars = OPTIMISERS[optimiser], np.zeros(7, np.float32)
    scalars[:] = 0 if rule is None else rule.scalars(ITERATION)
    numbers = launch(
        spec, SEED, storage, optimiser=optimiser, gradient_type=_real_type(rows[0].gradient),
        moment_type=_real_type(*moments[0][:1]),
    )  # fmt: skip
    error = library.qt_step_all(
        ctypes.byref(numbers), abi.tensors(table), len(rows), scalars.ctypes.data,
        now.ctypes.data, counters.ctypes.data, threads,
    )  # fmt: skip
    if error:
        raise ValueError(f"the kernel takes this launch, got {abi.Error(error).words}")
    after = []
    for state, row, kept, seen in zip(states, rows, moments, counters.tolist(), strict=True):
        index, stray = _read(spec.lattice, state, row.index.size, storage)
        after.append(row._replace(index=index, moments=kept, counters=tuple(seen), stray=stray))
    return after


def _read(
    lattice: Lattice, state: np.ndarray, count: int, storage: abi.Storage
) -> tuple[np.ndarray, int]:
    """Indices as they are written, legal or not, and what was written behind them."""
    body, guard = state[:-GUARD], state[-GUARD:]
    stray = int((guard != 0xA5).sum())
    if storage is abi.Storage.INT8:
        return body.view(np.int8).astype(np.int64) + lattice.centre, stray
    lanes = (body[:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3).reshape(-1)
    codes = np.array([0, 1, -2, -1])[lanes]
    return codes[:count] + lattice.centre, stray + int(np.count_nonzero(codes[count:]))


def _differences(
    library: ctypes.CDLL,
    spec: Spec,
    optimiser: str,
    rows: Sequence[Weights],
    storage: abi.Storage,
) -> int:
    """What a launch does to tensors and the reference does not."""
    after = step(library, spec, optimiser, rows, storage)
    return sum(
        _difference(spec, OPTIMISERS[optimiser], before, then)
        for before, then in zip(rows, after, strict=True)
    )


def _difference(spec: Spec, optimiser: Optimiser | None, before: Weights, after: Weights) -> int:
    from qreference import philox

    count, place = before.index.size, (SEED, ITERATION, before.tensor)
    words = philox.words(*place, Stream.MOVE, count, before.offset)
    proposed, moments = _reference(spec, optimiser, before)
    wrong, _, _ = unexplained(spec, before.index, proposed, words, after.index)
    still, moved = np.isnan(proposed), before.index != after.index
    wrong += int((moved & still).sum())
    for old, mine, plain in zip(before.moments, after.moments, moments, strict=True):
        wrong += int((_bits(mine) != _bits(plain)).sum())
        wrong += int((_bits(mine) != _bits(old))[still].sum())
    counters = (int(moved.sum()), int(still.sum()))
    return wrong + after.stray + sum(a != b for a, b in zip(after.counters, counters, strict=True))


def _reference(
    spec: Spec, optimiser: Optimiser | None, before: Weights
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Increments and the moments after them."""
    from qreference import optimisers

    if optimiser is None:
        return before.gradient, []
    gradient = _float(before.gradient)
    padded = (*before.moments, None, None)[:2]
    wide = optimisers.Moments(*(None if m is None else _float(m) for m in padded))
    proposed, _ = optimisers.increment(optimiser, wide, gradient, ITERATION)
    halves = any(m.dtype == np.uint16 for m in before.moments)
    _, after, _, _ = optimisers.train_step(
        spec, optimiser, before.index, optimisers.Moments(*padded), gradient, seed=SEED,
        iteration=ITERATION, tensor=before.tensor, offset=before.offset,
        moment_type="bfloat16" if halves else "float32",
    )  # fmt: skip
    return proposed, [m for m in after if m is not None]


def _unlike(one: Weights, other: Weights) -> int:
    """Numbers in which two results differ."""
    wrong = int((one.index != other.index).sum()) + one.stray + other.stray
    for a, b in zip(one.moments, other.moments, strict=True):
        wrong += int((_bits(a) != _bits(b)).sum())
    return wrong + sum(a != b for a, b in zip(one.counters, other.counters, strict=True))


def _weights(
    spec: Spec, optimiser: str, count: int, *, tensor: int = 3, offset: int = 0
) -> Weights:
    """Ordinary numbers: increments of about a spacing, and moments that have a history."""
    rng = np.random.default_rng([SEED, count, tensor])
    increments = rng.normal(0, 1.2, count) * spec.lattice.spacing
    learning_rate = 1.0 if (rule := OPTIMISERS[optimiser]) is None else rule.learning_rate
    moments = rng.normal(0, 1.0, (abi.MOMENTS[optimiser], count)).astype(np.float32)
    moments[1:] = np.abs(moments[1:])
    index = (np.arange(count) + tensor) % spec.lattice.size
    gradient = (increments / learning_rate).astype(np.float32)
    return Weights(index, gradient, tuple(moments), tensor, offset)


def _storage(lattice: Lattice) -> abi.Storage:
    return abi.Storage.TRITS if lattice.size <= 3 else abi.Storage.INT8


def _real_type(*values: np.ndarray) -> abi.Real:
    """Of an array, float32 without one."""
    return abi.Real.BFLOAT16 if values and values[0].dtype == np.uint16 else abi.Real.FLOAT32


def _upper_half(values: np.ndarray) -> np.ndarray:
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def _float(values: np.ndarray) -> np.ndarray:
    from qreference.storage import widen

    return widen(values) if values.dtype == np.uint16 else values


def _bits(values: np.ndarray) -> np.ndarray:
    return values if values.dtype == np.uint16 else values.view(np.uint32)
