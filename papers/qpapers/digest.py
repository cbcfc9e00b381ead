"""Ties the numbers to match to a file that no command writes: `papers/qpapers/<key>/digest.txt`.

`qtheory reproduce` rewrites the ledger and the numbers obtained, so neither notices an expected
number that was replaced by the number obtained, or a tolerance that was made wider. A line of
digest.txt has a claim's id and the digest of all that decides its verdict. A person who changes a
claim on purpose runs `python -m qpapers.digest KEY`, which prints the lines, and replaces the line
of that claim by hand.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable

from qpapers.ledger import Claim

DIGITS = 16


def digest(claim: Claim) -> str:
    """The first hexadecimal digits of SHA-256 of what decides the verdict.

    Expected numbers count with twelve digits, as the last digits of a computed one may depend on
    the machine.
    """
    decides = (
        [f"{value:.12g}" for value in claim.expected],
        f"{claim.tolerance:.12g}",
        claim.relation,
        claim.verdict,
        claim.number,
        claim.guard,
        claim.printed,
        claim.printed_of,
    )
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:DIGITS]


def digests(claims: Iterable[Claim]) -> str:
    """The lines of digest.txt."""
    return "".join(f"{claim.id} {digest(claim)}\n" for claim in claims)


def changed(claims: Iterable[Claim], text: str) -> list[str]:
    """What differs between claims and the lines of digest.txt, in words."""
    told = dict(line.split() for line in text.splitlines())
    found = {claim.id: digest(claim) for claim in claims}
    lines = [
        f"{name}: expected numbers, tolerance, relation, origin or verdict changed; if on purpose, "
        f"write by hand: {name} {found[name]}"
        for name in found
        if told.get(name) != found[name]
    ]
    return lines + [f"{name}: no such claim" for name in told if name not in found]


def main(arguments: list[str] | None = None) -> int:
    """Print the lines of a paper."""
    from qpapers.reproduce import paper_of

    parser = argparse.ArgumentParser(prog="python -m qpapers.digest", description=main.__doc__)
    parser.add_argument("paper")
    print(digests(paper_of(parser.parse_args(arguments).paper).claims), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
