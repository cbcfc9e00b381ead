"""Whole steps: the claims hold, and each ends where a library has the fault that it looks for."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest

from qcuda.errors import BackendUnavailable
from qcuda.kernels import abi, native
from qcuda.validate import whole_steps
from qcuda.validate.kernels import cpu_libraries
from qreference import philox
from qtheory.algorithms import walkers
from qtheory.evidence import Claim

DRAWS = 4000
Fault = Callable[[abi.Launch, ctypes.Array, np.ndarray], None]


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    try:
        return native.library()
    except BackendUnavailable as error:
        pytest.skip(str(error))


class Faulty:
    """A library that steps rightly and then does something more."""

    def __init__(self, library: ctypes.CDLL, fault: Fault) -> None:
        self.library, self.fault = library, fault

    def qt_words(self, *arguments: int) -> None:
        self.library.qt_words(*arguments)

    def qt_step_all(self, launch, rows, n, scalars, now, counters, threads) -> int:
        error = self.library.qt_step_all(launch, rows, n, scalars, now, counters, threads)
        self.fault(launch._obj, rows, seen(counters, np.int64, 2 * n).reshape(n, 2))
        return error


def seen(address: int, dtype: type, count: int) -> np.ndarray:
    """Numbers in memory, to change there."""
    size = count * np.dtype(dtype).itemsize
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address)).view(dtype)


def judged(library: Faulty, stem: str) -> dict[str, Claim]:
    found = whole_steps.claims("v", cast("ctypes.CDLL", library), [stem], DRAWS)
    return {claim.name.split(": ")[-1]: claim for claim in found}


def test_whole_steps_of_every_library_and_walker(library):
    for level, one in cpu_libraries().items():
        claims = list(whole_steps.claims(level, one, list(walkers()), DRAWS))
        assert len(claims) == 1 + 5 * len(walkers())
        assert [c.name for c in claims if not c.holds] == []
        assert all(c.kind == "exact" and c.draws > 0 for c in claims)


def nan_forgotten(launch, rows, counters):
    counters[:, 1] = 0


def moment_harmed(launch, rows, counters):
    """The first moment takes in a gradient that is not finite."""
    for row in rows if launch.moment_type == abi.Real.FLOAT32 else ():
        if row.first:
            gradient = seen(row.gradient, np.float32, row.count)
            seen(row.first, np.float32, row.count)[~np.isfinite(gradient)] = np.inf


def moved_by_nan(launch, rows, counters):
    plain = launch.storage == abi.Storage.INT8 and launch.gradient_type == abi.Real.FLOAT32
    for row in rows if plain else ():
        seen(row.state, np.int8, row.count)[np.isnan(seen(row.gradient, np.float32, row.count))] = 0


def four_bits(launch, rows, counters):
    """A lattice of at most 16 levels."""
    if launch.spec.size > 16:
        np.clip(codes := seen(rows[0].state, np.int8, rows[0].count), -8, 7, out=codes)


def top_level_missed(launch, rows, counters):
    if launch.spec.size == 256:
        np.minimum(codes := seen(rows[0].state, np.int8, rows[0].count), 126, out=codes)


def padding_written(launch, rows, counters):
    for row in rows if launch.storage == abi.Storage.TRITS else ():
        if row.count % 4:
            seen(row.state, np.uint8, (row.count + 3) // 4)[-1] |= 0x40


def byte_too_far(launch, rows, counters):
    for row in rows if launch.storage == abi.Storage.TRITS else ():
        if row.count < 4:
            seen(row.state, np.uint8, 2)[1] = 0


def counted_for_the_first(launch, rows, counters):
    counters[0] += counters[1:].sum(0)
    counters[1:] = 0


def moments_of_the_first(launch, rows, counters):
    if len(rows) > 1 and rows[1].first:
        seen(rows[1].first, np.float32, 1)[0] = seen(rows[0].first, np.float32, 1)[0]


def one_bit_of_a_moment(launch, rows, counters):
    if launch.moment_type == abi.Real.BFLOAT16:
        seen(rows[0].second or rows[0].first, np.uint16, rows[0].count)[-1] ^= 1


NOT_FINITE, LARGE, PARTIAL, TOGETHER, HALVES = whole_steps.CLAIMS


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (nan_forgotten, {NOT_FINITE, HALVES}),
        (moment_harmed, {NOT_FINITE}),
        (moved_by_nan, {NOT_FINITE, HALVES}),
        (four_bits, {LARGE}),
        (top_level_missed, {LARGE}),
        (padding_written, {PARTIAL, TOGETHER}),
        (byte_too_far, {PARTIAL, TOGETHER}),
        (counted_for_the_first, {PARTIAL, TOGETHER}),
        (moments_of_the_first, {TOGETHER}),
        (one_bit_of_a_moment, {HALVES}),
    ],
)
@pytest.mark.parametrize("stem", walkers())
def test_a_fault_ends_its_claims_and_no_other(library, stem, fault, found):
    claims = judged(Faulty(library, fault), stem)
    assert {name for name, claim in claims.items() if not claim.holds} == found


@pytest.mark.parametrize("room", ["library", "reference"])
def test_other_words_are_not_the_published_ones(library, room, monkeypatch):
    """Eleven rounds in place of ten, or one word off."""
    if room == "reference":
        right = philox.philox
        monkeypatch.setattr(philox, "philox", lambda counter, seed: right(counter, seed, 11))
        double = library
    else:
        double = Faulty(library, lambda *_: None)

        def words(*arguments):
            library.qt_words(*arguments)
            seen(arguments[6], np.uint32, arguments[5])[0] ^= 1

        double.qt_words = words
    claim = next(whole_steps.claims("v", cast("ctypes.CDLL", double), [], DRAWS))
    assert not claim.holds and claim.draws == 12
    assert claim.evidence == (12 if room == "reference" else 3)
