"""The README's Python is run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_examples_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 4
    exec("\n".join(blocks), {})
    printed = capsys.readouterr().out
    assert "18944 lattice weights at 2.00 bits, 0 floating-point copies" in printed
    assert "converges fails" in printed
