"""The job from end to end: results, table, figures, log and audit of a quick run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread

from qcuda.cli import main
from qcuda.data.digits import load, opened, split
from qcuda.train import folder as kept
from qcuda.train.door import reopen
from qcuda.train.gradients import evaluate

METHODS = ["dst", "walker8", "full", "ste"]
FIGURES = ["learning_curves.png"]
FIGURES += [f"{of}-{method}.png" for of in ("levels", "moves", "digits") for method in METHODS[:2]]


@pytest.fixture(scope="module")
def results(finished: Path) -> dict:
    return json.loads((finished / kept.RESULTS).read_text())


def test_results_say_what_the_methods_reached_and_cost(results: dict):
    assert list(results["methods"]) == METHODS
    assert results["test_examples"] == 450
    for found in results["methods"].values():
        assert all(0 <= x <= 1 for x in found["test_accuracy"])
        assert found["test_mean"] == pytest.approx(sum(found["test_accuracy"]), abs=1e-15)
    bits = {method: results["methods"][method]["bits"] for method in METHODS}
    assert bits["dst"] == {"weight": 2.0, "moments": 64.0, "gradient": 32.0}
    assert bits["walker8"] == {"weight": 8.0, "moments": 0.0, "gradient": 32.0}
    assert bits["full"] == bits["ste"] == {"weight": 32.0, "moments": 64.0, "gradient": 32.0}
    weights = [results["methods"][method]["weights"] for method in METHODS]
    assert weights == [4 * 9 + 8 * 4 * 9 + 16 * 8 * 16 + 10 * 16] * 4


def test_results_carry_config_seeds_and_versions(results: dict, finished: Path):
    assert results["seeds"] == [0]
    assert results["versions"]["torch"] == torch.__version__
    assert results["config"] == kept.read_config(finished).to_dict()


def test_the_audit_finds_every_weight_on_its_lattice_and_no_copy(results: dict):
    for method, bits in (("dst", 98), ("walker8", 40)):
        (audit,) = results["methods"][method]["audits"]
        assert audit["weights"] == results["methods"][method]["weights"]
        assert audit["total_bits"] == bits  # with the gradient, which lives for a moment
        assert audit["float_copies"] == 0
        names = [layer["name"] for layer in audit["layers"]]
        assert names == ["conv1", "conv2", "linear2", "linear3"]
        # Hidden levels are counted by what they show.
        assert {len(layer["counts"]) for layer in audit["layers"]} == {3}


def test_the_log_has_every_epoch_once_and_counts_every_weight(finished: Path, results: dict):
    records = [json.loads(line) for line in (finished / kept.LOG).read_text().splitlines()]
    assert [(r["method"], r["epoch"]) for r in records] == [
        (m, e) for m in METHODS for e in range(5)
    ]
    weights = results["methods"]["dst"]["weights"]
    for record in records[:5]:
        assert sum(map(sum, record["levels"].values())) == weights
    for record in records[1:5]:
        # A weight that ends on another level has moved at least once.
        assert 0 < sum(record["changed"].values()) <= sum(record["moved"])
        assert sum(record["probe"]["weights"]) == weights
        assert math.isfinite(record["loss"])


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn(finished: Path, results: dict, name: str):
    assert name in results["figures"]
    pixels = imread(finished / name)[..., :3]
    # Not blank: at least one pixel in a hundred is not white.
    assert (pixels.min(-1) < 0.9).mean() > 0.01


def test_test_accuracy_is_of_the_model_that_validation_chose(finished: Path, results: dict):
    for method in METHODS:
        path = kept.checkpoint_path(finished, method, 0)
        trainee = reopen(path)
        chosen = max(
            trainee.records[1:], key=lambda r: (r["validation_accuracy"], -r["validation_loss"])
        )
        assert (
            trainee.best["epoch"] == chosen["epoch"] == results["methods"][method]["best_epoch"][0]
        )
        trainee.model.load_state_dict(trainee.best["model"])
        test = opened(kept.read_config(finished).data).test
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        accuracy, _ = evaluate(trainee.model, test)
        torch.set_num_threads(threads)
        assert [accuracy] == results["methods"][method]["test_accuracy"]


def test_a_finished_run_only_shows_its_results(
    finished: Path,
    run_quickly: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
):
    before = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    table = tmp_path / "table.json"
    assert run_quickly(finished, "--json", str(table)) == 0
    out = capsys.readouterr().out
    assert "finished before" in out
    assert "test accuracy" in out
    assert json.loads(table.read_text()) == json.loads(before[finished / kept.RESULTS])
    assert {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("what", ["", "checkpoints/dst-0.ckpt"])
def test_audit_reads_a_run_or_a_checkpoint(
    finished: Path,
    results: dict,
    what: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
):
    table = tmp_path / "audit.json"
    assert main(["audit", str(finished / what), "--json", str(table)]) == 0
    assert "2.00 bits" in capsys.readouterr().out
    found = json.loads(table.read_text())[str(finished / "checkpoints/dst-0.ckpt")]
    (stored,) = results["methods"]["dst"]["audits"]
    counts = [[layer["counts"] for layer in one["layers"]] for one in (found, stored)]
    assert counts[0] == counts[1]
    assert found["weight_bits"] == 2.0
    assert found["float_copies"] == 0
    assert all(layer["moment_bits"] == 64 for layer in found["layers"])
    told = ["audit", str(finished / what), "--memory", "4", "--json", str(table)]
    assert main(told) == 0 and "bfloat16 AMP, Adam" in capsys.readouterr().out
    found = json.loads(table.read_text())[str(finished / "checkpoints/dst-0.ckpt")]
    ours, real, _ = found["memory"]["whole"]
    assert ours["weights"] < real["weights"] / 4 and ours["saved"] > 0


def test_another_seed_is_another_run(
    finished: Path, run_quickly: Callable[..., int], tmp_path: Path
):
    """The seed reaches levels, order and words; the split stays."""
    assert run_quickly(tmp_path / "run", "--seed", "1", "--methods", "dst") == 0
    ours, other = (
        reopen(path)
        for path in (
            kept.checkpoint_path(finished, "dst", 0),
            kept.checkpoint_path(tmp_path / "run", "dst", 1),
        )
    )
    assert ours.records[0]["levels"] != other.records[0]["levels"]
    assert ours.records[-1]["loss"] != other.records[-1]["loss"]
    labels = load().labels
    parts = [split(labels, kept.read_config(f).data) for f in (finished, tmp_path / "run")]
    assert all(torch.equal(a, b) for a, b in zip(*parts, strict=True))
