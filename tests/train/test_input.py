"""Bad input: one line that names the rule and the value, exit status 2, and nothing touched."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from qcuda.cli import main
from qcuda.cli.train import configured, parser, prepared
from qcuda.data.config import DATA
from qcuda.errors import InputError
from qcuda.models.config import MODELS
from qcuda.train.config import make, options
from qcuda.train.methods import METHODS, knobs
from qcuda.train.tree import difference, merged

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
    "--base.learning_rate.dst nan": "base.learning_rate.dst is a finite number, got nan",
    "--base.learning_rate.full inf": "base.learning_rate.full is a finite number, got inf",
    "--base.learning_rate.ste -0.1": "learning_rate.ste: a learning rate is finite and >= 0, got",
    "--base.learning_rate.dst nan --methods full": "base.learning_rate.dst is a finite number, got",
    "--base.name lion": "base.name is one of adam, momentum, sgd, got 'lion'",
    "--moments int8": "moments is one of float32, bfloat16, got 'int8'",
    "--betas 0.9": "base.betas has 2 values, got [0.9]",
    "--momentum 0.9": "base adam has the keys learning_rate, betas, epsilon, moments, got",
    "--schedules.learning_rate.final 0": "final is finite and positive, got 0",
    "--nonlinearity 0": "algorithm.dst: the nonlinearity is positive and finite in float32, got 0",
    "--algorithm.nonlinearity 0 --methods ste": "dst: the nonlinearity is positive and finite in f",
    "--schedules.nonlinearity.final 0 --methods full": "final is finite and positive, got 0",
    "--model.activation.threshold 1": "threshold is in [0, 1), got 1",
    "--methods dst adam": "a method is one of dst, stochastic_rounding, deterministic_rounding, ",
    "--methods dst dst": "methods are given once each",
    "--model.name vgg": "model.name is one of cnn, mlp, gxnor, gxnor_cifar10, vgg7",
    "--model.name mlp --channels 8": "model mlp has the keys hidden, activation, got 'channels'",
    "--schedules.learning_rate.name step": "linear, logarithmic, spread, moved, got 'step'",
    "--patience -1": "patience is at least 0, got -1",
    "--data.name cifar9": "data.name is one of digits, mnist1d, mnist, cifar, images, shards, ",
    "--data.name mnist": "data.folder holds train-images-idx3-ubyte",
    "--parts 0": "learning: parts is at least 1, got 0",
    "nowhere.yaml --epochs 2": "nowhere.yaml",
    "--test_share 0": "test_share is between 0 and 1, got 0",
    "--validation_share 0.001": "an example of every class, got shares 0.25 and 0.001",
    "--architecture mlp": "--model.name is what was --architecture",
    "--schedule=exponential": "--schedules.learning_rate.name is what was --schedule",
    "--final 0.1": "--schedules.learning_rate.final is what was --final",
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


def _words(options: str) -> list[str]:
    """A recipe comes first."""
    first, *rest = options.split()
    run = ["--run", "run"]
    return ["train", *([*run, first] if first.startswith("-") else [first, *run]), *rest]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_bad_option(
    options: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    assert OPTIONS[options] in refused(_words(options), capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("epochz: 3", "epochz"),
        ("architecture: mlp", "architecture"),
        ("run: {epochs: many}", "run.epochs is a whole number, got many"),
        ("run: 3", "run is a table of keys, got 3"),
        ("model: cnn", "model"),
        ("base: {learning_rate: {dst: .nan}}", "learning_rate.dst: a learning rate is finite"),
        ("base: {learning_rate: {full: .inf}}", "learning_rate.full: a learning rate is finite"),
        ("run: {methods: [dst, 3]}", "3"),
        ("run: {epochs: [", "config"),
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
    assert f"in {finished}, run.epochs is 4, got 9" in line
    assert {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "text", ["a: [", "3", "colour: red", "run: {epochs: many}", "data: {batch: -1}"]
)
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
    options = ["--methods", "full", "--base.learning_rate.full", "1e30"]
    assert run_quickly(tmp_path / "run", *options) == 2
    assert "lower base.learning_rate.full" in capsys.readouterr().err.splitlines()[-1]


def test_a_config_survives_as_a_tree():
    shape = {"nonlinearity": {"name": "constant"}}
    config = make({"run": {"epochs": 7, "methods": ["ste", "dst"]}, "schedules": shape})
    assert make(config.to_dict()) == config
    assert make(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config
    with pytest.raises(InputError, match=r"here: run\.epochs is of type int, got True"):
        make({"run": {"epochs": True}}, source="here")


def _knobs(methods: list[str]) -> set[str]:
    return {name for method in methods for name in knobs(METHODS[method].stem or "")}


@pytest.mark.parametrize(("knob", "method"), [("learning_rate", "full"), ("scale", "ana")])
def test_what_does_not_move_has_no_share_of_moves(knob: str, method: str):
    tree = {"run": {"methods": ["dst", method]}, "schedules": {knob: {"name": "moved"}}}
    with pytest.raises(InputError, match=rf"schedules.{knob}: moved is for .*got \['{method}'\]"):
        make(tree)


def test_every_option_is_a_value_of_some_config():
    """Its default, given in a run of every method, comes back at its own key."""
    every = {"run": {"methods": list(METHODS)}}
    owners: dict[str, dict] = {"base.momentum": {"base": {"name": "momentum"}}}
    for section, registry in (("data", DATA), ("model", MODELS)):
        for name, kind in reversed(registry.items()):  # of several, the first owns a key
            owners |= {f"{section}.{one.name}": {section: {"name": name}} for one in fields(kind)}
    named = {"slowest": "logarithmic", "rate": "spread", "least": "spread"}
    named |= {"share": "moved", "gain": "moved"}
    for leaf in options():
        section, *words, last = leaf.key.split(".")
        if section == "schedules" and last in named:
            walking = [m for m, row in METHODS.items() if row.walks]
            if named[last] == "moved" and words[0] not in {"learning_rate", *_knobs(walking)}:
                continue  # refused, below
            walks = {"run": {"methods": walking if named[last] == "moved" else list(METHODS)}}
            owners[leaf.key] = {**walks, "schedules": {words[0]: {"name": named[last]}}}
        default = list(leaf.default) if isinstance(leaf.default, tuple) else leaf.default
        tree: dict = {last: default}
        for word in reversed(words):
            tree = {word: tree}
        given = merged(merged(every, owners.get(leaf.key, {})), {section: tree})
        written = make(given).to_dict()[section]
        for word in words:
            written = written[word]
        assert written[last] == default, leaf.key


def test_quick_is_a_smaller_config_of_either_model():
    assert difference(make(quick=True).to_dict(), make().to_dict()) == (
        "model.channels is 8, got 32"
    )
    assert make({"model": {"name": "mlp"}}, quick=True).model.hidden == 32
    assert make({"run": {"seeds": 2}}, quick=True).run.seeds == 2


def test_the_first_difference_is_named_with_its_key():
    tree = make().to_dict()
    assert difference(tree, tree) is None
    assert difference(tree, merged(tree, {"data": {"batch": 7}})) == "data.batch is 50, got 7"
    assert difference({"a": {}}, {"a": {"b": 1}}) == "a.b is None, got 1"


def test_a_config_file_a_short_flag_and_a_full_one_are_the_same(tmp_path: Path):
    file = tmp_path / "c.yaml"
    short = tmp_path / "short.yaml"
    short.write_text("batch: 20\nnonlinearity: 2.0\n")
    file.write_text("data: {batch: 20}\nalgorithm: {dst: {nonlinearity: 2.0}}\n")
    lines = [
        ["--batch", "20", "--nonlinearity", "2"],
        ["--data.batch", "20", "--algorithm.nonlinearity", "2"],
        ["--data.batch=20", "--algorithm.dst.nonlinearity=2", "--run=elsewhere"],
        ["--config", str(file)],
        ["--config", str(short)],
        ["--config", str(file), "--epochs", "60"],
    ]
    configs = [configured(parser().parse_args(prepared(line))) for line in lines]
    assert all(config == configs[0] for config in configs)
    assert configs[0].data.batch == 20 and configs[0].algorithm["dst"].nonlinearity == 2


def test_the_config_of_a_run_folder_is_a_config_file(tmp_path: Path):
    methods = ["stochastic_rounding", "full"]
    config = make({"run": {"methods": methods}, "base": {"name": "sgd"}, "model": {"name": "mlp"}})
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
    assert configured(parser().parse_args(prepared(["--config", str(file)]))) == config


@pytest.mark.parametrize("command", ["", "train"])
def test_help_needs_no_torch(command: str):
    """Units are in the help; and it comes at once, because nothing heavy is imported."""
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; sys.modules.update(dict.fromkeys("
        "('sklearn', 'matplotlib', 'torch')));"
        "from qcuda.cli import main; main(sys.argv[1:])"
    )
    arguments = [sys.executable, "-c", code, *command.split(), "--help"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "usage: qtheory" in done.stdout


def test_values_of_methods_that_are_not_trained_are_left_out():
    values = {
        "algorithm": {"dst": {"nonlinearity": 2.0}, "bop": {"threshold": 0.5}},
        "base": {"learning_rate": {"bop": 0.5, "full": 0.25, "ste": 0.125}},
        "schedules": {"nonlinearity": {"name": "exponential", "final": 9.0}},
    }
    one = make({**values, "run": {"methods": ["bop"]}}).to_dict()
    assert one["algorithm"] == {"bop": {"threshold": 0.5}}
    assert one["base"]["learning_rate"] == {"bop": 0.5}
    assert list(one["schedules"]) == ["learning_rate"]
    two = make({**values, "run": {"methods": ["full", "dst"]}}).to_dict()
    assert two["algorithm"] == {"dst": {"nonlinearity": 2.0}}
    assert two["base"]["learning_rate"] == {"full": 0.25, "dst": 0.05}
    assert set(two["schedules"]) == {"learning_rate", "nonlinearity"}
