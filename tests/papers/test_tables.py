"""What a person reads: four columns, details below, counts of all papers, numbers kept."""

from __future__ import annotations

import json

import pytest
from claim_cases import paper_of, third

from qpapers.kept import Kept, dumped, loaded
from qpapers.tables import BEGIN, END, details, ledger, overview, table, with_ledger

BOUND = third(id="bound", relation="<=", guard=True, number="ours", printed_of="1/3")


def test_a_table_has_four_columns():
    assert table((third(), BOUND), {"third": (1 / 3,)}).splitlines() == [
        "| id | claim, in our notation | obtained | verdict |",
        "|---|---|---|---|",
        "| third | a third | 0.3333 | holds, noted |",
        "| bound | a third | not run | not run |",
    ]


def test_details_stand_below():
    text = details((third(), BOUND))
    code = "`papers/qpapers/ledger.py:Claim`, `tests/papers/test_ledger.py::"
    assert "- **third** to match: 0.333\n  - within: 0.333 ± 0.001, because three" in text
    assert "- **bound** to match: 0.333 (from 1/3)\n  - within: <= 0.333 ± 0.001, because" in text
    assert text.count(code) == 2
    whole = ledger(paper_of(third(), BOUND), {})
    assert whole.startswith("### `numbers`: Numbers to try\n\n| id |")
    assert whole.endswith(text)


def test_all_papers_are_counted():
    one = paper_of(third(), BOUND, third(id="other", expected=(0.5,)), third(id="later"))
    kept = {"third": (1 / 3,), "bound": (0.0,), "other": (0.1,)}
    rows = overview([one], {"li2017": kept}).splitlines()
    assert rows[2] == "| [li2017](li2017.md) | 4 | 2 | 0 | 1 | 1 | 0 | 3 | 1 | 1 |"
    assert rows[3] == "| all | 4 | 2 | 0 | 1 | 1 | 0 | 3 | 1 | 1 |"


def test_numbers_are_kept_with_version_date_and_seconds():
    kept = Kept(
        {"third": (1 / 3,), "gone": (1.0,)}, "0.1.0", "2026-11-30", {"third": 0.5, "gone": 2.0}
    )
    text = dumped((third(), BOUND), kept)
    about = {"version": "0.1.0", "date": "2026-11-30", "seconds": {"third": 0.5}}
    assert json.loads(text) == {"about": about, "third": [1 / 3]}
    assert loaded(text) == Kept({"third": (1 / 3,)}, "0.1.0", "2026-11-30", {"third": 0.5})
    assert loaded('{"third": [0.5]}') == Kept({"third": (0.5,)})


def test_markers_stand_once_and_in_order():
    for text in ("", f"{BEGIN}\n{BEGIN}\n{END}", f"{END}\n{BEGIN}"):
        with pytest.raises(ValueError, match="a note has one"):
            with_ledger(text, "new")
    assert with_ledger(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\nnew\n{END}\nb"
