"""The members of a ustar file by a scan of its headers, none of which is believed.

Nothing is ever written where a name points to, and still a name that leads out of its folder is
refused, as are links, devices, sparse files, names that come twice, and what is cut short: whoever
unpacks the file with another program, or reads half of it, is told here.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import NamedTuple

import numpy as np

from qcuda.errors import InputError, require

BLOCK, START = 512, 20  # bytes of a header, and of a file that are told with it
REGULAR, FOLDER, EXTENDED = (b"0", b"\0"), b"5", (b"x", b"g")
RENAMING = (b"path=", b"linkpath=", b"size=", b"GNU.sparse")  # in an extended header


class Member(NamedTuple):
    """A regular file: its name, where its first byte lies, how many there are, and the first 20."""

    name: str
    offset: int
    size: int
    start: bytes


def members(path: Path) -> list[Member]:
    """All regular files of a tar file, in order.

    Raises InputError, naming the file and the member, if any header breaks a rule.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _scanned(data)
    except (OSError, ValueError) as error:  # an empty file can not be mapped; InputErrors too
        raise InputError(f"{path}: {error}") from None


def _scanned(data: mmap.mmap) -> list[Member]:
    found: list[Member] = []
    heads: list[bytes] = []
    place, end = 0, len(data)
    while True:
        head = data[place : place + BLOCK]
        require(len(head) == BLOCK, f"a tar file ends with an empty block, got its end at {place}")
        if head[0] == 0:
            require(not any(head), f"a member has a name, got none at {place}")
            break
        size, first = size_of(head, place), place + BLOCK
        start = data[first : first + min(size, START)]
        member = Member(_name(head, place), first, size, start)
        place = first + -(-size // BLOCK) * BLOCK
        if place > end:
            raise InputError(f"{member.name}: a member lies in its file, got one cut short")
        if head[156:157] in REGULAR:
            found.append(member)
        else:
            _pass_over(head, member, data)
        heads.append(head)
    _check_sums(heads)
    names = {member.name for member in found}
    if len(names) < len(found):
        raise InputError(f"a name stands for one member, got {_twice(found)} twice")
    return found


def size_of(head: bytes, place: int) -> int:
    """The size that a header says. Raises InputError if it is no header of a ustar file."""
    text = head[124:136].rstrip(b"\0 ")
    if head[257:262] != b"ustar" or not text.isdigit():
        raise InputError(f"a member begins with a ustar header, got none at {place}")
    return int(text, 8)


def _name(head: bytes, place: int) -> str:
    raw = head[:100].split(b"\0", 1)[0]
    if head[257:263] == b"ustar\0" and head[345]:
        raw = head[345:500].split(b"\0", 1)[0] + b"/" + raw
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise InputError(f"a member's name is UTF-8, got {raw!r} at {place}") from None
    out = name[0] == "/" or "\\" in name or not name.isprintable()
    if out or (".." in name and ".." in name.split("/")):
        raise InputError(f"a member's name stays in its folder, got {name!r}")
    return name


def _pass_over(head: bytes, member: Member, data: mmap.mmap) -> None:
    """Raise InputError unless what is no regular file is a folder, or a header that says times."""
    kind = head[156:157]
    if kind in EXTENDED:
        text = data[member.offset : member.offset + member.size]
        renames = [key.decode() for key in RENAMING if key in text]
        require(
            not renames, f"{member.name}: an extended header says times alone, got {renames[:1]}"
        )
        return
    require(
        kind == FOLDER,
        f"{member.name}: a member is a regular file, no link or device, got the type {kind!r}",
    )


def _check_sums(heads: list[bytes]) -> None:
    """Raise InputError unless every header has its own checksum, at all of them at once."""
    blocks = np.frombuffer(b"".join(heads), np.uint8).reshape(-1, BLOCK)
    # The sum counts its own field as eight spaces.
    sums = blocks.sum(1, dtype=np.int64) - blocks[:, 148:156].sum(1, dtype=np.int64) + 8 * 32
    for head, computed in zip(heads, sums.tolist(), strict=True):
        said = head[148:156].strip(b"\0 ")
        if not said.isdigit() or computed != int(said, 8):
            name = head[:100].rstrip(b"\0").decode()
            raise InputError(f"{name}: a header has its checksum, {computed:o}, got {said!r}")


def _twice(found: list[Member]) -> str:
    seen: set[str] = set()
    return next(m.name for m in found if m.name in seen or seen.add(m.name))
