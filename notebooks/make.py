"""Run the notebooks of `notebooks/source` from top to bottom, as a reader would.

    python notebooks/make.py            run all of them into build/notebooks
    python notebooks/make.py 03 07      run these two
    python notebooks/make.py --write    and replace committed notebooks whose source has changed

`make notebooks` and `make notebooks WRITE=1` call it. A run fails after two minutes, at an error,
and at anything that `violations` lists.

The sources are written by hand, the notebooks beside them never: those are for readers, who find
the figures in them. Each keeps the hash of its source, and is replaced only when that has changed,
so that figures enter the history only together with a change of what draws them. To have a
notebook written again without such a change, delete it first.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import io
import json
import os
import re
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
SOURCES = NOTEBOOKS / "source"
BUILT = ROOT / "build" / "notebooks"
COVERS = ROOT / "docs" / "figures" / "notebooks"

SECONDS = 120  # that one notebook may take
LARGEST = 600_000  # bytes of one notebook, figures included
LARGEST_TOGETHER = 5_000_000
DOTS = 100  # per inch of every figure
COVER_WIDTH = 480  # pixels of the small figure that README.md shows
PLAIN_FIGURES = {  # whatever the user of this machine has chosen for others
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "MATPLOTLIBRC": os.devnull,
}

# What is not the same on the next machine, or in the next run.
UNSTABLE = re.compile(r"(?<![\w.])/(?:home|opt|root|tmp|Users|usr|var|work)/|\bat 0x[0-9a-f]+")


def digest(source: str) -> str:
    """The hash of a source, as a notebook keeps it in `metadata.qtheory.source`."""
    return hashlib.sha256(source.encode()).hexdigest()


# What a notebook may not be


def violations(text: str, source: str) -> list[str]:
    """Reasons why `text`, an executed notebook, may not stand beside its source."""
    notebook = json.loads(text)
    found: list[str] = []
    if notebook["metadata"].get("qtheory", {}).get("source") != digest(source):
        found.append("it was made from another source")
    counts = [c["execution_count"] for c in notebook["cells"] if c["cell_type"] == "code"]
    if counts != list(range(1, len(counts) + 1)):
        found.append(f"its cells were executed in the order {counts}")
    if len(text.encode()) > LARGEST:
        found.append(f"it has at most {LARGEST} bytes, got {len(text.encode())}")
    if not list(figures(notebook)):
        found.append("it shows no figure")
    for png in figures(notebook):
        if (dots := resolution(png)) != DOTS:
            found.append(f"a figure has {DOTS} dots per inch, got {dots}")
    for output in outputs(notebook):
        found.extend(output_violations(output))
    return found


def output_violations(output: dict[str, Any]) -> list[str]:
    """Errors, warnings, and words that the next run would print differently."""
    if output["output_type"] == "error":
        return [f"a cell ends in {output['ename']}"]
    said = output.get("text", "")
    if output.get("name") == "stderr":
        return [f"a cell warns: {''.join(said).strip()[:200]}"]
    words = json.dumps([said, *(v for k, v in output.get("data", {}).items() if "image" not in k)])
    return [f"a cell shows {found[0]!r}" for found in UNSTABLE.finditer(words)]


def outputs(notebook: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All outputs of all cells, in order."""
    for cell in notebook["cells"]:
        yield from cell.get("outputs", ())


def figures(notebook: dict[str, Any]) -> Iterator[bytes]:
    """All figures, as PNG files."""
    for output in outputs(notebook):
        if (png := output.get("data", {}).get("image/png")) is not None:
            yield base64.b64decode("".join(png))


def resolution(png: bytes) -> int:
    """Dots per inch that a PNG file states, or 0; the file counts them per metre."""
    start = png.find(b"pHYs")
    per_metre = struct.unpack(">I", png[start + 4 : start + 8])[0] if start >= 0 else 0
    return round(per_metre * 0.0254)


# From a source to a notebook


def read(path: Path) -> Any:
    """The notebook of a percent source, not executed; its title is followed by a link to it."""
    import jupytext

    notebook = jupytext.read(path)
    title, _, rest = notebook.cells[0].source.partition("\n")
    link = f"*This notebook is made from [source/{path.name}](source/{path.name}); edit that file.*"
    notebook.cells[0].source = f"{title}\n\n{link}\n{rest}"
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "qtheory": {"source": digest(path.read_text())},
    }
    return notebook


async def execute(path: Path, seconds: float) -> str:
    """Run a source where a reader would; returns the notebook's text."""
    import jupytext
    from nbclient import NotebookClient

    notebook = read(path)
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        client = NotebookClient(
            notebook,
            resources={"metadata": {"path": str(NOTEBOOKS)}},
            record_timing=False,
        )
        manager = client.create_kernel_manager()
        manager.transport, manager.ip = "ipc", f"{folder}/kernel"  # TCP lets others listen
        async with asyncio.timeout(seconds):
            await client.async_execute(env={**os.environ, **PLAIN_FIGURES})
    notebook.metadata["language_info"] = {"name": "python"}  # no version, no details
    for output in outputs(notebook):
        if (png := output.get("data", {}).get("image/png")) is not None:
            output["data"]["image/png"] = base64.b64encode(compact(base64.b64decode(png))).decode()
    return jupytext.writes(notebook, "ipynb") + "\n"


def compact(png: bytes, width: int | None = None) -> bytes:
    """A figure in 256 colours, which takes a third of the bytes; not wider than `width` pixels."""
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    if width is not None and width < image.width:
        size = (width, round(image.height * width / image.width))
        image = image.resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.quantize(256, kmeans=1).save(file, "PNG", optimize=True, dpi=(DOTS, DOTS))
    return file.getvalue()


def cover(notebook: dict[str, Any]) -> bytes:
    """The first figure of the cell tagged "cover", small."""
    tagged = [c for c in notebook["cells"] if "cover" in c["metadata"].get("tags", ())]
    return compact(next(figures({"cells": tagged})), COVER_WIDTH)


# All of them


async def make(path: Path, write: bool, seconds: float, places: asyncio.Semaphore) -> list[str]:
    """Run one source, keep what it gives, and say what is wrong with it."""
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    async with places:
        begun = time.monotonic()
        try:
            text = await execute(path, seconds)
        except TimeoutError:
            return [f"it takes at most {seconds:g} s, got no end"]
        except (CellExecutionError, DeadKernelError) as error:
            return [re.sub(r"\x1b\[[0-9;]*m", "", str(error))]
    found = violations(text, path.read_text())
    (BUILT / f"{path.stem}.ipynb").write_text(text)
    said = ""
    if write and not found and not is_current(path):
        COVERS.mkdir(parents=True, exist_ok=True)
        (NOTEBOOKS / f"{path.stem}.ipynb").write_text(text)
        (COVERS / f"{path.stem}.png").write_bytes(cover(json.loads(text)))
        said = ", written"
    print(f"{path.stem}: {time.monotonic() - begun:.0f} s{said}", flush=True)
    return found


def is_current(path: Path) -> bool:
    """Whether the committed notebook was made from the source as it stands."""
    kept = NOTEBOOKS / f"{path.stem}.ipynb"
    if not kept.exists():
        return False
    made_from = json.loads(kept.read_text())["metadata"].get("qtheory", {}).get("source")
    return made_from == digest(path.read_text())


async def make_all(paths: list[Path], write: bool, seconds: float, jobs: int) -> int:
    """Run sources, `jobs` at a time. Returns the exit status."""
    BUILT.mkdir(parents=True, exist_ok=True)
    places = asyncio.Semaphore(jobs)
    results = await asyncio.gather(*(make(path, write, seconds, places) for path in paths))
    for path, found in zip(paths, results, strict=True):
        for violation in found:
            print(f"{path.relative_to(ROOT)}: {violation}", file=sys.stderr)
    return int(any(results))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Run the notebooks of notebooks/source.")
    parser.add_argument("names", nargs="*", help="beginnings of names, such as 03; all if none")
    parser.add_argument("--write", action="store_true", help="replace those whose source changed")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each (default 120)")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at a time (default 2)")
    options = parser.parse_args()
    beginnings = tuple(options.names) or ("",)
    paths = [p for p in sorted(SOURCES.glob("*.py")) if p.name.startswith(beginnings)]
    if not paths:
        parser.error(f"a name is the beginning of one in notebooks/source, got {options.names}")
    return asyncio.run(make_all(paths, options.write, options.seconds, options.jobs))


if __name__ == "__main__":
    sys.exit(main())
