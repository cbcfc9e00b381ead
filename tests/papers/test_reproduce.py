"""`qtheory reproduce`: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qcuda import cli
from qpapers import reproduce
from qpapers.ledger import BEGIN, END, Claim, table

FIRST = Claim(
    id="half",
    statement="a half",
    where="papers/qpapers/ledger.py:Claim",
    test="tests/papers/test_reproduce.py::test_claims_are_printed_and_written",
    printed="0.5",
    expected=(0.5,),
    tolerance=0.0,
    why="exact",
    run=lambda: (0.5,),
)
SECOND = Claim(
    id="third",
    statement="a third",
    where="papers/qpapers/ledger.py:Claim",
    test="tests/papers/test_reproduce.py::test_claims_are_printed_and_written",
    printed="0.4",
    expected=(0.4,),
    tolerance=0.01,
    why="two decimals",
    run=lambda: (1 / 3,),
)


@pytest.fixture
def papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(reproduce, "claims_of", lambda paper: (FIRST, SECOND))
    monkeypatch.setattr(reproduce, "ledger_folder", lambda: tmp_path)
    for paper in reproduce.PAPERS:
        (tmp_path / "qpapers" / paper).mkdir(parents=True)
    (tmp_path / "li2017.md").write_text(f"head\n{BEGIN}\nold\n{END}\ntail\n")
    return tmp_path


def numbers(papers: Path, paper: str) -> Path:
    return papers / "qpapers" / paper / "numbers.json"


def test_claims_are_printed_and_written(papers: Path, capsys: pytest.CaptureFixture[str]):
    report = papers / "report.json"
    assert cli.main(["reproduce", "li2017", "--json", str(report)]) == 1
    text = capsys.readouterr().out
    assert "half: holds (" in text and "third: not reproduced (" in text
    assert "2 claims of li2017, 1 reproduced; not reproduced: third" in text
    kept = {"half": (0.5,), "third": (1 / 3,)}
    note = (papers / "li2017.md").read_text()
    assert note == f"head\n{BEGIN}\n{table((FIRST, SECOND), kept)}\n{END}\ntail\n"
    assert json.loads(numbers(papers, "li2017").read_text()) == {"half": [0.5], "third": [1 / 3]}
    entries = json.loads(report.read_text())
    assert [entry["verdict"] for entry in entries] == ["holds", "not reproduced"]
    assert [entry["obtained"] for entry in entries] == [[0.5], [1 / 3]]


def test_several_papers_are_one_report(papers: Path):
    (papers / "chains.md").write_text(f"{BEGIN}\n{END}\n")
    report = papers / "report.json"
    arguments = ["reproduce", "li2017", "chains", "--only", "half", "--json", str(report)]
    assert cli.main(arguments) == 0
    assert [entry["paper"] for entry in json.loads(report.read_text())] == ["li2017", "chains"]
    assert numbers(papers, "chains").read_text() == numbers(papers, "li2017").read_text()


def test_a_group_is_its_papers_each_once(papers: Path):
    for paper in ("spallanzani2019", "spallanzani2022"):
        (papers / f"{paper}.md").write_text(f"{BEGIN}\n{END}\n")
    report = papers / "report.json"
    arguments = ["reproduce", "spallanzani2022", "ana", "--only", "half", "--json", str(report)]
    assert cli.main(arguments) == 0
    found = [entry["paper"] for entry in json.loads(report.read_text())]
    assert found == ["spallanzani2022", "spallanzani2019"]


def test_groups_are_of_papers():
    assert {p for group in reproduce.GROUPS.values() for p in group} <= set(reproduce.PAPERS)
    assert not set(reproduce.GROUPS) & set(reproduce.PAPERS)


def test_one_claim_leaves_the_others_numbers(papers: Path):
    numbers(papers, "li2017").write_text('{"third": [0.25], "gone": [1.0]}')
    assert cli.main(["reproduce", "li2017", "--only", "half"]) == 0
    assert json.loads(numbers(papers, "li2017").read_text()) == {"half": [0.5], "third": [0.25]}
    assert "| 0.25 | not reproduced |" in (papers / "li2017.md").read_text()


def test_nothing_is_written_if_it_is_not_to_be(papers: Path, capsys: pytest.CaptureFixture[str]):
    before = (papers / "li2017.md").read_text()
    assert cli.main(["reproduce", "li2017", "--write", "false", "--only", "half"]) == 0
    assert (papers / "li2017.md").read_text() == before
    assert not numbers(papers, "li2017").exists()
    (papers / "li2017.md").unlink()
    assert cli.main(["reproduce", "li2017", "--only", "half"]) == 0
    assert "nothing is written" in capsys.readouterr().out
    assert list(papers.rglob("*.*")) == []


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ("nobody1900", f"a paper is one of {', '.join(reproduce.PAPERS)}, or a group of them: "),
        ("nobody1900", "ana, ste, got nobody1900"),
        ("li2017 --only nothing", "an id is one of the ledger's, got nothing"),
        ("li2017 --json /nonexistent/x.json", "--json names a file in a folder"),
    ],
)
def test_bad_input_is_one_line(arguments: str, rule: str, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["reproduce", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert rule in error and error.count("\n") == 1
