"""How every test runs: repeatably, and from a bare checkout if the package is not installed.

--hypothesis-profile=ci (the default) draws the same examples each time; `deep` draws more of them.
QTHEORY_RUN_KEY=<any text> gives other random words, and with `deep` other examples: a date there
lets nightly runs add evidence, and the same text repeats one of them.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from cpu_room import Room

ORDER = 20180401  # a fixed order of tests, mixed: pytest-randomly would take it from the clock
ROOT = Path(__file__).resolve().parents[1]
X86 = platform.machine() in ("x86_64", "AMD64", "amd64")
LEVELS = ["v1", "v3", "v4"] if X86 else ["generic"]  # of the CPU libraries
RUN_KEY = os.environ.get("QTHEORY_RUN_KEY", "")
ROOMS = {
    "qtheory": ROOT,
    "qreference": ROOT / "reference",
    "qcuda": ROOT / "cuda",
    "qpapers": ROOT / "papers",
}

# Compiled code that torch finds in its cache may be for wider vectors than this run's, or narrower
# ones, and then writes past its buffers; the place everyone shares in /tmp holds such code.
os.environ.setdefault(
    "TORCHINDUCTOR_CACHE_DIR",
    str(ROOT / "build" / "inductor" / os.environ.get("ATEN_CPU_CAPABILITY", "native")),
)

# One thread for NumPy's matrices, here and in the processes that tests start: they are small, and
# threads that wait for each other keep the other cores of a run busy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

for package, folder in ROOMS.items():
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:  # tests/qcuda is a folder, and no package
        sys.path.append(str(folder))

settings.register_profile("ci", derandomize=True, database=None, deadline=None, print_blob=True)
settings.register_profile("deep", settings.get_profile("ci"), max_examples=5000)
if RUN_KEY:  # the examples then follow from the key, see pytest_configure
    settings.register_profile("deep", settings.get_profile("deep"), derandomize=False)
settings.load_profile("ci")

if "PYTEST_XDIST_WORKER" in os.environ:
    import torch

    torch.set_num_threads(1)  # the workers share the cores already


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Fix the order, and the examples of a run key, unless an option says otherwise."""
    if RUN_KEY and config.getoption("--hypothesis-seed", None) is None:
        digest = hashlib.blake2b(RUN_KEY.encode(), digest_size=8).hexdigest()
        config.option.hypothesis_seed = str(int(digest, 16))
    if config.getoption("randomly_seed", None) == "default":
        config.option.randomly_seed = ORDER


def pytest_collection_finish() -> None:
    """Hide what is there before the first test from the garbage collector.

    An audit looks through all objects for copies of weights, and so does each full collection:
    the modules and the tests are millions, and hold none.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", params=LEVELS)
def room(request: pytest.FixtureRequest) -> Room:
    """Every CPU library that this machine can run."""
    import cpu_room

    if (reason := cpu_room.missing(request.param)) is not None:
        pytest.skip(reason)
    return cpu_room.find_level(request.param)
