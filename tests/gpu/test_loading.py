"""From a device to loaded kernels: what is found, made, kept, and said where it is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from qcuda.kernels import abi, gpu, source
from qcuda.kernels.gpu import image as images
from qcuda.kernels.gpu import launch, nvrtc
from qcuda.kernels.gpu.driver import Driver

SPEC = abi.spec(1.0, 1.0, 3, [3.0])
LAUNCH = abi.launch(SPEC, seed=1, rule="dst", optimiser="momentum")
STEP = "qt_step_dst_momentum_int8_float32_float32"
RARE = abi.launch(SPEC, seed=1, rule="dst", optimiser="momentum", moment_type=abi.Real.INT8)
RARE_STEP = "qt_step_dst_momentum_int8_float32_int8"


def fresh(fake_driver, number=0):
    return launch.Launcher(Driver(str(fake_driver)).device(number))


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """An NVRTC that makes images which name their kernels; `units` is what it was asked for."""
    units = []

    def compile_(self, text, target, defines=()):
        unit = next(u for u in (STEP, RARE_STEP, source.HELPERS) if source.only(u) == defines)
        names = [unit] if unit != source.HELPERS else launch._HELPERS
        units.append(unit)
        return b"\x7fELF only " + " ".join(names).encode()

    version = SimpleNamespace(units=units, version=(13, 0))
    monkeypatch.setattr(nvrtc.Compiler, "__init__", lambda self, path: vars(self).update(
        path=path, version=version.version))  # fmt: skip
    monkeypatch.setattr(nvrtc.Compiler, "architectures", lambda _: [80, 90])
    monkeypatch.setattr(nvrtc.Compiler, "compile", compile_)
    monkeypatch.setattr(images, "fatbin_places", list)
    monkeypatch.setenv("QTHEORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("QTHEORY_NVRTC", "/no/libnvrtc.so.13")
    return version


def test_kernels_are_compiled_when_they_are_first_needed(fake_driver, compiler, capsys, tmp_path):
    launcher = fresh(fake_driver)
    assert compiler.units == [source.HELPERS]
    launcher.prepare()
    assert compiler.units == [source.HELPERS]
    launcher.prepare([LAUNCH, LAUNCH])
    assert compiler.units == [source.HELPERS, STEP]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[1].startswith(f"qtheory: compiled {STEP} for sm_90 in 0.")
    assert said[1].endswith(f"s by NVRTC 13.0; kept in {tmp_path / 'cache'}")
    fresh(fake_driver).prepare([LAUNCH])  # as another process
    assert compiler.units == [source.HELPERS, STEP] and capsys.readouterr().err == ""


def test_a_first_call_inside_a_capture_loads_what_it_needs(
    fake_driver, machine, compiler, allocate
):
    """The process has loaded nothing when the capture begins; no call may end it."""
    state, gradient = np.zeros(9, np.int8), np.ones(9, np.float32)
    moment, scalars = np.zeros(9, np.float32), np.ones(7, np.float32)
    iteration = np.ones(1, np.int64)
    row = abi.Tensor(state.ctypes.data, gradient.ctypes.data, moment.ctypes.data, 0, 0, 9, 0, 0, 0)
    numbers = (scalars.ctypes.data, iteration.ctypes.data, 0)

    def work(stream):
        fresh(fake_driver).step_all(LAUNCH, abi.tensors([row]), *numbers, stream, allocate)

    replay = machine.capture(work)
    assert not state.any()
    replay()
    assert state.tolist() == [-1] * 9


def test_prepared_launches_need_nothing_more(fake_driver, machine, compiler, monkeypatch):
    launcher = fresh(fake_driver)
    launcher.prepare([LAUNCH])
    monkeypatch.setattr(launch.Device, "function", None)
    assert launcher._function(STEP) and all(map(launcher._function, launch._HELPERS))


def test_prepare_is_public(fake_driver, image, monkeypatch):
    monkeypatch.setenv("QTHEORY_CUDA_DRIVER", str(fake_driver))
    gpu.prepare(0, [LAUNCH])
    assert STEP in gpu.launcher(0)._functions


def test_a_kept_image_that_is_refused_is_made_again_once(fake_driver, compiler, tmp_path):
    """Foreign code under a right name and hash: the driver is the judge."""
    fresh(fake_driver)
    (kept,) = (tmp_path / "cache").glob("*-helpers-*[0-9]")
    entry = launch.image.cache.Entry(kept.name)
    good = entry.read()
    entry.write(b"another machine's")
    fresh(fake_driver)
    assert compiler.units == [source.HELPERS] * 2 and entry.read() == good


def test_an_image_that_is_always_refused_is_not_made_for_ever(fake_driver, compiler, monkeypatch):
    monkeypatch.setenv("FAKECUDA_REFUSE_IMAGES", "1")
    for made in (1, 2):
        with pytest.raises(gpu.ImageMissing, match="CUDA_ERROR_NO_BINARY_FOR_GPU"):
            fresh(fake_driver)
        assert compiler.units == [source.HELPERS] * made


def test_a_missing_kernel_is_looked_for_once(fake_driver, compiler, monkeypatch):
    launcher = fresh(fake_driver)
    monkeypatch.setenv("FAKECUDA_REFUSE_IMAGES", "1")
    for _ in range(3):
        with pytest.raises(gpu.ImageMissing, match=f"capability 9.0. has {STEP}; looked for"):
            launcher.prepare([LAUNCH])
    assert compiler.units == [source.HELPERS, STEP]


@pytest.mark.parametrize(
    ("version", "known", "why"),
    [
        ((14, 0), [90], "makes code for CUDA 14, the driver supports 13.0"),
        ((13, 1), [80], r"would make PTX of CUDA 13.1, the driver translates PTX up to CUDA 13.0"),
        ((13, 0), [80], None),
        ((13, 9), [90], None),
    ],
)
def test_code_that_the_driver_would_refuse_is_not_made(version, known, why):
    compiler = SimpleNamespace(version=version, architectures=lambda: known)
    target = nvrtc.Compiler.target(compiler, (9, 0))
    assert target.machine_code == (known == [90])
    found = images.unsuitable(compiler, target, (13, 0))
    assert found is None if why is None else why in found


def test_the_words_of_the_drivers_compiler_are_in_the_error(fake_driver, image):
    image.write_bytes(b"//\n.version 9.5")
    with pytest.raises(
        gpu.ImageMissing,
        match=r"CUDA_ERROR_UNSUPPORTED_PTX_VERSION \(222\): ptxas fatal: unsupported version",
    ):
        fresh(fake_driver)


def test_a_failure_is_remembered(fake_driver, compiler, monkeypatch):
    monkeypatch.setenv("QTHEORY_CUDA_DRIVER", str(fake_driver))
    monkeypatch.setattr(launch, "_LAUNCHERS", {})
    monkeypatch.setenv("FAKECUDA_REFUSE_IMAGES", "1")
    for _ in range(2):
        with pytest.raises(gpu.ImageMissing):
            gpu.launcher(0)
    assert compiler.units == [source.HELPERS]


def test_two_threads_make_one_launcher(fake_driver, image, monkeypatch):
    monkeypatch.setenv("QTHEORY_CUDA_DRIVER", str(fake_driver))
    monkeypatch.setattr(launch, "_LAUNCHERS", {})
    made, meeting, real = [], threading.Barrier(4), launch._make

    def slow(*key):
        made.append(key)
        found = real(*key)
        threading.Event().wait(0.1)
        return found

    monkeypatch.setattr(launch, "_make", slow)
    found = []

    def work():
        meeting.wait()
        found.append(gpu.launcher(0))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(found) == 4 and len({id(one) for one in found}) == 1


def test_a_forked_process_is_told_to_spawn(fake_driver, image, monkeypatch):
    launcher = fresh(fake_driver)
    real = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: real + 1)
    with pytest.raises(gpu.Forked, match="start workers with multiprocessing's spawn"):
        launcher.words(0, 1, 0, 0, 0, 1, 1, 0)
    monkeypatch.undo()
    monkeypatch.setenv("FAKECUDA_FORKED", "1")  # torch had initialised CUDA before the fork
    with pytest.raises(gpu.Forked):
        Driver(str(fake_driver))


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
        fresh(fake_driver)
    image.unlink()
    with pytest.raises(gpu.ImageMissing, match=r"\$QTHEORY_CUDA_IMAGE: .*kernels\.cubin"):
        fresh(fake_driver)


def test_a_refused_image_is_named(fake_driver, image, monkeypatch):
    monkeypatch.setenv("FAKECUDA_REFUSE_IMAGES", "1")
    with pytest.raises(gpu.ImageMissing, match="CUDA_ERROR_NO_BINARY_FOR_GPU"):
        fresh(fake_driver)


def test_without_an_image_every_place_is_named(fake_driver, monkeypatch, tmp_path):
    monkeypatch.setenv("QTHEORY_NVRTC", "/no/libnvrtc.so.13")
    monkeypatch.setattr(images, "fatbin_places", lambda: [tmp_path / "qtheory.fatbin"])
    with pytest.raises(gpu.ImageMissing) as error:
        fresh(fake_driver)
    assert f"{tmp_path}/qtheory.fatbin: no such file" in str(error.value)
    assert "/no/libnvrtc.so.13: cannot open" in str(error.value)


def test_a_fatbin_of_other_sources_is_refused(fake_driver, monkeypatch, tmp_path):
    monkeypatch.setenv("QTHEORY_NVRTC", "/no/libnvrtc.so.13")
    fatbin = tmp_path / "qtheory.fatbin"
    fatbin.write_bytes(b"\x50\xed\x55\xba")
    monkeypatch.setattr(images, "fatbin_places", lambda: [fatbin])
    with pytest.raises(gpu.ImageMissing, match="was made from other sources"):
        fresh(fake_driver)
    digest = source.digest(source.one_text(source.kernels()))
    (tmp_path / "qtheory.json").write_text(f'{{"source": "{digest}"}}')
    assert fresh(fake_driver).images == [str(fatbin)]


def test_moments_in_int8_are_compiled_beside_an_image_without_them(
    fake_driver, compiler, image, monkeypatch, tmp_path
):
    image.write_bytes(b"\x7fELF only " + " ".join((*launch._HELPERS, STEP)).encode())
    named = fresh(fake_driver)
    named.prepare([LAUNCH])
    with pytest.raises(
        gpu.ImageMissing,
        match=f"has {RARE_STEP}; looked for:(?s:.*)no kernels with moments in int8",
    ):
        named.prepare([RARE])
    digest = source.digest(source.one_text(source.kernels()))
    image.with_name("qtheory.json").write_text(f'{{"source": "{digest}"}}')
    monkeypatch.delenv("QTHEORY_CUDA_IMAGE")
    monkeypatch.setattr(
        images, "fatbin_places", lambda: [image.rename(tmp_path / "qtheory.fatbin")]
    )
    launcher = fresh(fake_driver)
    launcher.prepare([LAUNCH])
    assert compiler.units == []
    launcher.prepare([RARE, LAUNCH])
    assert compiler.units == [RARE_STEP] and len(launcher.images) == 2


def test_an_image_with_moments_in_int8_is_enough(fake_driver, compiler, image):
    launcher = fresh(fake_driver)
    launcher.prepare([RARE, LAUNCH])
    assert compiler.units == [] and launcher.images == [str(image)]


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
