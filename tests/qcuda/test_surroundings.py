"""What a person's machine may be like: odd paths, no home, a terminal of ASCII, any umask."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
import torch

from qcuda.cli.output import any_encoding
from qcuda.files import write_atomically
from qcuda.kernels import native

ODD = "a b/torch stuff/é\n½"
BEGIN = f"""
import os, pwd, sys
sys.path[:0] = {sys.path!r}
def nobody(uid): raise KeyError(f"getpwuid(): uid not found: {{uid}}")
pwd.getpwuid = nobody
os.umask(0o027)
"""


def child(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter without a home, of a user that the system does not know."""
    command = [sys.executable, "-c", BEGIN + code, *arguments]
    kept = ("PATH", "LD_LIBRARY_PATH", "QTHEORY_LIB", "QTHEORY_LEVEL", "OMP_NUM_THREADS")
    known = {name: os.environ[name] for name in kept if name in os.environ}
    return subprocess.run(
        command, env={**known, **environment}, capture_output=True, text=True, check=False
    )


def test_a_run_in_odd_surroundings(tmp_path: Path):
    """Its folder, its home, its terminal and its umask are all unusual, and it ends as any."""
    run, table = tmp_path / ODD / "run", tmp_path / "table.json"
    sizes = "--channels 2 --hidden 8 --examples 60 --batch 20 --epochs 1 --seeds 2 --methods dst"
    done = child(
        "from qcuda.cli import main; sys.exit(main(sys.argv[1:]))",
        *("train", "--run", str(run), "--json", str(table), *sizes.split()),
        PYTHONIOENCODING="ascii",
        LC_ALL="C",
        MPLCONFIGDIR=matplotlib.get_cachedir(),  # finding fonts takes seconds
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii() and " +- " in done.stdout
    assert table.is_file()
    files = [path for path in run.rglob("*") if path.is_file()]
    assert len(files) >= 9
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o640"}


def test_the_threads_are_those_of_torch_whatever_else_is_loaded(tmp_path: Path):
    """Another OpenMP library, in a folder whose name says torch, is not taken for torch's."""
    (own,) = Path(torch.__file__).parent.glob("lib/libgomp*.so*")
    decoy = tmp_path / "torch" / "libgomp-0.so.1"
    decoy.parent.mkdir(parents=True)
    decoy.write_bytes(own.read_bytes())
    code = """
import ctypes
from qcuda.kernels import native
assert native.openmp_of_torch() is None
import torch
other = ctypes.cast(ctypes.CDLL(sys.argv[1]).GOMP_parallel, ctypes.c_void_p).value
assert native.openmp_of_torch() not in (None, other)
"""
    done = child(code, str(decoy))
    assert done.returncode == 0, done.stderr


def test_the_threads_of_torch_are_in_the_file_that_torch_maps():
    address = native.openmp_of_torch()
    if address is None:
        pytest.skip("this torch has no OpenMP")
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [(*line.split()[0].split("-"), line.split(maxsplit=5)[-1]) for line in lines]
    (file,) = [name for low, high, name in spans if int(low, 16) <= address < int(high, 16)]
    assert Path(file).is_relative_to(Path(torch.__file__).resolve().parent)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_are_for_whom_the_umask_says(umask: int, tmp_path: Path):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("ascii", b"98.59 +- 0.34 \\u2713 \\udcff"), ("utf-8", "98.59 ± 0.34 ✓ \\udcff".encode())],
)
def test_what_an_encoding_lacks_is_written_in_ascii(encoding: str, expected: bytes):
    """The last character stands for a byte of a file's name that is no text."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with any_encoding(stream):
        stream.write("98.59 ± 0.34 ✓ \udcff")
    assert stream.errors == "strict"
    assert stream.detach().getvalue() == expected
