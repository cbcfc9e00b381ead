"""Which proofs every algorithm has passed, as a table: how many checks of each kind.

    python tests/conformance/table.py [--write]

runs them, prints the table, and with --write puts it into tests/README.md. The exit code is 1 if a
check fails, or a cell has none. A kind of processor that this machine lacks is named, not filled.
Rooms are imported where they are used: pytest comes first, since a plugin of it checks their types.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

TESTS = Path(__file__).resolve().parents[1]
README = TESTS / "README.md"
MARKS = (
    "<!-- conformance: written by tests/conformance/table.py --write -->",
    "<!-- end of conformance -->",
)


class Column(NamedTuple):
    """A kind of proof. files: below tests/. named: parts of names of tests, () for all."""

    name: str
    files: tuple[str, ...]
    named: tuple[str, ...] = ()
    level: str = ""  # of the CPU library


LEVELS = ("v1", "v3", "v4")
READ = "conformance/test_reader.py"
LAWS = ("has_the_law", "realise_the_law", "is_no_number", "noises_are_slopes")
KERNEL = ("conformance/test_kernel.py", "conformance/test_evidence.py", "conformance/test_coin.py")
COLUMNS = {
    "walker": (
        Column("contract", ("conformance/test_registry.py",)),
        Column("law", ("conformance/test_law.py",)),
        Column("reference", ("conformance/test_reference.py",)),
        *(Column(f"CPU, {level}", KERNEL, level=level) for level in LEVELS),
        Column("CUDA, emulated", ("gpu/test_agreement.py", "gpu/test_sanitised.py")),
        Column("torch", ("conformance/test_training.py", "qcuda/test_operators.py")),
    ),
    "reader": (
        Column("contract", ("conformance/test_registry.py",)),
        Column("law", (READ,), LAWS),
        Column("reference", (READ,)),
        *(
            Column(f"CPU, {level}", ("agreement/test_readings.py",), level=level)
            for level in LEVELS
        ),
        Column("torch", ("qcuda/test_reading.py", "qcuda/test_fused_reading.py")),
    ),
}
KINDS = ("claims", "mutants")  # columns that are counted, and run by commands of their own


class Counts:
    """A plugin of pytest: by stem and column, the checks that passed, failed or were skipped."""

    def __init__(self) -> None:
        self.found: Counter[tuple[str, str, str]] = Counter()
        self.cells: dict[str, list[tuple[str, str]]] = {}
        self.kinds: dict[str, Counter[str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self.cells[item.nodeid] = list(_cells(item))
        items[:] = [item for item in items if self.cells[item.nodeid]]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or (report.when == "setup" and not report.passed):
            for cell in self.cells[report.nodeid]:
                self.found[(*cell, report.outcome)] += 1

    def pytest_sessionfinish(self) -> None:
        self.kinds = {"claims": claims(), "mutants": mutants()}


def _cells(item: pytest.Item) -> Iterator[tuple[str, str]]:
    """The stems and columns of a check."""
    from qtheory.algorithms import contract

    call = getattr(item, "callspec", None)
    given = () if call is None else tuple(call.params.values())
    file, name = item.path.relative_to(TESTS).as_posix(), item.name.split("[")[0]
    for one in {found for value in given if (found := _stem_of(value)) is not None}:
        for column in COLUMNS[contract(one).family]:
            if file not in column.files or (column.level and column.level not in given):
                continue
            others = [c for c in COLUMNS[contract(one).family] if c.named and file in c.files]
            if column.named and not any(part in name for part in column.named):
                continue
            if not column.named and any(part in name for c in others for part in c.named):
                continue
            yield one, column.name


def _stem_of(value: object) -> str | None:
    from qtheory.algorithms import STEMS, contract, rows, stem

    if isinstance(value, str):
        value = value if value in STEMS else rows().get(value)
    if isinstance(value, str) or value is None:
        return value
    spec: Any = getattr(value, "spec", value)
    return stem(spec) if type(spec) in {contract(one).spec for one in STEMS} else None


def claims() -> Counter[str]:
    """By stem, the claims of its source, and others whose code or test is in a file of its name."""
    from qpapers.ledger import place
    from qpapers.reproduce import PAPERS, paper_of
    from qtheory.algorithms import STEMS, contract

    found: Counter[str] = Counter()
    for key in PAPERS:
        for claim in paper_of(key).claims:
            files = f"{place(claim.code)} {claim.test}"
            found.update(
                one
                for one in STEMS
                if key == contract(one).source or f"/{one}.py" in files or f"test_{one}.py" in files
            )
    return found


def mutants() -> Counter[str]:
    """By stem, the planted mistakes in files of that name."""
    from mutants import catalogue, packages, training

    from qtheory.algorithms import STEMS

    every = (*catalogue.MUTANTS, *packages.MUTANTS, *training.MUTANTS)
    return Counter(name for m in every if (name := Path(m.file).stem) in STEMS)


def table(counts: Counts, family: str) -> tuple[str, list[str]]:
    """In Markdown, and what is wrong with it."""
    from qtheory.algorithms import STEMS, contract

    names = [column.name for column in COLUMNS[family]]
    lines = [f"| {family} | {' | '.join((*names, *KINDS))} |", "|---" * (len(names) + 3) + "|"]
    wrong = []
    for one in STEMS:
        if contract(one).family != family:
            continue
        cells = []
        for name in names:
            passed, failed, skipped = (
                counts.found[one, name, outcome] for outcome in ("passed", "failed", "skipped")
            )
            lacking = ""
            if name.startswith("CPU") and not passed:
                lacking = "not on this processor" if skipped else _without_kernel(one)
            cells.append(lacking or str(passed))
            if failed or not (passed or lacking):
                wrong.append(f"{one}: {name}: {passed} passed, {failed} failed")
        for name in KINDS:
            cells.append(str(counts.kinds[name][one]))
            if not counts.kinds[name][one]:
                wrong.append(f"{one}: no {name}")
        lines.append(f"| `{one}` | {' | '.join(cells)} |")
    return "\n".join(lines), wrong


def _without_kernel(one: str) -> str:
    """What reads in place of a kernel, if a reader's rows have none; else nothing."""
    from qcuda.nn.fused_reading import covered
    from qtheory.algorithms import contract
    from qtheory.algorithms.reader import reading_of

    if contract(one).family != "reader":
        return ""
    every = (row.spec for row in contract(one).rows)
    return "" if any(covered(reading_of(spec)) for spec in every) else "torch's operators"


def main() -> int:
    """Run the checks, print the table; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="also into tests/README.md")
    write = parser.parse_args().write
    files = sorted({file for columns in COLUMNS.values() for c in columns for file in c.files})
    counts = Counts()
    pytest.main(
        ["-q", "--no-header", "-p", "no:cacheprovider", *(str(TESTS / f) for f in files)], [counts]
    )
    both = [table(counts, family) for family in COLUMNS]
    text, wrong = "\n\n".join(one for one, _ in both), [line for _, w in both for line in w]
    print(f"\n{text}\n")
    print("\n".join(wrong) or "every cell is filled, and every check passed")
    if write and not wrong:
        before, rest = README.read_text().split(MARKS[0])
        README.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{rest.split(MARKS[1])[1]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
