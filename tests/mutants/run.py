"""Try every mutant, and see which rung of which ladder catches it, and how fast.

Prints the table; the exit code is 1 if one survives. The unmutated sources and the equivalent
rewritings must pass every check.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import which

sys.path.extend(
    str(Path(__file__).resolve().parents[2] / room) for room in (".", "reference", "cuda", "tests")
)

import cpu_room
from mutants import battery, builds, catalogue, kernel_checks, packages, training
from mutants.catalogue import Mutant
from mutants.forks import Outcome, Verdict, caught_by, judge, try_out

TESTS = Path(__file__).resolve().parents[1]
README = TESTS / "README.md"
MARKS = ("<!-- mutants: written by tests/mutants/run.py --write -->", "<!-- end of mutants -->")
SECONDS = 30  # a kernel whose checks take longer hangs
UNCHANGED = "(kernels unchanged)"


def judge_kernel(library: Path, statistics: bool, only: set[str] | None) -> Verdict:
    """No self-test on load: `Room` opens the file as it is."""
    os.environ["QTHEORY_LIB"] = str(library.parent)
    room = cpu_room.Room(library)
    ladders = ((name, checks(room)) for name, checks in kernel_checks.LADDERS.items())
    return judge(ladders, (lambda: battery.failing(room)) if statistics else None, only)


def run_kernels(statistics: bool, whole: bool) -> list[Outcome]:
    """Builds in order: unchanged, equivalent, mutants.

    whole: try all mutants and equivalents, not a sample of mutants, and ask all checks of what is
    unchanged, not only those that caught a mutant.
    Raises ValueError if a mutant's text is no longer in the sources, or one does not compile.
    """
    same = [Mutant(UNCHANGED, "", "", ""), *(catalogue.EQUIVALENT if whole else ())]
    mutants = catalogue.MUTANTS if whole else catalogue.few(catalogue.MUTANTS)
    if stale := builds.out_of_date([*same, *mutants]):
        raise ValueError("the catalogue follows the sources:\n" + "\n".join(stale))
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        folders = [Path(name) / str(k) for k in range(len(same) + len(mutants))]
        builds.precompile(Path(name))
        libraries = list(pool.map(builds.build, [*same, *mutants], folders))
        kernel_checks.warm_up(cpu_room.Room(libraries[0]))

        def one(mutant: Mutant, library: Path, only: set[str] | None) -> Outcome:
            room = "all" if mutant.name == UNCHANGED else "kernels"
            action = lambda: judge_kernel(library, statistics, only)  # noqa: E731
            return try_out(mutant.name, room, action, SECONDS)

        tried = [one(*pair, None) for pair in zip(mutants, libraries[len(same) :], strict=True)]
        only = None if whole else caught_by(tried)
        return [*(one(*pair, only) for pair in zip(same, libraries, strict=False)), *tried]


def run_packages(statistics: bool, whole: bool) -> list[Outcome]:
    """The mutants of the packages, in a process that has imported none of them."""
    return _packages(whole, ["--statistics"] if statistics else [])


def run_training(statistics: bool, whole: bool) -> list[Outcome]:
    """The mutants of the training job, which moves' statistics alone do not judge."""
    return _packages(whole, ["--training"])


def _packages(whole: bool, options: list[str]) -> list[Outcome]:
    sample = [] if whole else ["--sample"]
    command = [sys.executable, "-m", "mutants.package_checks", *options, *sample]
    timeout = 3600 if whole else 600
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise ValueError(f"package_checks.py fails:\n{done.stderr}")
    return [Outcome(*row) for row in json.loads(done.stdout.splitlines()[-1])]


def run(statistics: bool = False) -> list[Outcome]:
    """All of them."""
    parts = (run_kernels, run_packages, run_training)
    return [outcome for part in parts for outcome in part(statistics, True)]


def harmless() -> set[str]:
    """What must pass."""
    same = (*catalogue.EQUIVALENT, *packages.EQUIVALENT, *training.EQUIVALENT)
    unchanged = {UNCHANGED, "(packages unchanged)", "(training unchanged)"}
    return {mutant.name for mutant in same} | unchanged


def wrong(outcomes: list[Outcome]) -> list[Outcome]:
    """Mutants that survived, and harmless builds that were caught."""
    return [o for o in outcomes if ((o.caught or o.statistics) is None) != (o.name in harmless())]


def table(outcomes: list[Outcome]) -> str:
    """In Markdown. No check, no seconds: nothing may catch what is harmless."""
    rows = [
        "| mutant | room | caught by | seconds | by statistics alone |",
        "|---|---|---|---|---|",
    ]
    for o in outcomes:
        reason = "" if o.reason in ("", "AssertionError") else f" ({o.reason})"
        caught = (
            f"{o.caught}{reason}"
            if o.caught
            else "nothing, as it must"
            if o.name in harmless()
            else "NOTHING"
        )
        seconds = f"{o.seconds:.2f}" if o.caught else ""
        alone = (o.statistics or "-").replace("_", " ")
        rows.append(f"| {o.name} | {o.room} | {caught} | {seconds} | {alone} |")
    return "\n".join(rows)


def summary(outcomes: list[Outcome]) -> str:
    """One sentence of counts."""
    mutants = [o for o in outcomes if o.name not in harmless()]
    by = {
        k: sum(str(o.caught).startswith(k) for o in mutants)
        for k in ("exact", "law", "agreement", "training")
    }
    crashed = sum(o.caught == "the process" for o in mutants)
    alone = sum(o.statistics is not None for o in mutants)
    slowest = max((o.seconds for o in mutants), default=0.0)
    return (
        f"{len(mutants)} mutants, {sum(o.caught is not None for o in mutants)} caught: "
        f"{by['exact']} by exact checks, {by['law']} by law = reference, {by['agreement']} by "
        f"agreement, {by['training']} by checks of training, {crashed} by crashing or hanging; "
        f"statistics alone would see {alone}. The slowest to be caught took {slowest:.1f} s."
    )


def names_in(readme: str) -> list[str]:
    """The first column of the table between the marks."""
    inside = readme.split(MARKS[0])[1].split(MARKS[1])[0]
    return re.findall(r"^\| ([^|]+?) \|", inside, re.MULTILINE)[1:]


def expected_names() -> list[str]:
    """What a table of the present catalogue lists, in order."""
    kernels = [UNCHANGED, *(m.name for m in (*catalogue.EQUIVALENT, *catalogue.MUTANTS))]
    rest = ["(packages unchanged)", *(m.name for m in (*packages.EQUIVALENT, *packages.MUTANTS))]
    job = ["(training unchanged)", *(m.name for m in (*training.EQUIVALENT, *training.MUTANTS))]
    return [*kernels, *rest, *job]


def write(outcomes: list[Outcome]) -> None:
    text = README.read_text()
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    middle = f"\n{summary(outcomes)}\n\n{table(outcomes)}\n\n"
    README.write_text(before + MARKS[0] + "\n" + middle + MARKS[1] + after)


def why_not() -> str | None:
    """Why mutants can not be tried on this machine, or None."""
    if (reason := cpu_room.missing("v3")) is not None:
        return reason
    compiler = os.environ.get("CXX", "g++")
    return None if which(compiler) else f"there is no C++ compiler {compiler}"


def main() -> int:
    """Read the command line, try all of them, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="put the table into tests/README.md")
    options = parser.parse_args()
    if (reason := why_not()) is not None:
        sys.exit(reason)
    results = run(statistics=True)
    print(table(results), summary(results), sep="\n\n")
    if options.write and not wrong(results):
        write(results)
    return 1 if wrong(results) else 0


if __name__ == "__main__":
    sys.exit(main())
