"""The agreement tests bite: every mutant of the catalogue is caught, harmless changes are not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import run
reason = run.why_not()
outcomes = [] if reason else run.run()
print(json.dumps([reason, run.table(outcomes), run.wrong(outcomes), len(outcomes)]))
"""


@pytest.mark.slow
def test_every_mutant_is_caught(capsys):
    """In a process of its own: children are forked from it, which torch's autograd dislikes."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parent)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    reason, table, wrong, count = json.loads(done.stdout)
    if reason is not None:
        pytest.skip(reason)
    with capsys.disabled():
        print("\n" + table)
    assert wrong == []
    assert count >= 3 + 16
