"""How every test runs: repeatably, and from a bare checkout if the package is not installed.

--hypothesis-profile=ci (the default) draws the same examples each time; `deep` draws more of them.
"""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ORDER = 20180401  # a fixed order of tests, mixed: pytest-randomly would take it from the clock
ROOT = Path(__file__).resolve().parents[1]
ROOMS = {"qtheory": ROOT, "qreference": ROOT / "reference", "qcuda": ROOT / "cuda"}

for package, folder in ROOMS.items():
    if importlib.util.find_spec(package) is None:
        sys.path.append(str(folder))

settings.register_profile("ci", derandomize=True, database=None, deadline=None, print_blob=True)
settings.register_profile("deep", settings.get_profile("ci"), max_examples=5000)
settings.load_profile("ci")

if "PYTEST_XDIST_WORKER" in os.environ:
    import torch

    torch.set_num_threads(1)  # the workers share the cores already


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Fix the order, unless --randomly-seed or -p no:randomly says otherwise."""
    if config.getoption("randomly_seed", None) == "default":
        config.option.randomly_seed = ORDER
