"""Quick runs of the job, and what two of them must share to be the same run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qcuda.cli import main
from qcuda.train import folder as kept

OF_THE_PROCESS = ("seconds", "versions", "searched", "table", "tables")
# Small enough for a second; four epochs, so that there is a middle to be stopped in.
SMALL = ["--channels", "4", "--hidden", "16", "--examples", "120", "--batch", "20"]


def train(folder: Path, *options: str) -> int:
    return main(["train", "--quick", "--run", str(folder), *SMALL, *options])


@pytest.fixture(scope="session")
def run_quickly() -> Callable[..., int]:
    """`qtheory train --quick` on a small network into a folder; returns the exit status."""
    return train


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that nothing interrupted. Tests only read it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert train(folder) == 0
    return folder


@pytest.fixture(autouse=True)
def _figures_by_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """`finished` alone draws its figures, and a test looks at them: drawing takes two thirds of a
    quick run."""
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", lambda self, path, **options: path.touch())


def bits(value: Any) -> Any:
    """A value with tensors as their bytes, without what is a fact of the process and not the run.

    These are times, versions (a checkout may change between two runs), and how many tensors were
    alive when copies were searched for, which the text of an audit says too.
    """
    if isinstance(value, torch.Tensor):
        flat = value.detach().contiguous().reshape(-1)
        return str(value.dtype), tuple(value.shape), flat.view(torch.uint8).numpy().tobytes()
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items() if key not in OF_THE_PROCESS}
    if isinstance(value, list | tuple):
        return [bits(item) for item in value]
    return value


def contents(folder: Path) -> dict[str, Any]:
    """Checkpoints, log and results of a run, times apart, in a form that compares bit for bit."""
    checkpoints = sorted((folder / kept.CHECKPOINTS).iterdir())
    lines = (folder / kept.LOG).read_text().splitlines()
    return {
        "checkpoints": {path.name: bits(kept.load_checkpoint(path)) for path in checkpoints},
        "log": [bits(json.loads(line)) for line in lines],
        "results": bits(json.loads((folder / kept.RESULTS).read_text())),
        "config": (folder / kept.CONFIG).read_bytes(),
    }


@pytest.fixture(scope="session")
def contents_of() -> Callable[[Path], dict[str, Any]]:
    return contents
