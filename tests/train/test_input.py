"""Bad input: one line that names the rule and the value, exit status 2, and nothing touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qcuda.cli import main
from qcuda.errors import InputError
from qcuda.train.config import TrainConfig, from_dict

OPTIONS = {
    "--epochs 0": "epochs is at least 1, got 0",
    "--epochs many": "epochs is a whole number, got many",
    "--seeds 2.5": "seeds is a whole number, got 2.5",
    "--seed -1": "seed is at least 0, got -1",
    f"--seed {2**64 - 1}": f"a seed is at most {2**64 - 1}, got {2**64 + 1}",
    "--batch 1": "batch is at least 2, got 1",
    "--batch 9999": "got 9999",
    "--examples 3": "got 3",
    "--shift 5": "shift is at most 4 pixels, half an image, got 5",
    "--dst_learning_rate nan": "dst_learning_rate is a finite number, got nan",
    "--full_learning_rate inf": "full_learning_rate is a finite number, got inf",
    "--ste_learning_rate -0.1": "ste_learning_rate is finite and at least 0, got -0.1",
    "--final 0": "final is finite and positive, got 0",
    "--final 2": "final is at most 1, got 2",
    "--nonlinearity 0": "nonlinearity is finite and positive, got 0",
    "--threshold 1": "threshold is in [0, 1), got 1",
    "--methods dst adam": "a method is one of dst, full, ste, got ['adam']",
    "--methods dst dst": "methods are given once each",
    "--architecture vgg": "architecture is one of cnn, mlp, got 'vgg'",
    "--schedule step": "schedule is one of cosine, exponential, got 'step'",
    "--test_share 0": "test_share is between 0 and 1, got 0",
    "--validation_share 0.001": "an example of every class, got shares 0.25 and 0.001",
    "--colour red": "--colour red",
    "--epoch 3": "--epoch 3",
    "--resume": "a run folder has a config.yaml",
    "--resume --quick": "got --quick and --resume",
    "--json nowhere/table.json": "got nowhere/table.json",
    "--config nowhere.yaml": "nowhere.yaml",
}  # fmt: skip


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line


@pytest.mark.parametrize("options", OPTIONS)
def test_a_bad_option(
    options: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    assert OPTIONS[options] in refused(["train", "--run", "run", *options.split()], capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("epochz: 3", "epochz"),
        ("epochs: many", "epochs is a whole number, got many"),
        ("dst_learning_rate: .nan", "dst_learning_rate is finite and at least 0, got nan"),
        ("full_learning_rate: .inf", "full_learning_rate is finite and at least 0, got inf"),
        ("methods: [dst, 3]", "3"),
        ("epochs: [", "config"),
    ],
)
def test_a_bad_config_file(
    text: str, rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "c.yaml").write_text(text)
    run = tmp_path / "run"
    line = refused(["train", "--run", str(run), "--config", str(tmp_path / "c.yaml")], capsys)
    assert rule in line
    assert not run.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "fly",
        "audit",
        "audit nowhere",
        "bench update --weights 0",
        "bench update --threads 0",
        "validate --device tpu",
    ],
)
def test_a_bad_command(arguments: str, capsys: pytest.CaptureFixture[str]):
    assert refused(arguments.split(), capsys).startswith("qtheory")


def test_a_run_of_another_config_is_refused(finished: Path, capsys: pytest.CaptureFixture[str]):
    before = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    line = refused(["train", "--run", str(finished), "--resume", "--epochs", "9"], capsys)
    assert f"in {finished}, epochs is 4, got 9" in line
    assert {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("text", ["a: [", "3", "colour: red", "epochs: many", "batch: -1"])
def test_an_altered_config_is_named(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "config.yaml").write_text(text)
    for extra in ([], ["--resume"]):
        line = refused(["train", "--run", str(tmp_path), *extra], capsys)
        assert str(tmp_path / "config.yaml") in line
    assert [p.name for p in tmp_path.iterdir()] == ["config.yaml"]


def test_a_folder_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "thesis.tex").write_text("x")
    assert "with thesis.tex" in refused(["train", "--run", str(tmp_path)], capsys)
    assert "got the file" in refused(["train", "--run", str(tmp_path / "thesis.tex")], capsys)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_loss_that_is_not_finite_is_said(
    run_quickly, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A learning rate may be finite and still absurd."""
    options = ["--methods", "full", "--full_learning_rate", "1e30"]
    assert run_quickly(tmp_path / "run", *options) == 2
    assert "lower full_learning_rate" in capsys.readouterr().err.splitlines()[-1]


def test_a_config_survives_as_a_dict():
    config = TrainConfig(epochs=7, methods=["ste"])
    assert from_dict(config.to_dict(), "here") == config
    with pytest.raises(InputError, match="here: epochs is of type int, got True"):
        from_dict({"epochs": True}, "here")


@pytest.mark.parametrize("command", ["", "train"])
def test_help_needs_no_torch(command: str):
    """Units are in the help; and it comes at once, because nothing heavy is imported."""
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; sys.modules.update(dict.fromkeys("
        "('sklearn', 'matplotlib')));"
        "from qcuda.cli import main; main(sys.argv[1:])"
    )
    arguments = [sys.executable, "-c", code, *command.split(), "--help"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "usage: qtheory" in done.stdout
