"""The GPU kernels, emulated, against the CPU library: every kernel, bit for bit.

The launcher is the real one, on a driver library that runs the very kernels.cu on the host.
"""

from __future__ import annotations

import numpy as np
import pytest

from qcuda.kernels import abi, source
from qcuda.validate import compare, helpers

CASES = list(compare.cases())


def test_every_kernel_is_a_case():
    names = {tuple(case.name.split()[:3]) for case in CASES}
    assert len(names) == len(source.stems()) * len(abi.OPTIMISERS) * len(abi.ON_GPU)
    assert len(CASES) == 28 * len(source.stems())  # 2 storages, 2 types of gradient, 7 of moments


@pytest.mark.parametrize("rule", source.stems())
@pytest.mark.parametrize("storage", abi.ON_GPU)
def test_steps_agree(rule, storage, machine, launcher, cpu_library):
    chosen = [c for c in CASES if c.name.startswith(f"{rule} ") and c.launch.storage == storage]
    found = compare.check_steps(chosen, machine, launcher, cpu_library)
    assert len(found) == len(chosen) == 14
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_the_cases_move_weights_and_meet_nan(cpu_library):
    for case in CASES[::5]:
        after, counters = compare.expected(case, cpu_library)
        assert counters[-1, 1] > 1000, case.name
        changed = after.tensors[-1]["state"].data != case.tensors[-1]["state"].data
        assert changed.sum() > 100 and counters[-1, 0] > 100, case.name


def test_scalars_agree(machine, launcher, cpu_library):
    assert helpers.check_scalars(machine, launcher, cpu_library) == []


def test_a_captured_iteration_counts_itself(machine, launcher, allocate):
    """Scalars and step, captured once and replayed twice more, are three iterations of Adam.

    Nothing in the graph is of the iteration in which it was captured: bias corrections and random
    words follow the number in device memory. A learning rate that changes there is used.
    """
    from qreference import optimisers
    from qtheory.algorithms import StochasticRounding
    from qtheory.lattice import Lattice
    from qtheory.optimisers import Adam

    spec, count = StochasticRounding(Lattice.ternary()), 1003
    rng = np.random.default_rng(8)
    index, moments = rng.integers(0, 3, count), optimisers.init(Adam(0.2), (count,))
    gradient = rng.standard_normal(count).astype(np.float32)
    launch = abi.launch(abi.spec(1.0, 1.0, 3), seed=9, rule="stochastic_rounding", optimiser="adam")
    numbers = np.array([0.2, 0.9, 0.999, 1e-8])
    arrays = [
        (index - 1).astype(np.int8), gradient, *(m.copy() for m in moments[:2]), numbers,
        np.zeros(1, np.int64), np.zeros(7, np.float32), np.zeros(2, np.int64),
    ]  # fmt: skip
    memory = [machine.upload(a.view(np.uint8)) for a in arrays]
    state, g, first, second, told, now, scalars, counters = map(machine.address, memory)
    table = abi.tensors([abi.Tensor(state, g, first, second, 0, count, 0, 4, 0)])

    def iteration(stream):
        launcher.scalars("adam", told, now, 0, scalars, stream)
        launcher.step_all(launch, table, scalars, now, counters, stream, allocate)

    replay = machine.capture(iteration)
    moved = 0
    for t, rate in enumerate((0.2, 0.2, 0.05), start=1):
        memory[4][:8] = np.array([rate]).view(np.uint8)
        replay()
        index, moments, changed, _ = optimisers.train_step(
            spec, Adam(rate), index, moments, gradient, seed=9, iteration=t, tensor=4
        )
        moved += changed
        codes = machine.download(memory[0]).view(np.int8)
        assert (codes == index - 1).all(), t
    assert machine.download(memory[5]).view(np.int64).tolist() == [3]
    assert machine.download(memory[7]).view(np.int64).tolist() == [moved, 0]
    assert moved > 100


def test_words_agree(machine, launcher, cpu_library):
    assert helpers.check_words(machine, launcher, cpu_library) == []


def test_decoding_agrees(machine, launcher, cpu_library):
    assert helpers.check_decode(machine, launcher, cpu_library) == []


def test_mean_squares_agree(machine, launcher, cpu_library):
    assert helpers.check_squares(machine, launcher, cpu_library) == []


def test_outcomes_agree(machine, launcher, cpu_library):
    assert helpers.check_outcomes(machine, launcher, cpu_library) == []


def test_a_captured_graph_replays(machine, launcher, cpu_library):
    for case in CASES[3::11]:
        assert compare.check_graph(case, machine, launcher, cpu_library) == [], case.name


def test_the_comparison_sees_one_bit(machine, launcher, cpu_library):
    case = next(c for c in CASES if c.name.startswith("dst adam int8 float32 bfloat16"))
    steps = compare.Steps(case, machine, launcher)
    for place in range(len(compare.ITERATIONS)):
        steps.step(place, 5)
    after, counters = compare.expected(case, cpu_library)
    assert steps.differences(after, counters) == []
    steps.memory[2]["second"][compare.GUARD + 100] ^= 1
    steps.memory[3]["state"][-1] ^= 1  # in the guard
    counters[0, 0] += 1
    wrong = steps.differences(after, counters)
    assert [name.split(" (")[0] for name in wrong] == [
        "second of tensor 2",
        "state of tensor 3",
        "counters",
    ]


@pytest.mark.parametrize("storage", abi.ON_GPU)
@pytest.mark.parametrize("rule", ["stochastic_rounding", "deterministic_rounding"])
def test_the_fused_step_is_the_reference(rule, storage, machine, launcher, allocate):
    """qreference.train_step, whose arithmetic is exactly the kernel's for these two rules."""
    from qreference import optimisers
    from qreference import storage as stored
    from qtheory.algorithms import spec_class
    from qtheory.lattice import Lattice
    from qtheory.optimisers import Adam

    lattice, count, offset = Lattice.ternary(), 1003, 6
    spec, adam = spec_class(rule)(lattice), Adam(0.1)
    rng = np.random.default_rng(3)
    index = rng.integers(0, 3, count)
    moments = optimisers.init(adam, (count,), "bfloat16")
    codes = stored.to_codes(lattice, index)
    state = machine.upload(codes.view(np.uint8) if storage == 0 else stored.pack(codes))
    first, second = (machine.upload(m.view(np.uint8)) for m in moments[:2])
    counters = machine.upload(np.zeros(16, np.uint8))
    launch = abi.launch(
        abi.spec(lattice.spacing, lattice.zero, 3),
        seed=9,
        rule=rule,
        optimiser="adam",
        storage=storage,
        moment_type=abi.Real.BFLOAT16,
    )
    totals = np.zeros(2, np.int64)
    for iteration in range(1, 5):
        gradient = rng.standard_normal(count).astype(np.float32)
        gradient[::97] = np.nan
        index, moments, *counts = optimisers.train_step(
            spec, adam, index, moments, gradient, seed=9, iteration=iteration, tensor=4,
            offset=offset, moment_type="bfloat16",
        )  # fmt: skip
        totals += counts
        arrays = (gradient, np.array(adam.scalars(iteration), np.float32), np.array([iteration]))
        g, s, i = (machine.upload(a.view(np.uint8)) for a in arrays)
        pointers = [machine.address(m) for m in (state, g, first, second)]
        table = abi.tensors([abi.Tensor(*pointers, 0, count, offset, 4, 0)])
        launcher.step_all(launch, table, *map(machine.address, (s, i, counters)), 0, allocate)
    codes = stored.to_codes(lattice, index)
    want = codes.view(np.uint8) if storage == 0 else stored.pack(codes)
    assert np.array_equal(machine.download(state), want)
    for got, expected in zip((first, second), moments[:2], strict=True):
        assert np.array_equal(machine.download(got).view(np.uint16), expected)
    assert machine.download(counters).view(np.int64).tolist() == totals.tolist()
    assert totals[1] == 4 * len(range(0, count, 97))
