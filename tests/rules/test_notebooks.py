"""Every notebook that is committed was made from its source, and shows what a reader needs.

No kernel is started: `make notebooks` does that. The rules are those of `notebooks/make.py`, and
each of them is shown to find what it is for.
"""

import base64
import importlib.util
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SOURCE = "# %%\nprint(1)\n"


@pytest.fixture(scope="module")
def make(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make", root / "notebooks" / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(folder: Path, suffix: str) -> list[str]:
    return sorted(path.stem for path in folder.glob(f"*.{suffix}"))


def test_every_source_has_its_notebook_and_its_figure(make: ModuleType):
    sources = names(make.SOURCES, "py")
    assert [name[:3] for name in sources] == [f"{n:02}_" for n in range(1, len(sources) + 1)]
    assert names(make.NOTEBOOKS, "ipynb") == sources
    assert names(make.COVERS, "png") == sources


def test_notebooks_are_current_and_clean(make: ModuleType):
    found: dict[str, list[str]] = {}
    for path in make.SOURCES.glob("*.py"):
        text = (make.NOTEBOOKS / f"{path.stem}.ipynb").read_text()
        found[path.name] = make.violations(text, path.read_text())
    assert {name: reasons for name, reasons in found.items() if reasons} == {}, (
        "make notebooks WRITE=1 makes them again"
    )


def test_notebooks_and_figures_are_small_together(make: ModuleType):
    sizes = [path.stat().st_size for path in make.NOTEBOOKS.glob("*.ipynb")]
    assert sum(sizes) <= make.LARGEST_TOGETHER
    assert sum(path.stat().st_size for path in make.COVERS.glob("*.png")) <= 500_000


def test_a_notebook_names_its_source_first(make: ModuleType):
    for path in make.NOTEBOOKS.glob("*.ipynb"):
        title, blank, link, *_ = "".join(first_cell(path)["source"]).splitlines()
        assert title.startswith("# ") and not blank
        assert f"(source/{path.stem}.py)" in link


def first_cell(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())["cells"][0]


def test_the_overview_shows_every_notebook(make: ModuleType):
    text = (make.NOTEBOOKS / "README.md").read_text()
    assert re.findall(r"\((\w+)\.ipynb\)", text) == names(make.SOURCES, "py")
    assert re.findall(r'src="\.\./docs/figures/notebooks/(\w+)\.png"', text) == names(
        make.COVERS, "png"
    )


# What the rules find


def clean(make: ModuleType) -> dict[str, Any]:
    """A notebook of one cell that breaks no rule."""
    png = b"\x89PNG....pHYs" + struct.pack(">I", round(100 / 0.0254))
    shown = {"image/png": base64.b64encode(png).decode(), "text/plain": "<Figure>"}
    return {
        "metadata": {"qtheory": {"source": make.digest(SOURCE)}},
        "cells": [
            {"cell_type": "markdown", "source": "# Title"},
            {
                "cell_type": "code",
                "execution_count": 1,
                "outputs": [
                    {"output_type": "stream", "name": "stdout", "text": ["1\n"]},
                    {"output_type": "display_data", "data": shown},
                ],
            },
        ],
    }


def test_a_clean_notebook_is_let_pass(make: ModuleType):
    assert make.violations(json.dumps(clean(make)), SOURCE) == []


def another_source(notebook: dict[str, Any]) -> None:
    notebook["metadata"]["qtheory"]["source"] = "0" * 64


def no_source(notebook: dict[str, Any]) -> None:
    del notebook["metadata"]["qtheory"]


def executed_twice(notebook: dict[str, Any]) -> None:
    notebook["cells"][1]["execution_count"] = 2


def not_executed(notebook: dict[str, Any]) -> None:
    notebook["cells"].append({"cell_type": "code", "execution_count": None, "outputs": []})


def too_large(notebook: dict[str, Any]) -> None:
    notebook["cells"][0]["source"] = "x" * 600_000


def no_figure(notebook: dict[str, Any]) -> None:
    del notebook["cells"][1]["outputs"][1]


def coarse_figure(notebook: dict[str, Any]) -> None:
    png = base64.b64encode(b"pHYs" + struct.pack(">I", round(72 / 0.0254))).decode()
    notebook["cells"][1]["outputs"][1]["data"]["image/png"] = png


def error(notebook: dict[str, Any]) -> None:
    notebook["cells"][1]["outputs"].append({"output_type": "error", "ename": "ValueError"})


def warning(notebook: dict[str, Any]) -> None:
    notebook["cells"][1]["outputs"][0]["name"] = "stderr"


def address(notebook: dict[str, Any]) -> None:
    notebook["cells"][1]["outputs"][1]["data"]["text/plain"] = ["<Axes at 0x7fb2c8>"]


def machine_path(notebook: dict[str, Any]) -> None:
    notebook["cells"][1]["outputs"][0]["text"] = ["read /home/someone/file\n"]


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (another_source, "another source"),
        (no_source, "another source"),
        (executed_twice, r"order \[2\]"),
        (not_executed, r"order \[1, None\]"),
        (too_large, "at most 600000 bytes, got 600"),
        (no_figure, "no figure"),
        (coarse_figure, "100 dots per inch, got 72"),
        (error, "ends in ValueError"),
        (warning, "warns: 1"),
        (address, "shows 'at 0x7fb2c8'"),
        (machine_path, "shows '/home/'"),
    ],
)
def test_an_unclean_notebook_is_found(
    make: ModuleType, plant: Callable[[dict[str, Any]], None], words: str
):
    notebook = clean(make)
    plant(notebook)
    (violation,) = make.violations(json.dumps(notebook), SOURCE)
    assert re.search(words, violation)


def test_a_changed_source_is_noticed(
    make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(make, "NOTEBOOKS", tmp_path)
    source = tmp_path / "01_a.py"
    source.write_text(SOURCE)
    assert not make.is_current(source)
    (tmp_path / "01_a.ipynb").write_text(json.dumps(clean(make)))
    assert make.is_current(source)
    source.write_text(SOURCE + "\n")
    assert not make.is_current(source)
