"""A gradient that is not finite in a run: on the screen once, in the log always."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from qcuda.nn import lattice_layers
from qcuda.train import folder as kept
from qcuda.train import loop


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch):
    """Plants three NaN in the first slot before the given steps of a run, counted from 1."""

    def plant(steps: set[int]) -> None:
        step, count = loop._step, iter(range(1, 10_000))

        def broken(trainee: loop.Trainee) -> None:
            if next(count) in steps:
                slot = next(iter(lattice_layers(trainee.model).values())).slot
                assert slot.grad is not None
                slot.grad.view(-1)[:3] = torch.nan
            step(trainee)

        monkeypatch.setattr(loop, "_step", broken)

    return plant


def run(run_quickly, folder: Path) -> list[dict]:
    options = ("--methods", "dst", "--base.name", "sgd", "--base.learning_rate.dst", "0.01")
    assert run_quickly(folder, *options) == 0
    lines = (folder / kept.LOG).read_text().splitlines()
    return [json.loads(line) for line in lines if json.loads(line)["epoch"]]


@pytest.mark.filterwarnings("ignore:.*increments of lattice weights:RuntimeWarning")
def test_gradients_that_are_not_finite_are_said_and_logged(
    run_quickly, planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """An epoch has six steps of 20 examples: two such in the second epoch, one in the third."""
    planted({8, 9, 14})
    records = run(run_quickly, tmp_path / "run")
    assert [record["not_finite"] for record in records] == [0, 6, 3, 0]
    alarms = [line for line in capsys.readouterr().err.splitlines() if "NOT FINITE" in line]
    assert alarms == [
        "dst seed 0, epoch 2: 6 GRADIENTS OF LATTICE WEIGHTS WERE NOT FINITE; they changed "
        "nothing, later ones are in the log"
    ]


def test_a_run_without_them_says_nothing(
    run_quickly, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    records = run(run_quickly, tmp_path / "run")
    assert [record["not_finite"] for record in records] == [0] * 4
    assert "NOT FINITE" not in capsys.readouterr().err
