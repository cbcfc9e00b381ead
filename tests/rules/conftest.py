"""The repository's own files, as the rules read them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MADE = {"build", "dist", "runs", "mutants", "__pycache__"}  # by tools; hidden folders are too


@pytest.fixture(scope="session")
def root() -> Path:
    """The top folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def sources() -> Callable[..., dict[str, str]]:
    """sources(*suffixes): text of every file with such a suffix, by its path from the top."""

    def walk(folder: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or path.name in MADE:
                continue
            if path.is_dir():
                yield from walk(path)
            else:
                yield path

    def read(*suffixes: str) -> dict[str, str]:
        files = (path for path in walk(ROOT) if path.suffix in suffixes)
        return {path.relative_to(ROOT).as_posix(): path.read_text() for path in files}

    return read
