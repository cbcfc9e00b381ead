"""The ledger of a run: the claims judged, and the false-alarm rate that each may spend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from qtheory.values import rebuilt

Kind = Literal["exact", "p-value", "e-value"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One line of a report.

    name: what is claimed. kind: how its evidence is read, see `qtheory.evidence`.
    draws: how many random decisions, or words, were looked at.
    evidence: the number of unexplained differences, the p-value, or the logarithm of the e-value.
    share: the false-alarm rate that the claim spends; 0 for an exact one.
    detectable: the smallest bias that fails the claim with probability 1 - miss; None if the
    claim has none, as exact ones.

    >>> Claim("words", "exact", 100, 0, 0.0, None).holds
    True
    >>> Claim("p = 1/2", "p-value", 100, 1e-10, 1e-9, 0.4).holds
    False

    Raises ValueError for an unknown kind, an evidence that its kind cannot have, a share outside
    0 < share < 1 (0 for an exact claim), or a miss outside 0 < miss < 1.
    """

    name: str
    kind: Kind
    draws: int
    evidence: float
    share: float
    detectable: float | None = None
    miss: float = 1e-3
    detail: str = ""

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if self.kind not in ("exact", "p-value", "e-value"):
            raise ValueError(f"a claim is exact, p-value or e-value, got {self.kind!r}")
        if math.isnan(self.evidence) or (self.kind != "e-value" and self.evidence < 0):
            raise ValueError(f"evidence of kind {self.kind} is a number, got {self.evidence}")
        if self.kind == "p-value" and self.evidence > 1:
            raise ValueError(f"a p-value is at most 1, got {self.evidence}")
        if self.kind == "exact" and self.share != 0:
            raise ValueError(f"an exact claim spends no share, got {self.share}")
        if self.kind != "exact" and not 0 < self.share < 1:
            raise ValueError(f"a statistical claim spends 0 < share < 1, got {self.share}")
        if not 0 < self.miss < 1:
            raise ValueError(f"a miss is between 0 and 1, got {self.miss}")

    @property
    def holds(self) -> bool:
        """Whether the evidence leaves the claim standing."""
        if self.kind == "exact":
            return self.evidence == 0
        if self.kind == "p-value":
            return self.evidence > self.share
        return self.evidence < -math.log(self.share)

    @property
    def verdict(self) -> str:
        """ "holds" or "FAILS"."""
        return "holds" if self.holds else "FAILS"


def _no_claims() -> list[Claim]:
    return []


@dataclass(slots=True)
class Suite:
    """All claims of one run, and its manifest: which claim may spend which false-alarm rate.

    The shares are fixed before anything is drawn. If all claims are true, the probability that
    any of them fails is at most the sum of the shares (Boole's inequality), whatever they have
    in common; the sum is at most false_alarm.

    Exact claims spend nothing and need no entry. An entry whose claim was not added is reported
    as one that did not run.

    >>> suite = Suite(1e-6, {"p = 1/2": 1e-9})
    >>> suite.add(Claim("p = 1/2", "p-value", 100, 0.3, suite.share("p = 1/2"), 0.4))
    >>> suite.holds
    True

    Raises ValueError if a share is not positive, or their sum exceeds false_alarm.
    """

    false_alarm: float = 1e-6
    shares: Mapping[str, float] = field(default_factory=dict[str, float])
    _claims: list[Claim] = field(default_factory=_no_claims, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.false_alarm < 1:
            raise ValueError(f"a false-alarm rate is between 0 and 1, got {self.false_alarm}")
        wrong = [name for name, share in self.shares.items() if not 0 < share < 1]
        if wrong:
            raise ValueError(f"a share is between 0 and 1, got {self.shares[wrong[0]]}: {wrong[0]}")
        # a share like A / n is rounded, by half an ulp: their sum may exceed A by that much
        rounding = 1 + 2.0**-52
        spent = math.fsum(self.shares.values())
        if spent > self.false_alarm * rounding:
            raise ValueError(f"the shares sum to at most {self.false_alarm}, got {spent}")
        self.shares = dict(self.shares)

    def share(self, name: str) -> float:
        """What a claim may spend. Raises ValueError for a name that is not in the manifest."""
        if name not in self.shares:
            raise ValueError(f"a claim is declared before it is drawn, got {name!r}")
        return self.shares[name]

    def add(self, claim: Claim) -> None:
        """Enter a claim.

        Raises ValueError if a claim of that name is there already, or spends another share than
        the manifest declares.
        """
        if any(claim.name == other.name for other in self._claims):
            raise ValueError(f"a claim is judged once, got {claim.name!r} again")
        if claim.share != self.shares.get(claim.name, 0.0):
            raise ValueError(
                f"{claim.name!r} spends the share it declared, "
                f"{self.shares.get(claim.name, 0.0)}, got {claim.share}"
            )
        self._claims.append(claim)

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The claims, in the order in which they were added."""
        return tuple(self._claims)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names in the manifest that no claim was added for."""
        there = {claim.name for claim in self._claims}
        return tuple(name for name in self.shares if name not in there)

    @property
    def holds(self) -> bool:
        """Whether there is a claim, and every claim holds."""
        return bool(self._claims) and all(claim.holds for claim in self._claims)

    def table(self) -> str:
        """The report, one claim a line, to be pasted where a person asks."""
        head = ("claim", "draws", "evidence", "false alarm", "detectable", "verdict")
        rows = [head, *(_row(claim) for claim in self._claims)]
        rows += [
            (name, "", "", f"{self.shares[name]:.1e}", "", "did not run") for name in self.missing
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0])]
                + [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
                + [row[-1]]
            ).rstrip()
            for row in rows
        ]
        spent = math.fsum(self.shares.values())
        lines.append(f"false alarm of the whole run: at most {spent:.2g}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, object]:
        """The report as plain values, for JSON; numbers that are not finite become text."""
        return {
            "false_alarm": self.false_alarm,
            "spent": math.fsum(self.shares.values()),
            "holds": self.holds,
            "did_not_run": list(self.missing),
            "claims": [
                {key: _plain(value) for key, value in asdict(claim).items()}
                | {"holds": claim.holds}
                for claim in self._claims
            ],
        }


def _row(claim: Claim) -> tuple[str, str, str, str, str, str]:
    evidence = {
        "exact": f"{claim.evidence:.0f} unexplained",
        "p-value": f"p = {claim.evidence:.2g}",
        "e-value": f"log e = {claim.evidence:.2f}",
    }[claim.kind]
    return (
        claim.name,
        f"{claim.draws:,}",
        evidence,
        "0" if claim.kind == "exact" else f"{claim.share:.1e}",
        "" if claim.detectable is None else f"{claim.detectable:.2g}",
        claim.verdict + (f" ({claim.detail})" if claim.detail else ""),
    )


def _plain(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
