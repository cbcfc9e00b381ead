"""A run that was stopped goes on with the bits of one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stopping import stopped_after

from qcuda.cli import main
from qcuda.train import folder as kept

Contents = Callable[[Path], dict[str, Any]]


def test_killed_and_resumed_is_the_same_run(finished: Path, tmp_path: Path, contents_of: Contents):
    """kill -9 as soon as `full` has logged an epoch; `dst` is then done, `ste` not begun."""
    run = tmp_path / "run"
    options = ["--channels", "4", "--hidden", "16", "--examples", "120", "--batch", "20"]
    script = f"import sys; sys.path[:0] = {sys.path!r}; from qcuda.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "train", "--quick", "--run", str(run), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ),
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        log = run / kept.LOG
        if log.is_file() and log.read_bytes().count(b"\n") >= 7:
            break
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert not (run / kept.RESULTS).exists()
    assert main(["train", "--resume", "--run", str(run)]) == 0
    assert contents_of(run) == contents_of(finished)


@pytest.mark.parametrize("writes", [4, 6, 16])
def test_stopped_after_any_checkpoint(
    writes: int,
    finished: Path,
    tmp_path: Path,
    run_quickly: Callable[..., int],
    contents_of: Contents,
):
    """There are 16: each of four methods writes four. Of one method: test_epoch.py."""
    with stopped_after(writes):
        run_quickly(tmp_path / "run")
    assert run_quickly(tmp_path / "run") == 0
    assert contents_of(tmp_path / "run") == contents_of(finished)


@pytest.mark.parametrize("moment", ["temporary", "half a line", "no results"])
def test_what_a_crash_leaves_is_put_right(
    moment: str,
    finished: Path,
    tmp_path: Path,
    run_quickly: Callable[..., int],
    contents_of: Contents,
):
    """A finished run, put back to a moment in which the process may have died."""
    run = tmp_path / "run"
    subprocess.run(["cp", "-r", str(finished), str(run)], check=True)
    (run / kept.RESULTS).unlink()
    if moment == "temporary":
        kept.checkpoint_path(run, "ste", 0).unlink()
        (run / kept.CHECKPOINTS / "ste-0.ckpt.tmp").write_bytes(b"half")
    if moment == "half a line":
        kept.checkpoint_path(run, "ste", 0).unlink()
        whole = (run / kept.LOG).read_bytes()
        (run / kept.LOG).write_bytes(whole[:-20])
    assert run_quickly(run) == 0
    assert contents_of(run) == contents_of(finished)
    assert not list(run.rglob("*.tmp"))


def test_checkpoints_may_be_rare(
    finished: Path, tmp_path: Path, run_quickly: Callable[..., int], contents_of: Contents
):
    """How often is not part of the bits: weights and losses are those of the other run."""
    assert run_quickly(tmp_path / "run", "--checkpoint_every", "3") == 0
    ours, theirs = contents_of(tmp_path / "run"), contents_of(finished)
    assert ours["log"] == theirs["log"]
    for name, values in ours["checkpoints"].items():
        assert values["model"] == theirs["checkpoints"][name]["model"]
        assert values["optimizer"] == theirs["checkpoints"][name]["optimizer"]


def test_the_log_is_json_without_not_a_number(finished: Path):
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    for line in (finished / kept.LOG).read_text().splitlines():
        assert isinstance(json.loads(line, parse_constant=refuse), dict)


STEPS = ["--checkpoint_steps", "2", "--replay", "3", "--methods", "dst", "full", "--audit-law"]


@pytest.fixture(scope="module")
def in_steps(tmp_path_factory: pytest.TempPathFactory, run_quickly: Callable[..., int]) -> Path:
    """A finished run with checkpoints within its epochs, of six steps each."""
    folder = tmp_path_factory.mktemp("steps") / "run"
    assert run_quickly(folder, *STEPS) == 0
    return folder


@pytest.mark.parametrize("writes", [4, 14])
def test_stopped_within_an_epoch(
    writes: int,
    in_steps: Path,
    tmp_path: Path,
    run_quickly: Callable[..., int],
    contents_of: Contents,
):
    """Three checkpoints an epoch, after two, four and six steps; four epochs; two methods."""
    with stopped_after(writes):
        run_quickly(tmp_path / "run", *STEPS)
    last = "dst" if writes <= 12 else "full"
    values = kept.load_checkpoint(kept.checkpoint_path(tmp_path / "run", last, 0))
    assert values["begun"].get("examples", 0) == (0, 40, 80)[writes % 3]
    assert run_quickly(tmp_path / "run", *STEPS) == 0
    assert contents_of(tmp_path / "run") == contents_of(in_steps)


def test_the_reference_repeats_the_first_steps_of_a_run(
    in_steps: Path, capsys: pytest.CaptureFixture[str]
):
    results = json.loads((in_steps / kept.RESULTS).read_text())
    weights = results["methods"]["dst"]["weights"]
    assert results["methods"]["dst"]["replays"] == [
        {"left": 0, "steps": 3, "weights": 3 * weights, "different": 0}
    ]
    assert results["methods"]["full"]["replays"] == []
    assert main(["train", "--resume", "--run", str(in_steps)]) == 0
    said = capsys.readouterr().out
    assert f"dst seed 0: 0 of {3 * weights} weights in 3 steps went elsewhere." in said


def test_the_best_model_is_a_file(in_steps: Path):
    from qcuda.nn.model_file import load
    from qcuda.train.door import reopen

    for method in ("dst", "full"):
        trainee = reopen(kept.checkpoint_path(in_steps, method, 0))
        load(trainee.model, in_steps / kept.MODELS / f"{method}-0.safetensors")
        best = trainee.best["model"]
        assert best.keys() == trainee.model.state_dict().keys()
        for name, tensor in trainee.model.state_dict().items():
            assert tensor.tolist() == best[name].tolist(), name
