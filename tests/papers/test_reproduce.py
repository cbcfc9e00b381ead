"""`qtheory reproduce`: what it prints, writes and refuses."""

from __future__ import annotations

import importlib.util
import json
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest
from claim_cases import paper_of, third

from qcuda import cli
from qpapers import reproduce
from qpapers.kept import ABOUT, loaded
from qpapers.tables import BEGIN, END, ledger, overview

FIRST = third(id="half", printed="0.5", expected=(0.5,), tolerance=0.0, run=lambda: (0.5,))
SECOND = third(printed="0.4", expected=(0.4,), tolerance=0.01)
PAPER = paper_of(FIRST, SECOND)


@pytest.fixture
def papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(reproduce, "paper_of", lambda key: paper_of(FIRST, SECOND, key=key))
    monkeypatch.setattr(reproduce, "ledger_folder", lambda: tmp_path)
    for paper in reproduce.PAPERS:
        (tmp_path / "qpapers" / paper).mkdir(parents=True)
    (tmp_path / "README.md").write_text(f"all\n{BEGIN}\n{END}\n")
    (tmp_path / "li2017.md").write_text(f"head\n{BEGIN}\nold\n{END}\ntail\n")
    return tmp_path


def numbers(papers: Path, paper: str) -> Path:
    return papers / "qpapers" / paper / "numbers.json"


def every(kept: dict[str, tuple[float, ...]]) -> dict[str, dict[str, tuple[float, ...]]]:
    """Numbers of all papers: those of li2017, none of the others."""
    return {key: kept if key == "li2017" else {} for key in reproduce.PAPERS}


def test_claims_are_printed_and_written(papers: Path, capsys: pytest.CaptureFixture[str]):
    report = papers / "report.json"
    assert cli.main(["reproduce", "li2017", "--json", str(report)]) == 1
    text = capsys.readouterr().out
    assert "half: holds, noted (" in text and "third: not reproduced, noted (" in text
    assert "2 claims of li2017, 1 reproduced; not reproduced: third" in text
    kept = {"half": (0.5,), "third": (1 / 3,)}
    note = (papers / "li2017.md").read_text()
    assert note == f"head\n{BEGIN}\n{ledger(PAPER, kept)}\n{END}\ntail\n"
    written = loaded(numbers(papers, "li2017").read_text())
    assert written.numbers == kept and set(written.seconds) == set(kept)
    assert written.version == version("qtheory")
    assert abs(date.fromisoformat(written.date) - date.today()) <= timedelta(days=1)
    rows = overview([paper_of(FIRST, SECOND, key=key) for key in reproduce.PAPERS], every(kept))
    assert (papers / "README.md").read_text() == f"all\n{BEGIN}\n{rows}\n{END}\n"
    entries = json.loads(report.read_text())
    assert [entry["verdict"] for entry in entries] == ["holds", "not reproduced"]
    assert [entry["obtained"] for entry in entries] == [[0.5], [1 / 3]]


def test_several_papers_are_one_report(papers: Path):
    (papers / "chains.md").write_text(f"{BEGIN}\n{END}\n")
    report = papers / "report.json"
    arguments = ["reproduce", "li2017", "chains", "--only", "half", "--json", str(report)]
    assert cli.main(arguments) == 0
    assert [entry["paper"] for entry in json.loads(report.read_text())] == ["li2017", "chains"]
    one, other = (json.loads(numbers(papers, key).read_text()) for key in ("chains", "li2017"))
    assert one.pop(ABOUT) and other.pop(ABOUT) and one == other == {"half": [0.5]}


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
    written = loaded(numbers(papers, "li2017").read_text())
    assert written.numbers == {"half": (0.5,), "third": (0.25,)} and set(written.seconds) == {
        "half"
    }
    assert "| 0.25 | not reproduced, noted |" in (papers / "li2017.md").read_text()


def test_nothing_is_written_if_it_is_not_to_be(papers: Path, capsys: pytest.CaptureFixture[str]):
    before = (papers / "li2017.md").read_text()
    assert cli.main(["reproduce", "li2017", "--write", "false", "--only", "half"]) == 0
    assert (papers / "li2017.md").read_text() == before
    assert not numbers(papers, "li2017").exists()
    (papers / "li2017.md").unlink()
    assert cli.main(["reproduce", "li2017", "--only", "half"]) == 0
    assert "nothing is written" in capsys.readouterr().out
    assert [path.name for path in papers.rglob("*.*")] == ["README.md"]


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


def test_an_installation_without_papers_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, package=None: None if name == "qpapers" else found(name, package),
    )
    assert cli.main(["reproduce", "li2017"]) == 2
    error = capsys.readouterr().err
    assert "a checkout is needed, whose papers/ are run" in error and error.count("\n") == 1
