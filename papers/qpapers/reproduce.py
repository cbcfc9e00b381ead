"""`qtheory reproduce`: run the claims of a paper and rewrite its ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from qcuda.files import write_atomically
from qpapers.ledger import (
    Claim,
    Kept,
    Values,
    dumped,
    loaded,
    shown,
    table,
    with_table,
)

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


def claims_of(paper: str) -> tuple[Claim, ...]:
    """The claims of a paper, chapter by chapter.

    Raises ValueError if the paper is not known, there are no claims, or two have one id.
    """
    if paper not in PAPERS:
        known = f"{', '.join(PAPERS)}, or a group of them: {', '.join(GROUPS)}"
        raise ValueError(f"a paper is one of {known}, got {paper}")
    claims = import_module(f"qpapers.{paper}").PAPER.claims
    ids = [claim.id for claim in claims]
    if not ids:
        raise ValueError(f"a ledger needs claims, got none for {paper}")
    if len(set(ids)) < len(ids):
        raise ValueError(f"a claim has an id of its own, got {sorted(ids)}")
    return claims


def ledger_folder() -> Path | None:
    """The folder papers/ of the checkout that `qtheory` was imported from, if it is one."""
    folder = Path(__file__).resolve().parents[1]
    return folder if folder.is_dir() else None


def reproduce(
    papers: Sequence[str],
    *,
    only: Sequence[str] = (),
    write: bool = True,
    json_file: str | None = None,
) -> int:
    """Run claims of papers or groups of papers, print each with its verdict, rewrite the ledgers.

    only: ids of claims to run; default all. write: rewrite papers/<paper>.md and
    papers/qpapers/<paper>/numbers.json; claims that were not run keep their numbers. Returns 0 if
    the numbers of every claim that was run are those to match, else 1.
    Raises ValueError if a paper or an id is not known.
    """
    ledgers = {paper: claims_of(paper) for paper in ungrouped(papers)}
    known = {claim.id for claims in ledgers.values() for claim in claims}
    if unknown := sorted(set(only) - known):
        raise ValueError(f"an id is one of the ledger's, got {', '.join(unknown)}")
    report: list[dict[str, object]] = []
    for paper, claims in ledgers.items():
        report += _ledger(paper, claims, only, write=write)
    if json_file is not None:
        text = json.dumps(report, indent=1, allow_nan=False) + "\n"
        write_atomically(Path(json_file), text.encode())
    return int(not all(entry["matches"] for entry in report))


def _ledger(
    paper: str, claims: Sequence[Claim], only: Sequence[str], *, write: bool
) -> list[dict[str, object]]:
    """Run the chosen claims of one paper; returns what is to be reported of each."""
    chosen = [claim for claim in claims if not only or claim.id in only]
    kept: dict[str, Values] = {}
    report: list[dict[str, object]] = []
    for claim in chosen:
        begun = time.perf_counter()
        values = kept[claim.id] = claim.obtain()
        seconds = time.perf_counter() - begun
        report.append({"paper": paper, **_entry(claim, values, seconds)})
        print(_line(claim, values, seconds), flush=True)
    missed = [claim.id for claim in chosen if claim.judge(kept[claim.id]) == "not reproduced"]
    print(f"{len(chosen)} claims of {paper}, {len(chosen) - len(missed)} reproduced", end="")
    print(f"; not reproduced: {', '.join(missed)}" if missed else "")
    if write:
        print(_written(paper, claims, kept))
    return report


def _written(paper: str, claims: Sequence[Claim], new: Kept) -> str:
    """Rewrite note and kept numbers, where they differ as they are shown; says what was done."""
    folder = ledger_folder()
    if folder is None or not (folder / f"{paper}.md").is_file():
        return f"nothing is written: this is no checkout with papers/{paper}.md"
    note, numbers = folder / f"{paper}.md", folder / "qpapers" / paper / "numbers.json"
    old = loaded(numbers.read_text()) if numbers.is_file() else {}
    same = {c.id for c in claims if c.id in old and c.id in new and c.agree(new[c.id], old[c.id])}
    kept = {**old, **{name: values for name, values in new.items() if name not in same}}
    write_atomically(note, with_table(note.read_text(), table(claims, kept)).encode())
    write_atomically(numbers, dumped(claims, kept).encode())
    return f"rewritten: papers/{note.name} and papers/qpapers/{paper}/{numbers.name}"


def _line(claim: Claim, values: Values, seconds: float) -> str:
    numbers = ", ".join(shown(value, claim.decimals) for value in values)
    lines = (
        f"{claim.id}: {claim.judge(values)} ({seconds:.1f} s)",
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
        "relation": claim.relation,
        "expected": list(claim.expected),
        "tolerance": claim.tolerance,
        "why": claim.why,
        "obtained": list(values),
        "verdict": claim.judge(values),
        "matches": claim.matches(values),
        "seconds": seconds,
    }
