"""`qtheory reproduce`: run the claims of a paper and rewrite its ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from qcuda.files import write_atomically
from qpapers.kept import Kept, dumped, loaded
from qpapers.ledger import Claim, Paper, Values
from qpapers.tables import ledger, overview, shown, with_ledger

PAPERS = tuple(sorted(folder.parent.name for folder in Path(__file__).parent.glob("*/__init__.py")))
GROUPS = {
    "ana": ("spallanzani2019", "spallanzani2022"),
    "ste": ("straight_through", "yin2019", "shekhovtsov2021", "louizos2019"),
}


def ungrouped(names: Sequence[str]) -> tuple[str, ...]:
    """Papers in place of groups of them, each paper once, in the order they are first named.

    >>> ungrouped(["ana", "li2017", "spallanzani2022"])
    ('spallanzani2019', 'spallanzani2022', 'li2017')
    """
    papers = [paper for name in names for paper in GROUPS.get(name, (name,))]
    return tuple(dict.fromkeys(papers))


def paper_of(key: str) -> Paper:
    """A paper with its claims, chapter by chapter.

    Raises ValueError if the paper is not known, there are no claims, or two have one id.
    """
    if key not in PAPERS:
        known = f"{', '.join(PAPERS)}, or a group of them: {', '.join(GROUPS)}"
        raise ValueError(f"a paper is one of {known}, got {key}")
    paper: Paper = import_module(f"qpapers.{key}").PAPER
    ids = [claim.id for claim in paper.claims]
    if not ids:
        raise ValueError(f"a ledger needs claims, got none for {key}")
    if len(set(ids)) < len(ids):
        raise ValueError(f"a claim has an id of its own, got {sorted(ids)}")
    return paper


def ledger_folder() -> Path:
    """The folder papers/ of the checkout that `qpapers` was imported from."""
    return Path(__file__).resolve().parents[1]


def kept_of(paper: str) -> Kept:
    """The numbers kept of a paper; none if there is no file."""
    file = ledger_folder() / "qpapers" / paper / "numbers.json"
    return loaded(file.read_text()) if file.is_file() else Kept({})


def reproduce(
    papers: Sequence[str],
    *,
    only: Sequence[str] = (),
    write: bool = True,
    json_file: str | None = None,
) -> int:
    """Run claims of papers or groups of papers, print each with its verdict, rewrite the ledgers.

    only: ids of claims to run; default all. write: rewrite papers/<paper>.md, papers/README.md and
    papers/qpapers/<paper>/numbers.json; claims that were not run keep their numbers. Returns 0 if
    the numbers of every claim that was run are those to match, else 1.
    Raises ValueError if a paper or an id is not known.
    """
    chosen = [paper_of(name) for name in ungrouped(papers)]
    known = {claim.id for paper in chosen for claim in paper.claims}
    if unknown := sorted(set(only) - known):
        raise ValueError(f"an id is one of the ledger's, got {', '.join(unknown)}")
    report: list[dict[str, object]] = []
    for paper in chosen:
        report += _run(paper, only, write=write)
    if json_file is not None:
        text = json.dumps(report, indent=1, allow_nan=False) + "\n"
        write_atomically(Path(json_file), text.encode())
    return int(not all(entry["matches"] for entry in report))


def _run(paper: Paper, only: Sequence[str], *, write: bool) -> list[dict[str, object]]:
    """Run the chosen claims of one paper; returns what is to be reported of each."""
    chosen = [claim for claim in paper.claims if not only or claim.id in only]
    obtained: dict[str, Values] = {}
    seconds: dict[str, float] = {}
    for claim in chosen:
        begun = time.perf_counter()
        values = obtained[claim.id] = claim.obtain()
        seconds[claim.id] = time.perf_counter() - begun
        print(_line(claim, values, seconds[claim.id]), flush=True)
    missed = [claim.id for claim in chosen if claim.judge(obtained[claim.id]) == "not reproduced"]
    print(f"{len(chosen)} claims of {paper.key}, {len(chosen) - len(missed)} reproduced", end="")
    print(f"; not reproduced: {', '.join(missed)}" if missed else "")
    if write:
        print(_written(paper, obtained, seconds))
    return [
        {"paper": paper.key, **_entry(claim, obtained[claim.id], seconds[claim.id])}
        for claim in chosen
    ]


def _written(paper: Paper, new: dict[str, Values], seconds: dict[str, float]) -> str:
    """Rewrite notes and kept numbers, where they differ as they are shown; says what was done."""
    folder = ledger_folder()
    note, every = folder / f"{paper.key}.md", folder / "README.md"
    if not note.is_file():
        return f"nothing is written: this is no checkout with papers/{paper.key}.md"
    old = kept_of(paper.key)
    same = {
        claim.id
        for claim in paper.claims
        if claim.id in old.numbers
        and claim.id in new
        and claim.agree(new[claim.id], old.numbers[claim.id])
    }
    kept = Kept(
        {**old.numbers, **{name: values for name, values in new.items() if name not in same}},
        version("qtheory"),
        datetime.now(UTC).date().isoformat(),
        {**old.seconds, **{name: round(value, 2) for name, value in seconds.items()}},
    )
    numbers = folder / "qpapers" / paper.key / "numbers.json"
    write_atomically(numbers, dumped(paper.claims, kept).encode())
    write_atomically(note, with_ledger(note.read_text(), ledger(paper, kept.numbers)).encode())
    rows = overview(map(paper_of, PAPERS), {name: kept_of(name).numbers for name in PAPERS})
    write_atomically(every, with_ledger(every.read_text(), rows).encode())
    written = f"papers/{note.name}, papers/qpapers/{paper.key}/{numbers.name}, papers/{every.name}"
    return f"rewritten: {written}"


def _line(claim: Claim, values: Values, seconds: float) -> str:
    numbers = ", ".join(shown(value, claim.decimals) for value in values)
    lines = (
        f"{claim.id}: {claim.says(values)} ({seconds:.1f} s)",
        f"    {claim.statement}",
        f"    to match {claim.printed}",
        f"    obtained {numbers}",
    )
    return "\n".join(lines)


def _entry(claim: Claim, values: Values, seconds: float) -> dict[str, object]:
    return {
        "id": claim.id,
        "statement": claim.statement,
        "where": claim.where,
        "test": claim.test,
        "printed": claim.printed,
        "number": claim.number,
        "guard": claim.guard,
        "relation": claim.relation,
        "expected": list(claim.expected),
        "tolerance": claim.tolerance,
        "why": claim.why,
        "obtained": list(values),
        "verdict": claim.judge(values),
        "matches": claim.matches(values),
        "seconds": seconds,
    }
