"""The checks bite: mutants are caught, harmless changes are not.

One mutant of each of twelve files is tried, all under the profile `deep` and by `make mutants`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mutants import builds, catalogue, packages, training
from samples import deep

HERE = Path(__file__).parent
SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from mutants import run
reason = run.why_not()
outcomes = [] if reason else getattr(run, sys.argv[2])(False, sys.argv[3] == "whole")
print(json.dumps([reason, run.table(outcomes), run.wrong(outcomes), len(outcomes)]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "module", "least"),
    [
        ("run_kernels", catalogue, 70),
        ("run_packages", packages, 66),
        ("run_training", training, 68),
    ],
)
def test_mutants_are_caught(part, module, least, capsys):
    """In a process of its own: children are forked from it, which torch's autograd dislikes."""
    mutants = module.MUTANTS if deep() else catalogue.few(module.MUTANTS)
    same = len(module.EQUIVALENT) if deep() else 0
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(HERE.parent), part, "whole" if deep() else "sample"],
        capture_output=True, text=True, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    reason, table, wrong, count = json.loads(done.stdout)
    if reason is not None:
        pytest.skip(reason)
    with capsys.disabled():
        print("\n" + table)
    assert wrong == []
    assert count == 1 + same + len(mutants)
    assert len(mutants) >= (least if deep() else 12)


def test_the_catalogues_follow_the_sources():
    assert builds.out_of_date([*catalogue.MUTANTS, *catalogue.EQUIVALENT]) == []
    assert builds.out_of_date([*packages.MUTANTS, *packages.EQUIVALENT], builds.ROOT) == []
    assert builds.out_of_date([*training.MUTANTS, *training.EQUIVALENT], builds.ROOT) == []


def test_the_readme_lists_the_catalogues():
    """`python tests/mutants/run.py --write` brings it up to date."""
    from mutants import run

    assert run.names_in(run.README.read_text()) == run.expected_names()
    assert len(set(run.expected_names())) == len(run.expected_names())
    assert "NOTHING" not in run.README.read_text()
