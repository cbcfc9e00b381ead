"""The benchmark of a GPU: what it predicts, what it runs, and what it makes of measurements.

Where there is no GPU, one is pretended, whose processes return numbers that are chosen here.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
import torch

from qcuda.bench import gpu, memory
from qcuda.cli import main
from qcuda.errors import InputError
from qcuda.validate.device import stages

MOMENTUM = "qt_step_dst_momentum_trits_bfloat16_bfloat16"
ADAM = "qt_step_dst_adam_int8_float32_float32"
ACCEPTANCE = gpu._acceptance
FACTS = {"step_time": {"seconds": 90.0}, "host_time": {"step": 900.0}}


def holds(name: str, device: str, limit: float) -> stages.Row:
    return stages.Row(stage=name, result="holds", seconds=1.0, facts=FACTS.get(name, {}), reason="")


def trained(model: str, row: str, batch: int, device: str, **how: Any) -> memory.Peak:
    """Ternary in 10/9 of AMP's time, least in a fifth of its memory; a step of AMP takes 16 ms."""
    slower = 1.0 if row == "amp" else 10 / 9
    return memory.Peak(2**20 if row == "least" else 5 * 2**20, 0, 0.0, 0.016 * slower)


def accepted(limit: float) -> dict[str, Any]:
    timed = {"gradients": "normal", "tensors": 1, "weights": 2**28}
    return {
        "checks": [{"differences": []}, {"differences": ["moved"]}, {"differences": []}],
        "copy": {"bytes_per_second": 4.3e12},
        "timings": [
            {"kernel": MOMENTUM, "seconds": 2.7e-12 * 2**28, **timed},
            {"kernel": MOMENTUM, "seconds": 1.0, **timed, "tensors": 161},
            {"kernel": MOMENTUM, "seconds": 1.0, **timed, "gradients": "tiny"},
            {"kernel": ADAM, "seconds": 9e-12 * 2**28, **timed},
        ],
    }


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "pretended device")
    monkeypatch.setattr(gpu, "_acceptance", accepted)
    monkeypatch.setattr(stages, "run_apart", holds)
    monkeypatch.setattr(gpu, "in_process", trained)


def test_what_is_predicted_has_a_measure_and_a_reason():
    said = json.loads((gpu.FOLDER / "predictions.json").read_text())["rows"]
    assert list(said) == list(gpu.MEASURES)
    assert all(row["why"] and row["range"][0] <= row["range"][1] for row in said.values())
    rows = gpu.predictions({})
    assert {row.verdict for row in rows} == {"not measured"}
    kernels = {row.name: row for row in rows if row.unit == "ms/1e9"}
    assert len(kernels) == 9
    # 84.875 instructions a weight of 132 x 128 a cycle; 22 bytes at the speed of a copy.
    assert kernels[MOMENTUM].low == pytest.approx(84.875e12 / (132 * 128 * 1.98e9))
    assert kernels[MOMENTUM].high == pytest.approx(84.875e12 / (132 * 128 * 1.755e9))
    assert (kernels[ADAM].low, kernels[ADAM].high) == pytest.approx((22 / 4.4, 22 / 4.2))


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (None, "not measured"), (0.0, "BELOW"), (1.9, "BELOW"), (2.0, "as predicted"),
        (3.0, "as predicted"), (3.1, "ABOVE"),
    ],
)  # fmt: skip
def test_a_verdict(measured: float | None, verdict: str):
    assert gpu.Prediction("any", "", 2.0, 3.0, measured).verdict == verdict


@pytest.mark.usefixtures("pretended")
def test_measurements_stand_beside_predictions(tmp_path, capsys):
    file = tmp_path / "gpu.json"
    assert main(["bench", "gpu", "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    assert result["device"] == "pretended device" and result["not_run"] == []
    rows = {row["name"]: row for row in result["predictions"]}
    found = {name: (row["measured"], row["verdict"]) for name, row in rows.items()}
    fast = 256 / 0.016
    assert [found.pop(name) for name in gpu.MEASURES] == [
        (1, "ABOVE"), (0, "as predicted"), (4.3e12, "as predicted"), (90.0, "as predicted"),
        (900.0, "ABOVE"), (fast, "as predicted"), (pytest.approx(0.9), "as predicted"),
        (pytest.approx(0.9), "BELOW"), (0.2, "as predicted"), (fast, "ABOVE"),
        (pytest.approx(0.9), "as predicted"),
    ]  # fmt: skip
    assert found.pop(MOMENTUM) == (pytest.approx(2.7), "as predicted")
    assert found.pop(ADAM) == (pytest.approx(9.0), "ABOVE")
    assert set(found.values()) == {(None, "not measured")}
    assert {"acceptance", *(f"train {' '.join(what)}" for what in gpu.TRAINED)} < set(
        result["parts"]
    )
    said = capsys.readouterr().out.splitlines()
    (line,) = (line for line in said if line.startswith("step of ResNet-50, host"))
    assert line.split()[-6:] == ["100", "..", "500", "900", "us", "ABOVE"]


def test_a_dry_run_runs_what_can_run_and_measures_no_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path, capsys
):
    """A stage that fails on the CPU is told; its times, and those of the others, are none."""
    asked: list[tuple[Any, ...]] = []

    def one_fails(name: str, device: str, limit: float) -> stages.Row:
        asked.append((name, device))
        row = holds(name, device, limit)
        return {**row, "result": "FAILED"} if name == "threads" else row

    def small(*what: Any, **how: Any) -> memory.Peak:
        asked.append((*what, how["compiled"], how["steps"]))
        return trained(*what, **how)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(stages, "run_apart", one_fails)
    monkeypatch.setattr(gpu, "in_process", small)
    file = tmp_path / "dry.json"
    assert main(["bench", "gpu", "--dry-run", "--json", str(file)]) == 0
    assert asked[2] == ("resnet20", "least", 2, "cpu", False, 1)
    rest = [name for name in stages.STAGES if name not in ("step_time", "host_time", "throughput")]
    assert asked[:2] + asked[3:] == [(name, "cpu") for name in ("step_time", "host_time", *rest)]
    rows = json.loads(file.read_text())["predictions"]
    assert {row["name"]: row["measured"] for row in rows if row["measured"] is not None} == {
        "stages that fail": 1
    }
    assert "a dry run on the CPU" in capsys.readouterr().out


@pytest.mark.usefixtures("pretended")
def test_what_fails_or_has_no_time_is_named(monkeypatch: pytest.MonkeyPatch, capsys):
    """A network that does not fit, acceptance without a result, and a stage that takes too long."""
    now = [0.0]

    def too_large(model: str, row: str, *what: Any, **how: Any) -> memory.Peak:
        now[0] += 10
        if (model, row) == ("resnet50", "amp"):
            raise subprocess.CalledProcessError(1, "python")
        return trained(model, row, *what, **how)

    def slow(name: str, device: str, limit: float) -> stages.Row:
        late = name == "updates"
        now[0] += limit if late else 10
        return {**holds(name, device, limit), "seconds": limit if late else 10.0}

    def without(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(gpu.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(gpu, "in_process", too_large)
    monkeypatch.setattr(stages, "run_apart", slow)
    monkeypatch.setattr(gpu, "_acceptance", ACCEPTANCE)
    monkeypatch.setattr(gpu.subprocess, "run", without)
    result = gpu.gpu(seconds=150)
    told = dict(reason.split(": ", 1) for reason in result["not_run"])
    assert "exit status 3" in told.pop("acceptance")
    assert "exit status 1" in told.pop("train resnet50 amp eager")
    assert "timed out" in told.pop("stage updates")
    assert set(told.values()) == {"no time was left"}
    assert {name.removeprefix("stage ") for name in told} == {*stages.STAGES} - {
        "step_time",
        "host_time",
        "throughput",
        "cold_capture",
        "updates",
    }
    assert f"not run: {result['not_run'][0]}" in capsys.readouterr().out
    failed = next(row for row in result["predictions"] if row["name"] == "stages that fail")
    assert failed["measured"] == 0


def test_a_stage_that_hangs_has_failed_and_takes_no_more_than_its_own_limit(
    monkeypatch: pytest.MonkeyPatch,
):
    """Also where as much time is left as it may take."""
    asked: list[float] = []

    def hangs(name: str, device: str, limit: float) -> stages.Row:
        asked.append(limit)
        return {**holds(name, device, limit), "result": "FAILED", "seconds": limit}

    monkeypatch.setattr(stages, "run_apart", hangs)
    for left in (3600.0, stages.LIMIT):
        assert gpu._stage("threads", "cpu", left)["result"] == "FAILED"
    with pytest.raises(subprocess.TimeoutExpired):
        gpu._stage("threads", "cpu", stages.LIMIT - 1)
    assert asked == [stages.LIMIT, stages.LIMIT, stages.LIMIT - 1]


def test_without_a_gpu_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="got false; --dry-run prints what is predicted"):
        gpu.gpu()
    monkeypatch.setattr(gpu, "FOLDER", gpu.FOLDER / "nowhere")
    with pytest.raises(InputError, match="predictions are in a checkout, got none in"):
        gpu.gpu(dry_run=True)
