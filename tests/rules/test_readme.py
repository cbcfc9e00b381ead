"""The Python of the README runs as it stands, each block alone, and the files it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PRINTED = {  # what each block prints, among other things
    "algorithms.dst import law": "",
    "Normalized(0.1)": "8.00 bits in all",
    "qcuda.words(seed=0": "no floating-point copy of a lattice weight in the memory of",
    "joint_chain": "",
    "judge(": "converges fails",
}
FOLDERS = "|".join(("cuda", "docs", "notebooks", "papers", "qtheory", "reference", "tests"))


def missing_paths(text: str) -> list[str]:
    """Paths that a text names, between backticks or as the target of a link, and nobody has."""
    named = re.findall(rf"[`(]((?:{FOLDERS})/[\w./-]*)[`)]", text)
    return [path for path in named if not (ROOT / path).exists()]


def test_every_block_is_known():
    assert len(BLOCKS) == len(PRINTED)
    assert [sum(key in block for block in BLOCKS) for key in PRINTED] == [1] * len(PRINTED)


@pytest.mark.parametrize("key", PRINTED)
def test_a_block_runs_alone(key: str, capsys: pytest.CaptureFixture[str]):
    (block,) = (block for block in BLOCKS if key in block)
    exec(block, {})
    assert PRINTED[key] in capsys.readouterr().out


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "tests/README.md"])
def test_named_paths_exist(name: str):
    assert missing_paths((ROOT / name).read_text()) == []


def test_a_path_of_nothing_is_found():
    text = "see `qtheory/chain/`, [this](notebooks/README.md), `qtheory/gone.py` or `x/gone.py`"
    assert missing_paths(text) == ["qtheory/gone.py"]
