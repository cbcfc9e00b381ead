"""The real launcher on a pretended driver: what it launches, keeps and refuses."""

from __future__ import annotations

import ctypes
import itertools
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from qcuda.kernels import abi, gpu, source
from qcuda.kernels.gpu import image as images
from qcuda.kernels.gpu import launch
from qcuda.kernels.gpu.driver import Driver
from qcuda.kernels.gpu.launch import CHUNK, check, chunk_table, counts_of
from qcuda.validate import compare
from qtheory.algorithms import walkers

SPEC = abi.spec(1.0, 1.0, 3, [3.0])
LAUNCH = abi.launch(SPEC, seed=1, rule="dst", optimiser="momentum")


def test_the_structures_are_the_compilers(machine):
    layout = (ctypes.c_int64 * 25)()
    machine.library.fakecuda_layout(layout)
    structures = (abi.Spec, abi.Launch, abi.Tensor, abi.Counters)
    expected = [ctypes.sizeof(structure) for structure in structures]
    for structure in structures:
        names = [name for name, _ in structure._fields_ if name != "unused"]
        expected += [getattr(structure, name).offset for name in names]
    assert list(layout) == expected


def test_the_registry_is_the_headers(machine):
    numbers = map(ctypes.c_int64, itertools.count())
    names = set(itertools.takewhile(bool, map(machine.library.fakecuda_kernel, numbers)))
    steps = {name.decode() for name in names if name.startswith(b"qt_step")}
    assert len(names) == len(steps) + 5
    assert steps == {
        f"qt_step_{rule}_{optimiser}_{storage.name.lower()}"
        for rule in source.stems()
        for optimiser in abi.OPTIMISERS
        for storage in abi.Storage
    }
    optimisers = (source.kernels().parents[1] / "optimisers.h").read_text().splitlines()[-1]
    assert optimisers.endswith(" ".join(f"X(rule, {name})" for name in abi.OPTIMISERS))
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


def test_a_table_longer_than_a_payload_arrives(machine, launcher, cpu_library):
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
    launcher.step_all(launch, table(states[0]), *numbers, counters[0].ctypes.data, 0)
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
    launcher.step_all(case.launch, steps.table, *pointers, 0)
    assert machine.download(steps.counters).sum() == 0


def test_nothing_to_do_launches_nothing(machine, launcher):
    before = machine.launches()
    launcher.step_all(LAUNCH, abi.tensors([]), 0, 0, 0, 0)
    launcher.step_all(LAUNCH, abi.tensors([abi.Tensor(count=0)]), 0, 0, 0, 0)
    launcher.words(1, 1, 1, 0, 0, 0, 0, 0)
    assert machine.launches() == before


def test_a_graph_keeps_its_own_table(machine, launcher, cpu_library):
    """A later launch on the same stream with other addresses does not disturb a captured one."""
    case = next(c for c in compare.cases() if c.launch.optimiser == 2)
    captured = compare.Steps(case, machine, launcher)
    other = compare.Steps(case, machine, launcher)
    streams = []

    def work(stream):
        streams.append(stream)
        for place in range(3):
            captured.step(place, stream)

    replay = machine.capture(work)
    for place in range(3):
        other.step(place, streams[0])
    replay()
    for steps in (captured, other):
        assert steps.differences(*compare.expected(case, cpu_library)) == []


def test_chunks_cover_every_weight_once():
    counts = (1, 0, CHUNK, CHUNK + 1, 5 * CHUNK - 1)
    table = np.frombuffer(chunk_table(counts), np.uint32).reshape(-1, 2)
    for tensor, count in enumerate(counts):
        numbers = table[table[:, 0] == tensor, 1]
        assert numbers.tolist() == list(range(-(-count // CHUNK)))
    tensors = abi.tensors([abi.Tensor(count=count, offset=9) for count in counts])
    assert counts_of(bytes(tensors)) == counts


@pytest.mark.parametrize(
    ("change", "rule"),
    [
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
        ("storage", 2, "2 is not a valid Storage"),
        ("gradient_type", 7, "7 is not a valid Real"),
    ],
)
def test_a_launch_is_checked(field, value, rule, launcher):
    launch = abi.Launch.from_buffer_copy(LAUNCH)
    setattr(launch, field, value)
    with pytest.raises(ValueError, match=rule):
        launcher.step_all(launch, abi.tensors([abi.Tensor(count=1)]), 0, 0, 0, 0)


def test_trits_hold_three_levels(launcher):
    with pytest.raises(ValueError, match="TRITS holds 2 to 3 levels, got 4"):
        launcher.decode(abi.Storage.TRITS, 1, 4, 1, 1, 1, 0, 0)


# ---- what is missing says so ----


def test_a_missing_driver_is_named():
    with pytest.raises(
        gpu.DriverMissing, match=r"looked for /no/libcuda\.so\.1 .*QTHEORY_CUDA_DRIVER"
    ):
        gpu.launcher(0, "/no/libcuda.so.1")


def test_another_library_is_no_driver(cpu_library):
    with pytest.raises(gpu.DriverMissing, match="exports cuInit"):
        Driver(cpu_library._name)


def test_the_variable_names_the_driver(fake_driver, monkeypatch):
    monkeypatch.setenv("QTHEORY_CUDA_DRIVER", str(fake_driver))
    assert Driver().device(0).name == "emulated device"


def test_no_device(fake_driver, monkeypatch):
    monkeypatch.setenv("FAKECUDA_DEVICES", "0")
    with pytest.raises(gpu.DeviceMissing, match=r"libfakecuda\.so found none"):
        Driver(str(fake_driver))


def test_too_few_devices(fake_driver):
    with pytest.raises(gpu.DeviceMissing, match="below the number of devices, 1, got 3"):
        Driver(str(fake_driver)).device(3)


def test_a_bad_image_is_named(fake_driver, image):
    image.write_bytes(b"not an image")
    with pytest.raises(
        gpu.ImageMissing, match=r"capability 9\.0(?s:.*)CUDA_ERROR_INVALID_IMAGE \(200\)"
    ):
        launch.Launcher(Driver(str(fake_driver)).device(0))
    image.unlink()
    with pytest.raises(gpu.ImageMissing, match=r"\$QTHEORY_CUDA_IMAGE: .*kernels\.cubin"):
        launch.Launcher(Driver(str(fake_driver)).device(0))


def test_a_refused_image_is_named(fake_driver, image, monkeypatch):
    monkeypatch.setenv("FAKECUDA_REFUSE_IMAGES", "1")
    with pytest.raises(gpu.ImageMissing, match="CUDA_ERROR_NO_BINARY_FOR_GPU"):
        launch.Launcher(Driver(str(fake_driver)).device(0))


def test_without_an_image_every_place_is_named(fake_driver, monkeypatch, tmp_path):
    monkeypatch.setenv("QTHEORY_NVRTC", "/no/libnvrtc.so.13")
    monkeypatch.setattr(images, "fatbin_places", lambda: [tmp_path / "qtheory.fatbin"])
    with pytest.raises(gpu.ImageMissing) as error:
        launch.Launcher(Driver(str(fake_driver)).device(0))
    assert f"{tmp_path}/qtheory.fatbin: no such file" in str(error.value)
    assert "/no/libnvrtc.so.13: cannot open" in str(error.value)


def test_a_fatbin_of_other_sources_is_refused(fake_driver, monkeypatch, tmp_path):
    monkeypatch.setenv("QTHEORY_NVRTC", "/no/libnvrtc.so.13")
    fatbin = tmp_path / "qtheory.fatbin"
    fatbin.write_bytes(b"\x50\xed\x55\xba")
    monkeypatch.setattr(images, "fatbin_places", lambda: [fatbin])
    with pytest.raises(gpu.ImageMissing, match="was made from other sources"):
        launch.Launcher(Driver(str(fake_driver)).device(0))
    digest = source.digest(source.one_text(source.kernels()))
    (tmp_path / "qtheory.json").write_text(f'{{"source": "{digest}"}}')
    assert launch.Launcher(Driver(str(fake_driver)).device(0)).image == str(fatbin)


def test_an_unknown_kernel_is_a_driver_error(launcher):
    with launcher.device.current(), pytest.raises(gpu.DriverError, match="CUDA_ERROR_NOT_FOUND"):
        launcher._function("qt_step_nothing")


def test_import_loads_nothing():
    code = (
        "import ctypes; real = ctypes.CDLL; names = []\n"
        "ctypes.CDLL = lambda name, *a, **k: (names.append(str(name)), real(name, *a, **k))[1]\n"
        "import qcuda.kernels.gpu\n"
        "print([name for name in names if 'cuda' in name or 'nvrtc' in name])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


def test_a_launch_costs_microseconds(machine, launcher, capsys):
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
    arguments = (launch, table, scalars.ctypes.data, iteration.ctypes.data, 0, 0)
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
