"""The repository's own files, as the rules read them."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MADE = {ROOT / name for name in ("build", "dist", "runs", "mutants")}  # by tools
HIDDEN = re.compile(r"\..*|.*\.egg-info|__pycache__")


def walk(folder: Path) -> Iterator[Path]:
    """Files that people write: hidden folders, and those that tools make, are left out."""
    for path in sorted(folder.iterdir()):
        if (
            path in MADE
            or path.name.startswith(".")
            or path.name.endswith((".egg-info", "cache__"))
        ):
            continue
        if path.is_dir():
            yield from walk(path)
        else:
            yield path


@cache
def texts(*suffixes: str) -> dict[str, str]:
    files = (path for path in walk(ROOT) if path.suffix in suffixes)
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in files}


@pytest.fixture(scope="session")
def root() -> Path:
    """The top folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def paths() -> list[str]:
    """Every file, by its path from the top."""
    return [path.relative_to(ROOT).as_posix() for path in walk(ROOT)]


@pytest.fixture(scope="session")
def sources() -> Callable[..., dict[str, str]]:
    """sources(*suffixes): text of every file with such a suffix, by its path from the top."""
    return lambda *suffixes: dict(texts(*suffixes))
