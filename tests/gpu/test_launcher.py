"""The real launcher on a pretended driver: what it launches, keeps and refuses."""

from __future__ import annotations

import ctypes
import itertools
import re
import time

import numpy as np
import pytest
from generated import step_kernels

from qcuda.kernels import abi, source
from qcuda.kernels.gpu import launch
from qcuda.kernels.gpu.table import CHUNK, check, of_squares, table_of
from qcuda.validate import compare
from qtheory.algorithms import walkers

SPEC = abi.spec(1.0, 1.0, 3, [3.0])
LAUNCH = abi.launch(SPEC, seed=1, rule="dst", optimiser="momentum")


def test_the_structures_are_the_compilers(machine):
    layout = (ctypes.c_int64 * 33)()
    machine.library.fakecuda_layout(layout)
    structures = (abi.Spec, abi.Launch, abi.Tensor, abi.Counters, abi.Rows)
    expected = [ctypes.sizeof(structure) for structure in structures]
    for structure in structures:
        names = [name for name, _ in structure._fields_ if name != "unused"]
        expected += [getattr(structure, name).offset for name in names]
    assert list(layout) == expected


def test_the_registry_is_the_headers(machine):
    numbers = map(ctypes.c_int64, itertools.count())
    names = set(itertools.takewhile(bool, map(machine.library.fakecuda_kernel, numbers)))
    steps = {name.decode() for name in names if name.startswith(b"qt_step")}
    stairs, norms = 2 * len(abi.NUMBERS), 4 * 3 + 3  # of each type of number
    assert len(names) == len(steps) + len(launch._HELPERS) + stairs + norms
    assert steps == step_kernels() | step_kernels(shipped=False)
    assert not step_kernels() & step_kernels(shipped=False)
    text = (source.kernels().parents[1] / "optimisers.h").read_text()
    lists = [
        (moments, name)
        for moments, listed in re.findall(r"#define QT_(\w+)_OPTIMISERS_OF\(X, rule\) (X.*)", text)
        for name in re.findall(r"X\(rule, (\w+)\)", listed)
    ]
    words = ("PLAIN", "ONE_MOMENT", "TWO_MOMENT")
    assert lists == [(words[abi.MOMENTS[name]], name) for name in abi.OPTIMISERS]
    assert source.stems() == tuple(sorted(walkers()))


def test_a_header_that_is_there_is_in_the_registry(tmp_path):
    (tmp_path / "algorithms").mkdir()
    for name in ("b_rule", "a_rule"):
        (tmp_path / "algorithms" / f"{name}.h").write_text("")
    assert source.headers(tmp_path) == ("a_rule", "b_rule")
    text = source.registry(source.headers(tmp_path))
    assert text.splitlines()[-1] == "#define QT_ALGORITHMS(X) X(a_rule) X(b_rule)"


def test_one_launch_for_all_tensors(machine, launcher):
    case = next(compare.cases())
    steps = compare.Steps(case, machine, launcher)
    before = machine.launches()
    steps.step(0, 7)
    assert machine.launches() - before == 2  # the table of tensors travels once
    steps.step(1, 7)
    assert machine.launches() - before == 3
    steps.step(1, 8)  # another stream has a table of its own
    assert machine.launches() - before == 5
    steps.table[0].tensor += 1
    steps.step(1, 7)
    assert machine.launches() - before == 7
    assert machine.library.fakecuda_contexts() == 0


def test_a_table_longer_than_a_payload_arrives(machine, launcher, allocate, cpu_library):
    count = 150  # tensors: three payloads of 64
    gradient = np.linspace(-2, 2, 5 * count, dtype=np.float32)
    states = [np.zeros(5 * count, np.int8) for _ in range(2)]
    launch = abi.launch(SPEC, seed=3, rule="dst", optimiser="given")
    scalars, iteration = np.zeros(7, np.float32), np.array([4], np.int64)
    counters = [np.zeros((count, 2), np.int64) for _ in range(2)]

    def table(state):
        start = state.ctypes.data, gradient.ctypes.data
        rows = [
            abi.Tensor(start[0] + 5 * i, start[1] + 20 * i, 0, 0, 0, 5, i, i, 0)
            for i in range(count)
        ]
        return abi.tensors(rows)

    numbers = [scalars.ctypes.data, iteration.ctypes.data]
    launcher.step_all(launch, table(states[0]), *numbers, counters[0].ctypes.data, 0, allocate)
    pointers = [ctypes.c_void_p(number) for number in (*numbers, counters[1].ctypes.data)]
    cpu_library.qt_step_all(
        ctypes.byref(launch), table(states[1]), ctypes.c_int64(count), *pointers, 1
    )
    assert np.array_equal(*states) and np.array_equal(*counters)
    assert counters[0][:, 0].sum() > 300


def test_counters_may_be_absent(machine, launcher):
    case = next(compare.cases())
    steps = compare.Steps(case, machine, launcher)
    pointers = (machine.address(steps.scalars), machine.address(steps.iterations[0]), 0)
    launcher.step_all(case.launch, steps.table, *pointers, 0, steps.work)
    assert machine.download(steps.counters).sum() == 0


def test_nothing_to_do_launches_nothing(machine, launcher, allocate):
    before = machine.launches()
    launcher.step_all(LAUNCH, abi.tensors([]), 0, 0, 0, 0, allocate)
    launcher.step_all(LAUNCH, abi.tensors([abi.Tensor(count=0)]), 0, 0, 0, 0, allocate)
    launcher.words(1, 1, 1, 0, 0, 0, 0, 0)
    assert machine.launches() == before and allocate.sizes == []


def arguments_of(case, steps, machine):
    """What a step is called with, up to the stream."""
    pointers = (steps.scalars, steps.iterations[0], steps.counters)
    return (case.launch, steps.table, *map(machine.address, pointers))


def test_a_graph_has_its_own_table(machine, launcher, allocate):
    """Eager launches of the same tensors, before the capture and after, have another table."""
    case = next(c for c in compare.cases() if c.launch.optimiser == 2)
    steps = compare.Steps(case, machine, launcher)
    arguments, stream = arguments_of(case, steps, machine), machine.streams + 1
    before = [machine.download(memory["state"]) for memory in steps.memory]

    def restore():
        for memory, state in zip(steps.memory, before, strict=True):
            memory["state"][:] = state

    launcher.step_all(*arguments, stream, allocate)

    def work(captured):
        assert captured == stream
        launcher.step_all(*arguments, captured, allocate)

    replay = machine.capture(work)
    assert len(allocate.sizes) == 2
    launches = machine.launches()
    for other in (5, 6):  # a tensor number is a part of the table
        steps.table[0].tensor = other
        launcher.step_all(*arguments, stream, allocate)
    assert len(allocate.sizes) == 2 and machine.launches() - launches == 4
    eager, size = allocate.made[0].copy(), ctypes.sizeof(steps.table)
    assert bytes(eager[:size]) == bytes(steps.table)
    restore()
    replay()
    assert np.array_equal(allocate.made[0], eager)
    steps.table[0].tensor = 11
    assert bytes(allocate.made[1][:size]) == bytes(steps.table)


def test_tables_do_not_grow_with_the_sets_of_gradients(machine, launcher, allocate):
    """Layers that have no gradient in some steps: 49 sets of tensors, and 32 tables at most."""
    state, gradient = np.zeros(50, np.int8), np.zeros(50, np.float32)
    launch_ = abi.launch(SPEC, seed=1, rule="dst", optimiser="given")
    scalars, iteration = np.zeros(7, np.float32), np.ones(1, np.int64)
    numbers = (scalars.ctypes.data, iteration.ctypes.data, 0)

    def step(first):
        rows = [
            abi.Tensor(state.ctypes.data + i, gradient.ctypes.data + 4 * i, 0, 0, 0, 1, 0, i, 0)
            for i in range(first, 50)
        ]
        launcher.step_all(launch_, abi.tensors(rows), *numbers, 0, allocate)

    for first in range(49):
        step(first)
    assert len(launcher._tables) == launch.TABLES == 32 and len(allocate.sizes) == 49
    for first in range(49 - 32, 49):
        step(first)  # those used last are kept
    assert len(allocate.sizes) == 49
    step(0)
    assert len(allocate.sizes) == 50 and len(launcher._tables) == 32


def test_chunks_are_found_among_empty_tensors(machine, launcher, allocate, cpu_library):
    """Tensors without weights first, between and last; several chunks of one tensor."""
    counts = (0, 0, 1, CHUNK, 0, 2 * CHUNK + 1, 0, 3, 0)
    gradients = [np.linspace(-2, 2, count, dtype=np.float32) for count in counts]
    states = [[np.zeros(count, np.int8) for count in counts] for _ in range(2)]
    launch_ = abi.launch(SPEC, seed=3, rule="dst", optimiser="given")
    scalars, iteration = np.zeros(7, np.float32), np.array([4], np.int64)
    counters = [np.zeros((len(counts), 2), np.int64) for _ in range(2)]
    tables = [
        abi.tensors(
            [
                abi.Tensor(s.ctypes.data, g.ctypes.data, 0, 0, 0, s.size, i, i, 0)
                for i, (s, g) in enumerate(zip(room, gradients, strict=True))
            ]
        )
        for room in states
    ]
    numbers = (scalars.ctypes.data, iteration.ctypes.data)
    launcher.step_all(launch_, tables[0], *numbers, counters[0].ctypes.data, 0, allocate)
    pointers = [ctypes.c_void_p(number) for number in (*numbers, counters[1].ctypes.data)]
    count = ctypes.c_int64(len(counts))
    cpu_library.qt_step_all(ctypes.byref(launch_), tables[1], count, *pointers, 1)
    assert all(map(np.array_equal, *states)) and np.array_equal(*counters)
    assert np.count_nonzero(counters[0][:, 0]) == 4
    table = table_of(bytes(tables[0]), [[-(-count // CHUNK) for count in counts]])
    before = np.frombuffer(table.data[len(counts) * ctypes.sizeof(abi.Tensor) :], np.uint32)
    assert table.totals == (6,) and before.tolist() == [0, 0, 0, 1, 2, 2, 5, 5, 6, 0]


def test_a_launch_has_a_number_of_blocks_that_fits():
    with pytest.raises(ValueError, match=r"at most 2\*\*31 - 1 blocks, got 2147483648"):
        table_of(b"", [[1], [2**31 - 1, 1]])


def test_mean_squares_are_two_launches_and_a_table(machine, launcher, allocate):
    gradient, square, gain = np.ones(60, np.float32), np.ones(9, np.float32), np.ones(9, np.float32)
    scalars = np.ones(7, np.float32)

    def rows(*lengths):
        starts = [array.ctypes.data for array in (gradient, square, gain)]
        return abi.rows([[s] * len(lengths) for s in starts] + [[60] * len(lengths), list(lengths)])

    def launches(table):
        before = machine.launches()
        launcher.squares(table, abi.Real.FLOAT32, scalars.ctypes.data, 0, allocate)
        return machine.launches() - before

    assert [launches(rows(60, 20)) for _ in range(2)] == [3, 2]
    layout = of_squares(rows(60, 20), abi.Real.FLOAT32)
    assert layout.totals == (4, 4) and allocate.sizes == [layout.bytes] == [2 * 48 + 4 * 8]
    assert np.frombuffer(layout.data[80:], np.uint32).tolist() == [0, 1, 0, 1]
    assert launches(rows(10, 60)) == 3  # more parts: other memory
    assert allocate.sizes == [128, 2 * 48 + 7 * 8]
    assert launches(abi.rows([[0]] * 5)) == launches(abi.rows([[]] * 5)) == 0


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"row": 0}, "whole rows of at least one weight, got 60 in rows of 0 in tensor 1"),
        ({"row": 7}, "whole rows of at least one weight, got 60 in rows of 7 in tensor 1"),
        ({"count": -4}, "whole rows .* got -4 in rows of 20"),
        ({"gradient": 8, "square": 6}, "mean square is an address divisible by 4, got 0x6"),
        ({"gain": None}, "gain is an address divisible by 4, got 0x0 in tensor 1"),
    ],
)
def test_rows_are_checked(change, rule):
    good = {"gradient": 16, "square": 16, "gain": 16, "count": 60, "row": 20}
    of_squares((abi.Rows * 1)(abi.Rows(**good)), abi.Real.BFLOAT16)
    with pytest.raises(ValueError, match=rule):
        of_squares((abi.Rows * 2)(abi.Rows(**good), abi.Rows(**good | change)), abi.Real.BFLOAT16)


def test_mean_squares_are_of_gradients(launcher):
    with pytest.raises(ValueError, match="float32 or bfloat16, got float16"):
        launcher.squares(abi.rows([[0]] * 5), abi.Real.FLOAT16, 0, 0, None)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"gain": 6, "row": 3}, "gain is an address divisible by 4, got 0x6 in tensor 1"),
        ({"gain": 8, "row": 4}, "whole rows of at least one weight, got 9 in rows of 4"),
        ({"count": -1}, r"are in 0..288230376151711743, got -1 from 0 on in tensor 1"),
        ({"offset": 2**58 - 5}, r"are in 0..288230376151711743, got 9 from 288230376151711739"),
        ({"state": 0}, "state is an address"),
        ({"gradient": 6}, "gradient is an address divisible by 4, got 0x6 in tensor 1"),
        ({"first": None}, "first is an address"),
    ],
)
def test_a_tensor_is_checked(change, rule):
    good = {"state": 16, "gradient": 16, "first": 16, "count": 9, "tensor": 2}
    check(LAUNCH, [abi.Tensor(**good)])
    with pytest.raises(ValueError, match=rule):
        check(LAUNCH, [abi.Tensor(**good), abi.Tensor(**good | change)])


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("rule", 99, r"a rule's number is in \[0, \d+\), got 99"),
        ("optimiser", -1, "an? optimiser's number"),
        ("storage", 4, "4 is not a valid Storage"),
        ("storage", 3, "a GPU does not read sixes yet"),
        ("gradient_type", 7, "7 is not a valid Real"),
        ("gradient_type", abi.Real.INT8, "a gradient is one of float32, bfloat16, got int8"),
        (
            "moment_type",
            abi.Real.FLOAT16,
            "a moment is one of float32, bfloat16, int8, got float16",
        ),
    ],
)
def test_a_launch_is_checked(field, value, rule, launcher):
    launch = abi.Launch.from_buffer_copy(LAUNCH)
    setattr(launch, field, value)
    with pytest.raises(ValueError, match=rule):
        launcher.step_all(launch, abi.tensors([abi.Tensor(count=1)]), 0, 0, 0, 0, None)


def test_two_moments_are_not_in_int8(launcher):
    launch = abi.launch(SPEC, seed=1, rule="dst", optimiser="adam", moment_type=abi.Real.INT8)
    with pytest.raises(ValueError, match="a moment is one of float32, bfloat16, got int8"):
        launcher.step_all(launch, abi.tensors([abi.Tensor(count=1)]), 0, 0, 0, 0, None)


def test_trits_hold_three_levels(launcher):
    with pytest.raises(ValueError, match="TRITS holds 2 to 3 levels, got 4"):
        launcher.decode(abi.Storage.TRITS, 1, 1, 4, 1, 1, 1, 0, 0)


def test_a_launch_costs_microseconds(machine, launcher, allocate, capsys):
    """161 tensors of nothing but their table: what Python adds to a step. Printed, barely bound."""
    state, gradient = np.zeros(161, np.int8), np.zeros(161, np.float32)
    rows = [
        abi.Tensor(
            state.ctypes.data + i, gradient.ctypes.data + 4 * i, 0, 0, 0, int(i == 0), 0, i, 0
        )
        for i in range(161)
    ]
    table, launch = abi.tensors(rows), abi.launch(SPEC, seed=1, rule="dst", optimiser="given")
    scalars, iteration = np.zeros(7, np.float32), np.ones(1, np.int64)
    arguments = (launch, table, scalars.ctypes.data, iteration.ctypes.data, 0, 0, allocate)
    launcher.step_all(*arguments)
    times = []
    for _ in range(50):
        start = time.perf_counter()
        launcher.step_all(*arguments)
        times.append(time.perf_counter() - start)
    with capsys.disabled():
        print(
            f"\n    a step of 161 tensors: {min(times) * 1e6:.0f} microseconds, emulation included"
        )
    assert min(times) < 0.01
