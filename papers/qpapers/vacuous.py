"""Claims that hold for numbers that say nothing: `python -m qpapers.vacuous [KEY ...]`.

A claim is tried on a vector of zeros, and on the numbers that other claims of its paper, its
siblings, have obtained. One that still matches says little, so it is made stronger, or says that
it is a guard: something that only excludes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from qpapers.kept import Numbers
from qpapers.ledger import Claim

BY_CHANCE = {
    "temperature-excess": {"rule-jump"},
    "thm-1-floor": {"batch-quadratic"},
    "batch-quadratic": {"thm-1-floor"},
    "dynamics-triangular": {"kernel-square"},
}
"""Siblings whose numbers are the same by chance: each number is near 1, or near 1/2, with an error
that is derived and less than a sixth of it."""


def mistaken(claim: Claim, siblings: Iterable[Claim], kept: Numbers) -> list[str]:
    """What the claim takes for its numbers: "zeros", unless 0 is to match, and ids of siblings.

    A sibling that has the same numbers to match is left out.
    """
    found = ["zeros"] if any(claim.expected) or claim.relation != "=" else []
    found = [name for name in found if claim.matches((0.0,) * len(claim.expected))]
    return found + [
        other.id
        for other in siblings
        if other.expected != claim.expected
        and other.id not in BY_CHANCE.get(claim.id, ())
        and claim.matches(kept[other.id])
    ]


def vacuous(claims: Iterable[Claim], kept: Numbers) -> dict[str, list[str]]:
    """Claims that take other numbers for theirs, and which; guards too."""
    claims = [claim for claim in claims if claim.id in kept]
    found = {claim.id: mistaken(claim, claims, kept) for claim in claims}
    return {name: others for name, others in found.items() if others}


def main(arguments: list[str] | None = None) -> int:
    """List the claims that hold for zeros or for a sibling's numbers; 1 if one is no guard."""
    from qpapers.reproduce import PAPERS, kept_of, paper_of, ungrouped

    parser = argparse.ArgumentParser(prog="python -m qpapers.vacuous", description=main.__doc__)
    parser.add_argument("papers", nargs="*", metavar="KEY", help="default: all")
    missed = 0
    for key in ungrouped(parser.parse_args(arguments).papers or PAPERS):
        paper = paper_of(key)
        guards = {claim.id for claim in paper.claims if claim.guard}
        for name, others in vacuous(paper.claims, kept_of(key).numbers).items():
            missed += name not in guards
            kind = "guard" if name in guards else "NO GUARD"
            print(f"{key} {name} ({kind}): {', '.join(others)}")
    return int(missed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
