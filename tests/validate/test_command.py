"""`qtheory validate`: what it prints, writes and refuses."""

from __future__ import annotations

import json

import pytest
import torch

from qcuda import cli
from qcuda.validate import run, statistics

SMALL = statistics.Plan(5e-2, 2**16, False, 2**14, 1, 2**12)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, kernel):
    monkeypatch.setattr(statistics, "DEFAULT", SMALL)
    monkeypatch.setattr(run.reference_law, "QUOTIENTS", [0.25])
    monkeypatch.setattr(run.tomography, "COUNT", 1000)


def test_the_report(small, tmp_path, capsys):
    file = tmp_path / "report.json"
    arguments = ["validate", "--draws", "4000", "--seed", "3", "--json", str(file)]
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    report = json.loads(file.read_text())
    assert report["holds"] and report["seed"] == 3 and report["spent"] <= 1.0000001e-6
    assert report["did_not_run"] == []
    for claim in report["claims"]:
        assert claim["name"] in text and claim["holds"]
        assert (claim["share"] == 0) == (claim["kind"] == "exact")
    if not torch.cuda.is_available():
        assert text.endswith(run.NO_GPU + "\n")
        assert report["gpu"] is False


def test_stems_are_picked(small, capsys):
    assert cli.main(["validate", "--stem", "deterministic_rounding", "--draws", "100"]) == 0
    assert "dst" not in capsys.readouterr().out


def test_the_same_seed_is_the_same_run(small, capsys):
    tables = []
    for _ in range(2):
        arguments = [
            "validate",
            "--stem",
            "dst",
            "--device",
            "cpu",
            "--draws",
            "100",
            "--seed",
            "5",
        ]
        assert cli.main(arguments) == 0
        tables.append(capsys.readouterr().out.splitlines()[:-1])
    assert tables[0] == tables[1]


def test_a_failing_op_is_status_one(small, capsys):
    assert cli.main(["validate", "--op", "qcuda.validate.examples:uniform_of_16_bits"]) == 1
    assert "multiples of 2**-16" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ("--device tpu", "a device is"),
        ("--draws 0", "draws is at least 1"),
        ("--stem gone", "a stem is one of"),
        ("--op nothing", "module:function"),
        ("--op qcuda.validate.examples:floor_of_sum --claims deterministic_rounding", "random"),
        ("--calibrate 0", "at least one"),
        ("--seed -1", "a seed is"),
    ],
)
def test_bad_input_is_one_line(arguments, rule, capsys):
    assert cli.main(["validate", *arguments.split()]) == 2
    assert rule in capsys.readouterr().err
