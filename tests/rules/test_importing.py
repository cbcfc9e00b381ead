"""Importing does nothing but define."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WATCH = """
import sys
seen = []
def watch(event, arguments):
    if event in ("subprocess.Popen", "os.system", "os.posix_spawn"):
        seen.append(f"{event} {arguments[0]}")
    if event == "ctypes.dlopen" and any(w in str(arguments[0]) for w in ("qtheory", "nvrtc")):
        seen.append(f"{event} {arguments[0]}")
sys.addaudithook(watch)
exec(sys.argv[1])
maps = open("/proc/self/maps").read() if sys.platform == "linux" else ""
seen += {line.split()[-1] for line in maps.splitlines() if "libqtheory" in line}
print("\\n".join(seen))
"""


def effects(statement: str) -> list[str]:
    """Programs started and kernel libraries loaded by a statement in a fresh interpreter."""
    path = [sys.executable, "-c", WATCH, f"sys.path += {sys.path!r}; {statement}"]
    result = subprocess.run(path, capture_output=True, text=True, check=True)
    return result.stdout.split("\n")[:-1] if result.stdout.strip() else []


def test_importing_qcuda_compiles_and_loads_nothing():
    assert effects("import qcuda") == []


@pytest.mark.skipif(sys.platform != "linux", reason="plants a shared library by its Linux name")
def test_a_library_loaded_or_a_program_started_is_found(tmp_path: Path):
    import _ctypes

    planted = tmp_path / "libqtheory_v1.so"
    planted.write_bytes(Path(_ctypes.__file__).read_bytes())
    found = effects(f"import ctypes; ctypes.PyDLL({str(planted)!r})")
    assert found == [f"ctypes.dlopen {planted}", str(planted)]
    assert effects("import subprocess; subprocess.run(['true'])") == ["subprocess.Popen true"]
