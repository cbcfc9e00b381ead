"""Base optimisers against float64, against torch and against themselves, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qreference import optimisers, storage, walker
from qreference.optimisers import Moments
from qreference.philox import words
from qtheory.algorithms import DST
from qtheory.lattice import Lattice
from qtheory.optimisers import LARGEST_MOMENT, SGD, Adam, Momentum, Optimiser
from qtheory.streams import Stream

OPTIMISERS = [SGD(0.3), Momentum(0.1, 0.9), Adam(0.01), Adam(0.3, (0.7, 0.99), 1e-5)]
U = 2.0**-24  # relative error of one float32 rounding
optimiser_table = pytest.mark.parametrize("optimiser", OPTIMISERS, ids=repr)


def gradients(iterations: int, count: int = 40) -> np.ndarray:
    """Asymmetric, over eight decades; some exact zeros. None so small that squares underflow."""
    rng = np.random.default_rng(1)
    sizes = 10.0 ** rng.uniform(-6, 2, (1, count))
    values = (rng.normal(0.3, 1, (iterations, count)) * sizes).astype(np.float32)
    values[rng.random((iterations, count)) < 0.1] = 0
    return values


def torch_increments(optimiser: Optimiser, values: np.ndarray) -> np.ndarray:
    """What torch adds to a float64 parameter of value 0."""
    parameter = torch.zeros(values.shape[1], dtype=torch.float64, requires_grad=True)
    if isinstance(optimiser, Adam):
        options = {"betas": optimiser.betas, "eps": optimiser.epsilon}
        theirs = torch.optim.Adam([parameter], optimiser.learning_rate, **options)
    else:
        beta = optimiser.momentum if isinstance(optimiser, Momentum) else 0.0
        theirs = torch.optim.SGD([parameter], optimiser.learning_rate, momentum=beta)
    increments = []
    for row in values:
        parameter.data.zero_()
        parameter.grad = torch.from_numpy(row).double()
        theirs.step()
        increments.append(parameter.detach().numpy().copy())
    return np.array(increments)


def magnitudes(optimiser: Optimiser, values: np.ndarray) -> np.ndarray:
    """The increments with |g| for g in the first moment: sums without cancellation, float64."""
    g = np.abs(values.astype(np.float64))
    if isinstance(optimiser, SGD):
        return optimiser.learning_rate * g
    adam = isinstance(optimiser, Adam)
    beta1, beta2 = optimiser.betas if adam else (optimiser.momentum, 0.0)
    gain = 1 - beta1 if adam else 1.0
    first, second = np.zeros_like(g[0]), np.zeros_like(g[0])
    rows = []
    for t, row in enumerate(g, start=1):
        first = beta1 * first + gain * row
        second = beta2 * second + (1 - beta2) * row * row
        if adam:
            corrected = np.sqrt(second / (1 - beta2**t)) + optimiser.epsilon
            rows.append(optimiser.learning_rate / (1 - beta1**t) * first / corrected)
        else:
            rows.append(optimiser.learning_rate * first)
    return np.array(rows)


@optimiser_table
def test_increments_are_those_of_torch_in_float64(optimiser):
    values = gradients(60)
    exact = torch_increments(optimiser, values)
    sizes = magnitudes(optimiser, values)
    moments = optimisers.init(optimiser, values[0].shape)
    for t, row in enumerate(values, start=1):
        got, moments = optimisers.increment(optimiser, moments, row, t)
        assert got.dtype == np.float32
        # In t iterations a term of a moment meets 3 t roundings at most (its decay, a product
        # and a sum in each) and 3 more (gain, square, product). The root halves those of v.
        # lr, product, root, c, product, epsilon, sum and division add 8. Roundings of the first
        # moment are relative to the sum of |terms|. Second order: less than 1 % for t <= 60.
        roundings = 1.5 * (3 * t + 3) + 8
        assert (np.abs(got - exact[t - 1]) <= 1.01 * roundings * U * sizes[t - 1]).all()


def rounded(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float32).astype(np.float64)


@optimiser_table
def test_every_operation_is_rounded_once_and_in_order(optimiser):
    """float64 has more than 2 * 24 + 2 bits, so an operation done in float64 and then rounded
    is the float32 operation, for + - * / and roots [figueroa1995]. Equal, bit for bit.
    """
    moments = optimisers.init(optimiser, (40,))
    m, v = np.zeros(40), np.zeros(40)
    for t, row in enumerate(gradients(20), start=1):
        got, moments = optimisers.increment(optimiser, moments, row, t)
        lr, b1, g1, b2, g2, c, eps = (float(s) for s in optimiser.scalars(t))
        g = row.astype(np.float64)
        if isinstance(optimiser, SGD):
            expected = -rounded(lr * g)
        elif isinstance(optimiser, Momentum):
            m = rounded(rounded(b1 * m) + g)
            expected = -rounded(lr * m)
        else:
            m = rounded(rounded(b1 * m) + rounded(g1 * g))
            v = rounded(rounded(b2 * v) + rounded(g2 * rounded(g * g)))
            scale = rounded(rounded(rounded(np.sqrt(v)) * c) + eps)
            expected = -rounded(rounded(lr * m) / scale)
        assert got.tolist() == expected.tolist()
        assert moments.first is None or moments.first.tolist() == m.tolist()
        assert moments.second is None or moments.second.tolist() == v.tolist()


HUGE = float(LARGEST_MOMENT)
# For each optimiser with moments 1 and 4 before: gradients that must change nothing, and neighbours
# that are the last to be taken. m = 0.9 + 0.1 g, v = 3.996 + 0.001 g g; b = 0.5 + g, where the 0.5
# is lost.
BEYOND = {
    SGD(0.3): ([], [3.4028235e38, -3.4028235e38]),
    Momentum(0.1, 0.5): ([3.4e38, -3.4e38], [HUGE, -HUGE]),
    Adam(0.01): ([1.9e19, -1e30], [1.8e19, -1.8e19]),  # whose square overflows, or not
}


@pytest.mark.parametrize("optimiser", BEYOND, ids=repr)
def test_what_is_not_finite_changes_nothing_and_gives_no_warning(optimiser):
    beyond, last = BEYOND[optimiser]
    g = np.array([np.nan, np.inf, -np.inf, *beyond, *last], np.float32)
    lost = 3 + len(beyond)
    start = optimisers.init(optimiser, g.shape)
    moments = Moments(
        *(None if m is None else m + f for m, f in zip(start[:2], (1, 4), strict=True))
    )
    moments = Moments(*(None if m is None else m.astype(np.float32) for m in moments))
    got, after = optimisers.increment(optimiser, moments, g, 3)
    assert np.isnan(got[:lost]).all()
    assert np.isfinite(got[lost:]).all()
    assert (np.sign(got[lost:]) == [-1, 1]).all()
    for new, old in zip(after, moments, strict=True):
        if new is not None:
            assert new[:lost].tolist() == old[:lost].tolist()
            assert (new[lost:] != old[lost:]).all()
            rounded_up = storage.round_stochastically(new, np.full(g.shape, 0xFFFF, np.uint32))
            assert np.isfinite(storage.widen(rounded_up)).all()


def test_a_huge_learning_rate_saturates():
    """The gradient is finite, so its increment counts, infinite or not."""
    got, _ = optimisers.increment(SGD(10.0), Moments(None, None), np.array([3e38], np.float32), 1)
    assert got.tolist() == [-np.inf]


def test_tiny_gradients_are_rounded_where_the_square_underflows():
    got, _ = optimisers.increment(
        Adam(0.1), optimisers.init(Adam(0.1), (2,)), np.array([1e-38, 0.0], np.float32), 1
    )
    # g**2 underflows, so g / 10 / epsilon: 1e-31. Subnormals: three roundings of 2**-20.
    assert abs(got[0] / -1e-31 - 1) < 2.0**-18
    assert got[1] == 0.0


def reference_step(optimiser: Optimiser, *, moment_type: optimisers.MomentType, **where):
    spec = DST(Lattice.z(3), 3.0)
    rng = np.random.default_rng(4)
    index = rng.integers(0, 9, 50)
    gradient = rng.normal(0.2, 1, 50).astype(np.float32)
    gradient[[3, 20]] = np.nan
    gradient[10] = np.inf
    moments = optimisers.init(optimiser, (50,), moment_type)
    numbers = {"seed": 11, "iteration": 5, "tensor": 2, "moment_type": moment_type}
    return spec, index, gradient, moments, numbers | where


@optimiser_table
@pytest.mark.parametrize("moment_type", ["float32", "bfloat16"])
def test_train_step_is_its_parts(optimiser, moment_type):
    spec, index, gradient, moments, numbers = reference_step(
        optimiser, moment_type=moment_type, offset=6
    )
    after, stored, moved, nan = optimisers.train_step(
        spec, optimiser, index, moments, gradient, **numbers
    )
    zeros = optimisers.init(optimiser, (50,))
    increment, exact = optimisers.increment(optimiser, zeros, gradient, 5)
    drawn = words(11, 5, 2, Stream.MOVE, 50, 6)
    assert after.tolist() == walker.step(spec, index, increment, drawn).tolist()
    assert moved == (after != index).sum() > 0
    assert nan == 3
    bits = words(11, 5, 2, Stream.MOMENT, 50, 6)
    for kept, wide, sixteen in zip(stored[:2], exact[:2], (bits >> 16, bits & 0xFFFF), strict=True):
        if kept is None:
            assert wide is None
        elif moment_type == "float32":
            assert kept.tobytes() == wide.tobytes()
        else:
            # Adding 16 bits and dropping 16: the definition, in Python's own integers.
            finite = np.isfinite(wide)
            sums = [int(b) + int(r) for b, r in zip(wide.view(np.uint32), sixteen, strict=True)]
            expected = np.array(sums) >> 16
            assert (kept[finite] == expected[finite]).all()
            others = storage.widen(kept)[~finite]
            assert np.array_equal(others, wide[~finite], equal_nan=True)


@optimiser_table
@pytest.mark.parametrize("moment_type", ["float32", "bfloat16"])
@pytest.mark.parametrize("cut", [1, 2, 17, 48])
def test_shards_draw_what_the_whole_would(optimiser, moment_type, cut):
    spec, index, gradient, moments, numbers = reference_step(optimiser, moment_type=moment_type)
    whole = optimisers.train_step(spec, optimiser, index, moments, gradient, **numbers)
    pieces = []
    for part in (slice(0, cut), slice(cut, 50)):
        kept = Moments(*(None if value is None else value[part] for value in moments))
        arrays = (index[part], kept, gradient[part])
        pieces.append(optimisers.train_step(spec, optimiser, *arrays, **numbers, offset=part.start))
    a, b = pieces
    assert np.concatenate([a[0], b[0]]).tolist() == whole[0].tolist()
    for left, right, both in zip(a[1], b[1], whole[1], strict=True):
        if both is not None:
            assert np.concatenate([left, right]).tobytes() == both.tobytes()
    assert (a[2] + b[2], a[3] + b[3]) == whole[2:]


def test_bfloat16_moments_are_widened_before_they_are_used():
    spec, index, gradient, _, numbers = reference_step(Adam(0.1), moment_type="bfloat16")
    start = Moments(np.full(50, 0x3F80, np.uint16), np.full(50, 0x4000, np.uint16))  # 1 and 2
    after, *_ = optimisers.train_step(spec, Adam(0.1), index, start, gradient, **numbers)
    wide = Moments(np.full(50, 1, np.float32), np.full(50, 2, np.float32))
    plain = numbers | {"moment_type": "float32"}
    expected, *_ = optimisers.train_step(spec, Adam(0.1), index, wide, gradient, **plain)
    assert after.tolist() == expected.tolist()
