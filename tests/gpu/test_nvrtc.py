"""The run-time compiler, where there is one: it needs no GPU."""

from __future__ import annotations

import pytest

from qcuda.files import write_atomically
from qcuda.kernels import gpu, source
from qcuda.kernels.gpu import image, launch, nvrtc
from qcuda.kernels.gpu.driver import Driver


@pytest.fixture(scope="module")
def compiler() -> nvrtc.Compiler:
    tried = []
    for candidate in nvrtc.candidates():
        try:
            return nvrtc.Compiler(candidate)
        except nvrtc.CompilerError as error:
            tried.append(str(error))
    pytest.skip("no NVRTC: " + "; ".join(tried))


def test_it_compiles_the_kernels_and_keeps_them(compiler, monkeypatch, tmp_path):
    monkeypatch.setenv(image.CACHE, str(tmp_path))
    monkeypatch.setenv(nvrtc.VARIABLE, compiler.path)
    monkeypatch.setattr(image, "fatbin_places", list)
    tried: list[str] = []
    found = next(image.find((9, 0), compiler.version, tried))
    assert found.data[:4] == b"\x7fELF" and tried == []
    for name in (b"qt_step_dst_adam_trits", b"qt_words", b"qt_put"):
        assert name in found.data
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == found.data and kept.name.endswith("-sm90.cubin")
    again = next(image.find((9, 0), compiler.version, tried))
    assert again.origin == str(kept) and again.data == found.data


def test_a_cache_that_cannot_be_written_is_no_obstacle(compiler, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv(image.CACHE, str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(nvrtc.Compiler, "compile", lambda *_: b"\x7fELF")
    tried: list[str] = []
    found = image._cached(compiler, "text", (9, 0), tried)
    assert found.data == b"\x7fELF" and "could not be kept in the cache" in tried[0]


def test_a_newer_device_gets_ptx(compiler):
    text = 'extern "C" __global__ void f(float *x) { *x = *x * 2.0f + 1.0f; }'
    ptx = compiler.compile(text, (99, 0)).decode()
    assert ".target sm_" in ptx and "fma" not in ptx


def test_the_log_is_in_the_error(compiler):
    with pytest.raises(nvrtc.CompilerError, match=r"COMPILATION(?s:.*)undefined"):
        compiler.compile("undefined f();", (9, 0))


def test_an_old_device_is_refused(compiler):
    with pytest.raises(nvrtc.CompilerError, match="too old"):
        compiler.compile("", (3, 0))


def test_a_compiler_newer_than_the_driver_is_refused(compiler, monkeypatch):
    monkeypatch.setenv(nvrtc.VARIABLE, compiler.path)
    tried: list[str] = []
    text = source.one_text(source.kernels())
    assert list(image._compiled(text, (9, 0), (compiler.version[0] - 1, 0), tried)) == []
    assert f"the driver supports {compiler.version[0] - 1}.0" in tried[0]


def test_the_launcher_takes_what_it_makes(compiler, fake_driver, monkeypatch, tmp_path):
    monkeypatch.setenv(image.CACHE, str(tmp_path))
    monkeypatch.setenv(nvrtc.VARIABLE, compiler.path)
    monkeypatch.setattr(image, "fatbin_places", list)
    monkeypatch.setattr(Driver, "version", lambda self: compiler.version)
    launcher = launch.Launcher(Driver(str(fake_driver)).device(0))
    assert "NVRTC" in launcher.image and isinstance(launcher, gpu.Launcher)


def test_a_write_is_whole_or_nothing(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two" and list(path.parent.iterdir()) == [path]
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(path, b"three")
    assert list(path.parent.iterdir()) == [path]
