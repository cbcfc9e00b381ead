"""The caller's floating-point environment, other threads, and forks change nothing."""

from __future__ import annotations

import ctypes
import multiprocessing
import threading

import numpy as np
import pytest
import torch
from cpu_room import Weights

from qcuda.kernels import native
from qreference import optimisers, walker
from qreference.optimisers import Moments
from qtheory.algorithms import DST, StochasticRounding
from qtheory.lattice import Lattice
from qtheory.optimisers import Adam
from qtheory.streams import Stream

LIBM = ctypes.CDLL("libm.so.6")
UPWARD, NEAREST = 0x800, 0


@pytest.fixture(autouse=True, params=["own threads", "torch's threads"])
def workers(request, room):
    """Both kinds of workers: the library's own pool, and torch's OpenMP."""
    shared = native.openmp_of_torch()
    if request.param == "torch's threads" and shared is None:
        pytest.skip("this torch has no OpenMP that the loader can find")
    room.library.qt_share_threads(shared if request.param == "torch's threads" else None)
    yield
    room.library.qt_share_threads(None)


@pytest.mark.parametrize("threads", [1, 2])
def test_flushed_denormals_of_the_caller(room, threads):
    """Subnormal increments move, subnormal moments stay; the caller goes on flushing afterwards.

    The spacing, 2e-38, is a normal number: Python rounds it to float32 in the caller's own mode.
    """
    count, lattice = 100_003, Lattice(3, 2e-38, -2e-38)
    spec, index = StochasticRounding(lattice), np.ones(count, np.int64)
    x = np.random.default_rng(1).uniform(-1.1e-38, 1.1e-38, count).astype(np.float32)
    words = room.words(3, 1, 0, Stream.MOVE, count)
    expected = walker.step(spec, index, x, words)
    thresholds = walker.outcomes(spec, index, x).thresholds[..., 0]
    weights = Weights(index, x)
    adam = Weights(index, x * np.float32(1e18), Moments(x.copy(), np.abs(x)))
    _, moments = optimisers.increment(Adam(), adam.moments, adam.gradient, 3)
    assert (np.abs(moments.second) < 1.1e-38).all()
    assert torch.set_flush_denormal(True)
    try:
        room.step(spec, None, [weights], seed=3, iteration=1, threads=threads)
        room.step(spec, Adam(), [adam], seed=3, iteration=3, threads=threads)
        ours = room.outcomes(spec, index, x).thresholds[..., 0]
        still_flushed = (torch.tensor([1e-39]) * 1.0).item() == 0
    finally:
        torch.set_flush_denormal(False)
    assert still_flushed
    assert (weights.index == expected).all()
    assert (ours == thresholds).all()
    assert adam.moments.first.tobytes() == moments.first.tobytes()
    assert adam.moments.second.tobytes() == moments.second.tobytes()


@pytest.mark.parametrize("threads", [1, 2])
def test_rounding_mode_of_the_caller(room, threads):
    """Rounding upwards would change most quotients by 3, and it is still on afterwards."""
    count = 70_000
    spec = StochasticRounding(Lattice(3, 3.0, -3.0))
    x = np.random.default_rng(2).uniform(-5, 5, count).astype(np.float32)
    weights = Weights(np.ones(count, np.int64), x, Moments(x * 0, x * 0))
    theirs = optimisers.train_step(
        spec, Adam(0.1), weights.index, weights.moments, x, seed=3, iteration=1, tensor=0
    )
    before = LIBM.fegetround()
    assert LIBM.fesetround(UPWARD) == 0
    try:
        room.step(spec, Adam(0.1), [weights], seed=3, iteration=1, threads=threads)
        during = LIBM.fegetround()
    finally:
        LIBM.fesetround(NEAREST)
    assert (before, during) == (NEAREST, UPWARD)
    assert (weights.index == theirs[0]).all()
    assert (weights.moments.second == theirs[1].second).all()


def walk(room, seed: int, threads: int) -> bytes:
    """Thirty launches of 100003 weights."""
    spec = DST(Lattice.ternary())
    x = np.random.default_rng(seed).normal(0, 0.5, 100_003).astype(np.float32)
    weights = Weights(np.ones(x.size, np.int64), x)
    for iteration in range(30):
        room.step(spec, None, [weights], seed=seed, iteration=iteration, threads=threads)
    return weights.index.astype(np.int8).tobytes()


def test_two_python_threads_at_once(room):
    """ctypes lets go of the interpreter, so the calls really overlap."""
    expected = {seed: walk(room, seed, 1) for seed in (1, 2, 3)}
    got = {}
    callers = [
        threading.Thread(target=lambda s=seed: got.update({s: walk(room, s, s)}))
        for seed in expected
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert got == expected


def _child(room, connection) -> None:
    connection.send_bytes(walk(room, 4, 2)[:1000])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_its_own_threads(room):
    """The parent's pool is running when the child is made; the child's works all the same."""
    expected = walk(room, 4, 2)[:1000]
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(room, send))
    child.start()
    assert receive.poll(60), "the child hangs"
    assert receive.recv_bytes() == expected
    child.join(60)
    assert child.exitcode == 0
    assert walk(room, 4, 2)[:1000] == expected
