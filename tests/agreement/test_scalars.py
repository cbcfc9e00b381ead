"""The numbers of an iteration, which a kernel makes: the bits of `Optimiser.scalars`."""

from __future__ import annotations

import numpy as np
import pytest

from qcuda.kernels.abi import SCALARS
from qtheory.optimisers import SGD, Adam, Momentum, Normalized, Optimiser

NAMES = {SGD: "sgd", Momentum: "momentum", Adam: "adam", Normalized: "normalized"}


def numbers_of(base: Optimiser) -> np.ndarray:
    """What a kernel is told of a base optimiser."""
    if isinstance(base, Adam):
        return np.array([base.learning_rate, *base.betas, base.epsilon])
    momentum, decay = getattr(base, "momentum", 0.0), getattr(base, "decay", 0.0)
    return np.array([base.learning_rate, momentum, decay, 0.0])


def cases(count: int) -> list[tuple[Optimiser, int]]:
    """Random numbers over many decades, and iterations up to the last one."""
    rng, found = np.random.default_rng(6), []
    for k in range(count):
        rate = float(10.0 ** rng.uniform(-9, 3))
        betas = (float(rng.uniform(0, 1)), float(1 - 10.0 ** rng.uniform(-9, 0)))
        adam, normalized = Adam(rate, betas, 10.0 ** rng.uniform(-20, 0)), Normalized(rate, *betas)
        base = (SGD(rate), Momentum(rate, betas[1]), normalized if k % 3 else adam)
        late = int(10.0 ** rng.uniform(0, np.log10(2**32)))
        found.append((base[0 if k % 20 == 0 else 1 if k % 20 == 1 else 2], late))
    edges = (1, 2, 3, 2**16, 2**31, 2**32 - 1)
    return found + [(Adam(1e-3, betas), t) for t in edges for betas in ((0.9, 0.999), (0.0, 0.0))]


def made(library, base: Optimiser, iteration: int, found_inf: float | None = None):
    """The scalars and the iteration after a call."""
    numbers, now = numbers_of(base), np.array([iteration - 1], np.int64)
    scalars = np.full(7, 77, np.float32)
    flag = None if found_inf is None else np.array([found_inf], np.float32)
    place = SCALARS.index(NAMES[type(base)])
    pointer = None if flag is None else flag.ctypes.data
    error = library.qt_scalars(
        place, numbers.ctypes.data, now.ctypes.data, pointer, scalars.ctypes.data
    )
    assert error == 0
    return scalars, int(now[0])


def test_ten_thousand_iterations_have_the_bits_of_python(room):
    wrong = []
    for base, iteration in cases(10_000):
        scalars, after = made(room.library, base, iteration)
        expected = np.array(base.scalars(iteration), np.float32)
        if scalars.tobytes() != expected.tobytes() or after != iteration:
            wrong.append((base, iteration))
    assert wrong == []


@pytest.mark.parametrize(
    "base", [SGD(0.1), Momentum(0.1), Adam(0.1), Normalized(0.1, 0.9)], ids=repr
)
def test_an_infinity_found_stops_the_iteration(room, base):
    scalars, after = made(room.library, base, 5, 1.0)
    assert np.isnan(scalars).all()
    assert after == 4
    scalars, after = made(room.library, base, 5, 0.0)
    assert scalars.tolist() == list(base.scalars(5))
    assert after == 5


def test_a_rounding_mode_of_the_caller_changes_nothing(room):
    """Under another rounding mode the bits are the same: the kernel sets its own."""
    import ctypes

    libm, upward, nearest = ctypes.CDLL("libm.so.6"), 0x800, 0
    expected = np.array(Adam(0.1).scalars(7), np.float32)
    libm.fesetround(upward)
    try:
        scalars, _ = made(room.library, Adam(0.1), 7)
    finally:
        libm.fesetround(nearest)
    assert scalars.tobytes() == expected.tobytes()


def test_an_optimiser_that_is_none_is_refused(room):
    numbers, now, scalars = np.zeros(4), np.zeros(1, np.int64), np.zeros(7, np.float32)
    for place in (-1, len(SCALARS)):
        error = room.library.qt_scalars(
            place, numbers.ctypes.data, now.ctypes.data, None, scalars.ctypes.data
        )
        assert error != 0
    assert now[0] == 0
