"""A study: chosen on the validation set, tested once, stopped and gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qcuda.cli import main
from qcuda.errors import InputError
from qcuda.study import job, report, training
from qcuda.study.config import Study
from qcuda.study.rules import RULES

STUDY = Study(rules=("walker8", "float"), configurations=3, seeds=2, steps=10, hidden=8)


def without_times(results: dict[str, Any]) -> dict[str, Any]:
    return {name: {**one, "seconds": None} for name, one in results["rules"].items()}


@pytest.fixture
def whole(tmp_path: Path, on_small) -> dict[str, Any]:
    return job.run(STUDY, tmp_path / "whole")


def test_the_best_on_validation_is_trained_from_every_seed(whole, tmp_path: Path, on_small):
    lines = [json.loads(x) for x in (tmp_path / "whole" / job.RUNS).read_text().splitlines()]
    assert len(lines) == 2 * (3 + 2)
    for rule in STUDY.rules:
        own = [line for line in lines if line["rule"] == rule]
        tried, tested = own[:3], own[3:]
        assert [line["seed"] for line in own] == [1000] * 3 + [0, 1]
        assert not any("test" in line for line in tried)
        best = max(tried, key=lambda line: line["validation"])
        assert {line["place"] for line in tested} == {best["place"]}
        found = whole["rules"][rule]
        assert found["test"] == [line["test"] for line in tested]
        values = job.values_of(STUDY, rule, best["place"])
        assert found["best"] == values
        again = training.train(RULES[rule], values, 1, on_small, steps=10, hidden=8, tested=True)
        assert again["test"] == found["test"][1]


@pytest.mark.parametrize("stop", [0, 2, 3, 9])
def test_a_study_that_was_stopped_goes_on(stop: int, whole, tmp_path: Path, monkeypatch):
    broken = tmp_path / "broken"
    count, train = [0], training.train

    def counted(*arguments, **options):
        count[0] += 1
        if count[0] > stop:
            raise KeyboardInterrupt
        return train(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(training, "train", counted)
        with pytest.raises(KeyboardInterrupt):
            job.run(STUDY, broken)
    with open(broken / job.RUNS, "ab") as file:
        file.write(b'{"rule": "wal')  # what a crash in the middle of a line leaves
    count[0] = -100
    with monkeypatch.context() as patch:
        patch.setattr(training, "train", counted)
        assert without_times(job.run(STUDY, broken)) == without_times(whole)
    assert count[0] == -100 + 10 - stop
    assert without_times(job.run(STUDY, broken)) == without_times(whole)  # from its lines alone


def test_results_do_not_depend_on_processes(whole, tmp_path: Path):
    assert without_times(job.run(STUDY, tmp_path / "two", workers=2)) == without_times(whole)


def test_other_rules_and_seeds_may_join_but_no_other_numbers(whole, tmp_path: Path):
    more = Study(rules=("dst",), configurations=3, seeds=2, steps=10, hidden=8)
    assert list(job.run(more, tmp_path / "whole")["rules"]) == ["dst"]
    seeds = Study(rules=("float",), configurations=3, seeds=3, steps=10, hidden=8)
    found = job.run(seeds, tmp_path / "whole")["rules"]["float"]
    assert found["test"][:2] == whole["rules"]["float"]["test"] and len(found["test"]) == 3
    other = Study(rules=("dst",), configurations=3, seeds=2, steps=11, hidden=8)
    with pytest.raises(InputError, match="steps is 10, got 11"):
        job.run(other, tmp_path / "whole")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "x").touch()
    with pytest.raises(InputError, match=r"new, empty, or of a study, got .* with \['x'\]"):
        job.run(STUDY, tmp_path / "notes")


def test_the_table_and_the_figure_say_it(whole, tmp_path: Path):
    report.write(whole, tmp_path)
    table = (tmp_path / report.TABLE).read_text()
    for name, one in whole["rules"].items():
        (row,) = (line for line in table.splitlines() if f"`{name}`" in line)
        assert f"| {one['bits']} | {100 * one['test_mean']:.2f} ± " in row
    assert whole["rules"]["float"]["moves"] is None and "| - | - |" in row
    assert (tmp_path / report.FIGURE).stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ("--rules adam", "a rule is one of float, ste, walker8"),
        ("--rules ste ste", "rules are given once each"),
        ("--steps 0", "steps is at least 1, got 0"),
        ("--seeds 0", "seeds is at least 1, got 0"),
        ("--tuning_seed 3", "tuning has a seed of its own, got 3"),
        ("--workers 0", "workers is at least 1, got 0"),
        ("--json nowhere/x.json", "got nowhere/x.json"),
    ],
)
def test_bad_input(options: str, rule: str, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["study", "rules", *options.split()]) == 2
    assert rule in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_command_writes_all_of_it(on_small, tmp_path: Path, capsys):
    run, table = tmp_path / "run", tmp_path / "table.json"
    options = ["--quick", "--steps", "5", "--rules", "walker4", "--hidden", "8"]
    assert main(["study", "rules", "--run", str(run), "--json", str(table), *options]) == 0
    assert "`walker4` | 4 |" in capsys.readouterr().out
    assert json.loads(table.read_text()) == json.loads((run / job.RESULTS).read_text())
    names = {job.CONFIG, job.RUNS, job.RESULTS, report.TABLE, report.FIGURE}
    assert {path.name for path in run.iterdir()} == names
