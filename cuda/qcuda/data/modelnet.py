"""Shapes of ModelNet40 [wu2015] as clouds of points, drawn anew from their surfaces in each epoch.

    FOLDER/CLASS/train/NAME.off        FOLDER/CLASS/test/NAME.off

Points are drawn by area, three words each. A cloud is moved to its mean and scaled so that its
farthest point has distance 1. Meshes stay in memory once they are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from qcuda.data import reading
from qcuda.data.config import ModelNet
from qcuda.data.images import Folder, listed
from qcuda.data.order import Purpose
from qcuda.data.source import Task
from qcuda.errors import InputError, require
from qcuda.kernels.words import words
from qtheory.streams import Stream

MOST = 10_000_000  # vertices and faces of a mesh: its header is not trusted beyond that


class Mesh(NamedTuple):
    """vertices: (n, 3) float64. faces: (m, 3), numbers of vertices."""

    vertices: np.ndarray
    faces: np.ndarray


def read_off(data: bytes) -> Mesh:
    """The triangles of an OFF file, whose first line may go on with the counts, as ModelNet's do.

    Raises InputError unless it is whole, with vertices that are finite and triangles of them.
    """
    text = data.split()
    require(data[:3] == b"OFF", f"an OFF file begins with OFF, got {data[:8]!r}")
    text[0] = text[0][3:]
    text = text[1:] if not text[0] else text
    try:
        vertices, faces = (int(word) for word in text[:2])
        require(
            3 <= vertices <= MOST and 1 <= faces <= MOST,
            f"a mesh has 3..{MOST} vertices and 1..{MOST} faces, got {vertices} and {faces}",
        )
        length = 3 + 3 * vertices + 4 * faces
        require(
            len(text) == length,
            f"{vertices} vertices and {faces} triangles are {length} numbers, got {len(text)}",
        )
        points = np.array(text[3 : 3 + 3 * vertices], np.float64).reshape(-1, 3)
        corners = np.array(text[3 + 3 * vertices :], np.int64).reshape(-1, 4)
    except InputError:
        raise
    except (ValueError, OverflowError) as error:
        raise InputError(f"an OFF file has numbers, got: {error}") from None
    require(bool(np.isfinite(points).all()), "a vertex is finite, got one that is not")
    inside = (
        (corners[:, 0] == 3) & (corners[:, 1:] >= 0).all(1) & (corners[:, 1:] < vertices).all(1)
    )
    wrong = corners[~inside][:1].tolist()
    require(not wrong, f"a face is 3 and three vertices in 0..{vertices - 1}, got {wrong}")
    return Mesh(points, corners[:, 1:])


def surface(mesh: Mesh, drawn: np.ndarray) -> np.ndarray:
    """Points on a mesh, uniform by area, (n, 3) float64; drawn: words, (n, 3).

    The first word chooses the triangle, the others a point in it: with u and v uniform in (0, 1),
    (1 - sqrt u) a + sqrt u (1 - v) b + sqrt u v c is uniform in the triangle a b c.
    Raises InputError if the mesh has no area.
    """
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).cumsum()
    require(
        bool(np.isfinite(area[-1]) and area[-1] > 0),
        f"a mesh has a finite, positive area, got {area[-1]}",
    )
    share, u, v = (drawn.T + 0.5) / 2**32
    which = np.searchsorted(area, share * area[-1], side="right")
    root, v = np.sqrt(u)[:, None], v[:, None]
    return (1 - root) * a[which] + root * (1 - v) * b[which] + root * v * c[which]


def centred(points: np.ndarray) -> np.ndarray:
    """Points about their mean, the farthest at distance 1."""
    points = points - points.mean(0)
    return points / max(np.linalg.norm(points, axis=1).max(), np.finfo(np.float64).tiny)


def turned(points: np.ndarray, word: int) -> np.ndarray:
    """Points turned about the third axis, which is upright, by the share of a circle of a word."""
    angle = 2 * np.pi * word / 2**32
    x, y, z = points.T
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([cosine * x - sine * y, sine * x + cosine * y, z], 1)


@dataclass(frozen=True)
class Clouds:
    """Files of meshes as clouds of points, drawn anew in training, else once and for all."""

    files: Folder
    config: ModelNet
    meshes: dict[int, Mesh] = field(default_factory=dict)

    @property
    def labels(self) -> Tensor:
        """A class for each shape."""
        return self.files.labels

    @property
    def words(self) -> int:
        """Three for each point, and one to turn by."""
        return 3 * self.config.points + 1

    def read(self, number: int, drawn: Sequence[int] | None) -> np.ndarray:
        """(points, 3) float32."""
        judged = drawn is None
        if judged:
            each = self.words
            drawn = words(
                0, 0, Purpose.VIEW, each, stream=Stream.DATA, offset=each * number
            ).tolist()
        try:
            if number not in self.meshes:
                self.meshes[number] = read_off(self.files.data(number))
            points = centred(surface(self.meshes[number], np.reshape(drawn[:-1], (-1, 3))))
        except InputError as error:
            raise InputError(f"{self.files.name(number)}: {error}") from None
        if self.config.turn and not judged:
            points = turned(points, drawn[-1])
        return points.astype(np.float32)


def classes_of(folder: Path) -> list[str]:
    """Names of the classes in order. Raises InputError if there is none."""
    require(folder.is_dir(), f"data.folder is a folder of shapes, got {str(folder)!r}")
    names = [entry.name for entry in listed(folder, folder, folders=True)]
    require(len(names) > 1, f"{folder}: there are two classes or more, got {len(names)}")
    return names


def part_of(folder: Path, part: str, classes: Sequence[str]) -> Folder:
    """The files of a part. Raises InputError, naming it, if one is no OFF file by its name."""
    found = [
        (file.path, label)
        for label, name in enumerate(classes)
        for file in listed(folder / name / part, folder, folders=False)
    ]
    for path, _ in found:
        require(
            path.lower().endswith(".off"), f"{path}: a shape's name ends with .off, got another"
        )
    require(bool(found), f"{folder}: the part {part} has shapes, got none")
    return Folder([path for path, _ in found], torch.tensor([label for _, label in found]))


def task(config: ModelNet) -> Task:
    """Points with three coordinates, and as many classes as there are folders."""
    return Task(shape=(config.points, 3), classes=len(classes_of(Path(config.folder))))


def opened(config: ModelNet) -> reading.Opened:
    """The shapes of the folder. Raises InputError, naming the file, if it breaks a rule."""
    folder = Path(config.folder)
    classes = classes_of(folder)
    parts = {part: Clouds(part_of(folder, part, classes), config) for part in ("train", "test")}
    loading = reading.Loading(config.batch, config.workers)
    return reading.opened(parts, config.validation, loading, config.folder)
