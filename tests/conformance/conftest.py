"""One fixture: every CPU library that this machine can run; see tests/agreement."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "agreement"))
sys.path.insert(0, str(Path(__file__).parent))

import cpu_room

X86 = platform.machine() in ("x86_64", "AMD64", "amd64")


@pytest.fixture(scope="session", params=["v1", "v3", "v4"] if X86 else ["generic"])
def room(request) -> cpu_room.Room:
    if (reason := cpu_room.missing(request.param)) is not None:
        pytest.skip(reason)
    return cpu_room.find_level(request.param)
