"""The torch layer on a card: every stage of `qcuda.validate.acceptance --torch` but the timings."""

from __future__ import annotations

import pytest

from qcuda.validate.device import speed, stages

CHECKS = [name for name, stage in stages.STAGES.items() if stage.__module__ != speed.__name__]


@pytest.mark.parametrize("name", CHECKS)
def test_a_stage_holds(name):
    row = stages.run_apart(name, "cuda")
    if row["result"] == "not run":
        pytest.skip(row["reason"])
    assert row["result"] == "holds", row["reason"]
