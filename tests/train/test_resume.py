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
