"""The run-time compiler, where there is one: it needs no GPU."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qcuda.kernels import abi, gpu, source
from qcuda.kernels.gpu import cache, image, launch, nvrtc
from qcuda.kernels.gpu.driver import Driver

TARGET = nvrtc.Target(90, True)
STAIRS = {f"qt_{name}_{kind}" for name in ("stair", "stair_slope") for kind in abi.NUMBERS}

BATCH_NORM = {"qt_batch_measured", "qt_batch_table", "qt_batch_returned"} | {
    f"qt_batch_{name}_{kind}"
    for name in ("sums", "stair", "back_sums", "slope")
    for kind in abi.NUMBERS[:3]
}


@pytest.fixture(scope="module")
def compiler() -> nvrtc.Compiler:
    tried = []
    for candidate in nvrtc.candidates():
        try:
            return nvrtc.Compiler(candidate)
        except nvrtc.CompilerError as error:
            tried.append(str(error))
    pytest.skip("no NVRTC: " + "; ".join(tried))


def find(unit, compiler, tried=None):
    return image.find(unit, (9, 0), compiler.version, [] if tried is None else tried)


def kernels_in(cubin: bytes) -> set[str]:
    """Names of the sections that hold code."""
    return {name.decode() for name in re.findall(rb"\.text\.(qt_\w+)\0", cubin)}


def test_it_compiles_one_unit_and_keeps_it(compiler, monkeypatch, tmp_path):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    monkeypatch.setenv(nvrtc.VARIABLE, compiler.path)
    monkeypatch.setattr(image, "fatbin_places", list)
    tried: list[str] = []
    step = "qt_step_stochastic_rounding_adam_trits_bfloat16_float32"
    rare = "qt_step_dst_momentum_int8_float32_int8"  # in no image
    for unit, names in (
        (source.HELPERS, set(launch._HELPERS)),
        (source.STAIRS, STAIRS),
        (source.BATCH_NORM, BATCH_NORM),
        (step, {step}),
        (rare, {rare}),
    ):
        found = next(find(unit, compiler, tried))
        assert found.data[:4] == b"\x7fELF" and tried == [] and not found.whole
        assert kernels_in(found.data) == names
        (kept,) = [path for path in tmp_path.iterdir() if path.match(f"*{unit}*-sm_90")]
        again = next(find(unit, compiler, tried))
        assert again.origin == str(kept) and again.data == found.data


def test_a_newer_device_gets_ptx(compiler):
    text = 'extern "C" __global__ void f(float *x) { *x = *x * 2.0f + 1.0f; }'
    target = compiler.target((99, 0))
    ptx = compiler.compile(text, target).decode()
    assert not target.machine_code and ".target sm_" in ptx and "fma" not in ptx


def test_a_device_of_the_same_family_gets_machine_code(compiler, monkeypatch):
    monkeypatch.setattr(compiler, "architectures", lambda: [75, 80, 90])
    assert compiler.target((8, 9)) == (80, True)
    assert compiler.target((10, 0)) == (90, False)


def test_the_log_is_in_the_error(compiler):
    with pytest.raises(nvrtc.CompilerError, match=r"COMPILATION(?s:.*)undefined"):
        compiler.compile("undefined f();", TARGET)


def test_an_old_device_is_refused(compiler):
    with pytest.raises(nvrtc.CompilerError, match="too old"):
        compiler.target((3, 0))


def test_a_compiler_newer_than_the_driver_is_refused(compiler, monkeypatch):
    monkeypatch.setenv(nvrtc.VARIABLE, compiler.path)
    tried: list[str] = []
    old = (compiler.version[0] - 1, 0)
    assert list(image._compiled("", source.HELPERS, (9, 0), old, tried)) == []
    assert f"the driver supports {old[0]}.0" in tried[0]


def test_the_launcher_takes_what_it_makes(compiler, fake_driver, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    monkeypatch.setenv(nvrtc.VARIABLE, compiler.path)
    monkeypatch.setattr(image, "fatbin_places", list)
    monkeypatch.setattr(Driver, "version", lambda self: compiler.version)
    launcher = launch.Launcher(Driver(str(fake_driver)).device(0))
    spec = abi.spec(1.0, 1.0, 3, [3.0])
    launcher.prepare([abi.launch(spec, seed=1, rule="dst", optimiser="sgd")])
    assert ["NVRTC" in origin for origin in launcher.images] == [True, True]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "qt_step_dst_sgd_int8_float32 for sm_90 in " in said[1]


@pytest.mark.parametrize("what", ["libnvrtc-builtins.so.13.0", "libnvrtc.so.13"])
def test_a_library_that_does_not_load_ends_no_search(what, tmp_path):
    (tmp_path / what).write_text("no library")
    with pytest.raises(nvrtc.CompilerError, match=r"libnvrtc\.so\.13"):
        nvrtc.Compiler(str(tmp_path / "libnvrtc.so.13"))


def test_no_library_of_the_current_folder_is_loaded(monkeypatch, tmp_path):
    (tmp_path / "libnvrtc-builtins.so.13.0").write_text("no library")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(nvrtc.CompilerError) as error:
        nvrtc.Compiler("libnvrtc.so.0")
    assert "builtins" not in str(error.value)


def test_every_usual_place_is_looked_into(monkeypatch, tmp_path):
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path))
    (tmp_path / "targets" / "sbsa-linux" / "lib").mkdir(parents=True)
    found = nvrtc.folders()
    assert tmp_path / "lib" in found and tmp_path / "targets" / "sbsa-linux" / "lib" in found
    assert Path("/usr/local/cuda/lib64") in found


def test_a_missing_compiler_is_an_error_of_the_gpu():
    with pytest.raises(gpu.GPUError, match=r"/no/libnvrtc\.so"):
        nvrtc.Compiler("/no/libnvrtc.so")
