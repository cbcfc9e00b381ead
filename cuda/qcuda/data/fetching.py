"""The files of MNIST and CIFAR from their usual mirrors, or from a folder, with checksums.

A file gets its name only when it has the SHA-256 of the original. Of an archive the files that
belong to the set are taken, by their exact names, and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import urllib.request
import zlib
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from qcuda.errors import InputError, require
from qcuda.files import write_atomically

LARGEST = 400_000_000  # bytes of a file, packed or not
WAIT = 60.0  # seconds without an answer
PIECE = 2**18  # bytes between two looks at the progress
GZIP = b"\x1f\x8b"


class File(NamedTuple):
    """A file on the mirrors.

    digest: SHA-256 of an archive, or of what a plain file is once it is unpacked. inside: what is
    kept of an archive, by its names there.
    """

    name: str
    digest: str
    inside: tuple[str, ...] = ()

    @property
    def kept(self) -> list[str]:
        """Names of the files that there are in the end."""
        return [Path(name).name for name in self.inside] or [self.name.removesuffix(".gz")]


class Set(NamedTuple):
    """The files of a data set, and the addresses below which they lie."""

    mirrors: tuple[str, ...]
    files: tuple[File, ...]


MNIST = {
    "train-images-idx3": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
TORONTO = ("https://www.cs.toronto.edu/~kriz/",)
SETS = {
    "mnist": Set(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        tuple(File(f"{name}-ubyte.gz", digest) for name, digest in MNIST.items()),
    ),
    "cifar10": Set(
        TORONTO,
        (
            File(
                "cifar-10-binary.tar.gz",
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                tuple(
                    f"cifar-10-batches-bin/{name}.bin"
                    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch")
                ),
            ),
        ),
    ),
    "cifar100": Set(
        TORONTO,
        (
            File(
                "cifar-100-binary.tar.gz",
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
                ("cifar-100-binary/train.bin", "cifar-100-binary/test.bin"),
            ),
        ),
    ),
}


def fetch(name: str, target: Path, source: Path | None = None) -> list[Path]:
    """The files of a set in a folder; those that are there already stay. Returns their paths.

    source: a folder with the files as on the mirrors, or those that need no archive unpacked.
    Raises InputError, naming file and place, if one can not be had or has another checksum.
    """
    require(name in SETS, f"a data set is one of {', '.join(SETS)}, got {name!r}")
    mirrors, files = SETS[name]
    require(not target.exists() or target.is_dir(), f"data have a folder, got the file {target}")
    target.mkdir(parents=True, exist_ok=True)
    for one in files:
        if not all((target / kept).is_file() for kept in one.kept):
            places = (
                [f"{mirror}{one.name}" for mirror in mirrors]
                if source is None
                else [source / one.name, source / one.name.removesuffix(".gz")]
            )
            for kept, data in zip(one.kept, _first_whole(one, places), strict=True):
                write_atomically(target / kept, data)
    return [target / kept for one in files for kept in one.kept]


def _first_whole(one: File, places: Sequence[str | Path]) -> list[bytes]:
    """What is kept of a file, from the first place that has it whole."""
    failed: list[str] = []
    for place in places:
        try:
            return _unpacked(one, _read(place))
        except InputError as error:
            failed.append(f"{place}: {error}")
    raise InputError(f"{one.name} is whole in one of its places, got {'; '.join(failed)}")


def _read(place: str | Path) -> bytes:
    try:
        if isinstance(place, Path):
            with place.open("rb") as file:
                found = file.read(LARGEST + 1)
        else:
            found = _downloaded(place)
    except (OSError, HTTPException) as error:  # of urllib, URLError is an OSError
        raise InputError(f"a file can be read, got {error}") from None
    require(len(found) <= LARGEST, f"a file has at most {LARGEST} bytes, got more")
    return found


def _downloaded(address: str) -> bytes:
    found = io.BytesIO()
    with urllib.request.urlopen(address, timeout=WAIT) as answer:
        length = int(answer.headers.get("Content-Length") or 0)
        with tqdm(total=length or None, unit="B", unit_scale=True, disable=None) as bar:
            while found.tell() <= LARGEST and (piece := answer.read(PIECE)):
                bar.update(found.write(piece))
    return found.getvalue()


def _unpacked(one: File, data: bytes) -> list[bytes]:
    """What is kept of a file. Raises InputError unless it has its checksum."""
    if not one.inside and data[:2] == GZIP:
        try:
            data = zlib.decompressobj(wbits=31).decompress(data, LARGEST)
        except zlib.error as error:
            raise InputError(f"a .gz file is whole, got: {error}") from None
    digest = hashlib.sha256(data).hexdigest()
    require(digest == one.digest, f"its SHA-256 is {one.digest[:16]}..., got {digest[:16]}...")
    if not one.inside:
        return [data]
    found: list[bytes] = []
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        for name in one.inside:
            member = tar.extractfile(name)
            require(member is not None, f"an archive has the file {name}, got none")
            found.append(member.read() if member is not None else b"")
    return found
