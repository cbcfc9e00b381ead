"""Numbers last obtained: `papers/qpapers/<key>/numbers.json`.

Each claim's id is a key of its numbers. The key "about" has the version of `qtheory` and the date
of the last run that wrote the file, and the seconds that each claim took when it was last run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from qpapers.ledger import Claim, Values

Numbers: TypeAlias = Mapping[str, Values]
"""Numbers obtained, by the id of the claim."""
ABOUT = "about"


@dataclass(frozen=True, slots=True)
class Kept:
    """Numbers, and which version obtained them, when, and in how many seconds each."""

    numbers: Numbers
    version: str = ""
    date: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])


def dumped(claims: Iterable[Claim], kept: Kept) -> str:
    """Kept numbers as JSON, in the order of the claims; those of no claim are dropped."""
    ids = [claim.id for claim in claims if claim.id in kept.numbers]
    seconds = {name: kept.seconds[name] for name in ids if name in kept.seconds}
    about = {"version": kept.version, "date": kept.date, "seconds": seconds}
    values = {name: list(kept.numbers[name]) for name in ids}
    return json.dumps({ABOUT: about, **values}, indent=1, allow_nan=False) + "\n"


def loaded(text: str) -> Kept:
    """Kept numbers from JSON."""
    found: dict[str, Any] = json.loads(text)
    about = found.pop(ABOUT, {})
    return Kept({name: tuple(float(v) for v in values) for name, values in found.items()}, **about)
