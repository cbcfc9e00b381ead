"""Numbers of a run for TensorBoard, and what is said where its writer is missing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from stopping import stopped_after

from qcuda.train import folder as kept


class Writer:
    """As tensorboardX has it: a folder, the first step, and numbers by name and step."""

    def __init__(self, folder: str, purge_step: int) -> None:
        self.lines = Path(folder)
        self.lines.mkdir(parents=True, exist_ok=True)
        self.add("begin", purge_step, purge_step)

    def add(self, *values: object) -> None:
        with open(self.lines / "events", "a") as file:
            file.write(json.dumps(values) + "\n")

    add_scalar = add

    def flush(self) -> None:
        pass

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def test_numbers_of_every_epoch_are_written_and_those_of_a_killed_run_forgotten(
    tmp_path: Path, run_quickly: Callable[..., int], monkeypatch: pytest.MonkeyPatch
):
    module = ModuleType("tensorboardX")
    module.SummaryWriter = Writer  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    run, options = tmp_path / "run", ["--methods", "dst", "--tensorboard"]
    with stopped_after(2):
        run_quickly(run, *options)
    assert run_quickly(run, *options) == 0
    events = (run / "tensorboard" / "dst-0" / "events").read_text().splitlines()
    found = [tuple(json.loads(line)) for line in events]
    assert [step for name, step, _ in found if name == "begin"] == [1, 3]
    log = [json.loads(line) for line in (run / kept.LOG).read_text().splitlines()][1:]
    for record in log:
        for name in ("loss", "validation_accuracy", "learning_rate"):
            assert (name, record[name], record["epoch"]) in found
        assert ("moved", sum(record["moved"]), record["epoch"]) in found
        assert ("changed", sum(record["changed"].values()), record["epoch"]) in found


def test_a_missing_writer_is_named(
    tmp_path: Path,
    run_quickly: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert run_quickly(tmp_path / "run", "--methods", "dst", "--tensorboard") == 2
    assert "the package tensorboardX of the extra log, pip install" in capsys.readouterr().err
