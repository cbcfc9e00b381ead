"""Elimination without subtraction keeps every digit of a stationary law, entry by entry."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from qpapers.chains.cases import (
    ADVERSARIAL,
    any_chains,
    law_error,
)
from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qtheory.chain import (
    MarkovChain,
    exact_stationary_distribution,
    stationary_distribution,
)
from qtheory.chain.markov import PerState

STRUCTURE_TEST = "tests/theory/chain/theorems/test_structure.py"


def entry_error(found: PerState, exact: list[Fraction]) -> float:
    """Largest relative error of an entry."""
    pairs = zip(found.tolist(), exact, strict=True)
    return largest(abs(float(Fraction(f) / e - 1)) for f, e in pairs)


def elimination() -> Values:
    """Largest error of an entry over (2 n³ + 16) u."""
    return (
        largest(
            entry_error(stationary_distribution(c), exact_stationary_distribution(c))
            / law_error(c.size)
            for c in any_chains()
        ),
    )


def elimination_error() -> Values:
    """Largest error of an entry."""
    return (
        largest(
            entry_error(stationary_distribution(c), exact_stationary_distribution(c))
            for c in any_chains()
        ),
    )


def eigenvectors() -> Values:
    """Chains of three whose law by an eigenvector has an entry wrong by more than 1e-7."""

    def law(chain: MarkovChain) -> PerState:
        values, vectors = np.linalg.eig(chain.transition_matrix.T)
        found = np.abs(np.real(vectors[:, np.argmin(np.abs(values - 1))]))
        return found / found.sum()

    hard = [ADVERSARIAL[n] for n in ("a cold double well", "a link of 1e-12")]
    hard.append(ADVERSARIAL["three blocks at 1e-12"])
    return (sum(entry_error(law(c), exact_stationary_distribution(c)) > 1e-7 for c in hard),)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="t26",
        statement="26 (O'Cinneide): elimination without subtraction has an entrywise error of "
        "O(n³) u whatever the chain: largest error, against exact rationals, over (2 n³ + 16) u",
        code=stationary_distribution,
        test=f"{STRUCTURE_TEST}::test_elimination_keeps_every_entry",
        printed="at most 1",
        number="noted",
        expected=(1.0,),
        tolerance=0.0,
        why="a bound; the rationals are exact",
        run=elimination,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="t26-observed",
        statement="and far less is seen: largest relative error of an entry",
        code=exact_stationary_distribution,
        test=f"{STRUCTURE_TEST}::test_elimination_keeps_every_entry",
        printed="0; errors of 1e-15 to 1e-14 are quoted",
        number="noted",
        expected=(0.0,),
        tolerance=1e-14,
        why="the larger of the errors quoted; the rationals are exact",
        run=elimination_error,
    ),
    Claim(
        id="t26-others",
        statement="where an eigenvector of the stored matrix has an entry wrong by more than 1e-7: "
        "of three hard chains",
        code=eigenvectors,
        test=f"{STRUCTURE_TEST}::test_other_methods_do_not",
        printed="3",
        number="noted",
        expected=(3.0,),
        tolerance=0.0,
        why="a count",
        run=eigenvectors,
    ),
)
