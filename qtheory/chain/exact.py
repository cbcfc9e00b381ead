"""Exact rational answers: the oracle that floats are held to, and laws with symbols in them.

A float is a rational number, so the law of a chain of floats is one as well, and is found here
without rounding anything. The equations are pi (I - P) = 0 and (I - P) x = r, over whole numbers
after each row is multiplied by its common denominator. Pivots are principal minors of I - P with
something left out, which are positive for an irreducible chain, so rows are never exchanged.

Three ways to solve, chosen by argument; all give equal Fractions:

    plain   fraction-free elimination on Python's integers [bareiss1968]; some tens of states
    sympy   the same size; the only one for entries with symbols
    flint   python-flint's p-adic solver, if installed: 500 dense states in about a second
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from qtheory.chain.classes import listed, recurrent_classes
from qtheory.chain.forms import AnyChain, Structured, dense
from qtheory.chain.markov import MarkovChain, reaching
from qtheory.chain.sparse import SparseMatrix
from qtheory.chain.states import States, mask_of

Solver: TypeAlias = Literal["plain", "sympy", "flint"]

Rationals: TypeAlias = Sequence[Sequence[Fraction | int | float]]
"""Off-diagonal probabilities, (n, n), zero on the diagonal; floats count as what they are. Where a
diagonal is given it has to complete its row to one, floats within n + 1 roundings, 2**-52 each."""

Whole: TypeAlias = list[list[int]]


def exact_stationary_distribution(
    chain: AnyChain | Rationals, solver: Solver = "plain"
) -> list[Fraction]:
    """The stationary law, exactly; zero on transient states.

    Raises ValueError if there is more than one recurrent class, or a matrix is not of off-diagonal
    probabilities; ModuleNotFoundError if flint is asked for and not installed.

    >>> exact_stationary_distribution([[0, Fraction(1, 3)], [Fraction(1, 7), 0]])
    [Fraction(3, 10), Fraction(7, 10)]
    """
    moves, pattern = _read(chain)
    classes = recurrent_classes(pattern)
    if len(classes) > 1:
        raise ValueError(
            f"a stationary law is unique if there is one recurrent class, got {len(classes)}: "
            + listed(classes)
        )
    states = classes[0]
    rows, scales = _generator(moves, states, [])
    last = len(states) - 1
    # column j of the generator: flow out of j equals flow into it; the last one follows
    matrix = [[rows[i][j] for i in range(last)] for j in range(last)]
    weights = [*_solve(matrix, [-rows[last][j] for j in range(last)], solver), Fraction(1)]
    law = [Fraction(0)] * len(moves)
    for state, share in zip(states, _shares(weights, scales), strict=True):
        law[state] = share
    return law


def exact_hitting_times(
    chain: AnyChain | Rationals, targets: States, solver: Solver = "plain"
) -> list[Fraction]:
    """Mean number of iterations until a target is first visited, from each state, exactly.

    Raises ValueError if there is no target, one is not a state, a target may never be visited, or
    a matrix is not of off-diagonal probabilities; ModuleNotFoundError if flint is not installed.

    >>> exact_hitting_times([[0, Fraction(1, 3)], [Fraction(1, 7), 0]], [1])
    [Fraction(3, 1), Fraction(0, 1)]
    """
    moves, pattern = _read(chain)
    hit = mask_of(pattern.size, targets)
    if not hit.any():
        raise ValueError("hitting needs at least one target, got none")
    lost = ~reaching(pattern.off_diagonal > 0, hit, ~hit)
    if lost.any():
        raise ValueError(
            f"no target can be reached from the states {np.flatnonzero(lost).tolist()}"
        )
    states = np.flatnonzero(~hit).tolist()
    rows, scales = _generator(moves, states, np.flatnonzero(hit).tolist())
    times = [Fraction(0)] * len(moves)
    for state, time in zip(states, _solve(rows, scales, solver), strict=True):
        times[state] = time
    return times


def symbolic_stationary_distribution(off_diagonal: Any) -> list[Any]:
    """The stationary law of an irreducible chain whose entries are expressions of sympy.

    off_diagonal: a sympy.Matrix, (n, n). Returns n factored expressions.

    By the Markov chain tree theorem: pi_j is proportional to the principal minor of I - P without
    row and column j [leighton1986; not verified against the print].
    Raises ValueError if the matrix is not square or has something on its diagonal.

    >>> import sympy
    >>> p, q = sympy.symbols("p q", positive=True)
    >>> symbolic_stationary_distribution(sympy.Matrix([[0, p], [q, 0]]))
    [q/(p + q), p/(p + q)]
    """
    sympy = cast(Any, importlib.import_module("sympy"))
    moves, size = off_diagonal, int(off_diagonal.rows)
    if moves.cols != size:
        raise ValueError(f"a symbolic chain is a square matrix, got {size} by {moves.cols}")
    for state in range(size):
        if moves[state, state] != 0:
            p = moves[state, state]
            raise ValueError(f"the diagonal of a chain is written as zero, got {p} at {state}")
    exits = sympy.diag(*[sum(moves.row(i)) for i in range(size)])
    minors = [(exits - moves).minor_submatrix(j, j).det(method="berkowitz") for j in range(size)]
    total = sum(minors)
    return [sympy.factor(minor / total) for minor in minors]


def flint_available() -> bool:
    """Whether python-flint is installed."""
    return importlib.util.find_spec("flint") is not None


def _read(chain: AnyChain | Rationals) -> tuple[list[list[Fraction]], MarkovChain]:
    """Entries as Fractions, and a chain with the same non-zero entries."""
    if isinstance(chain, MarkovChain | Structured | SparseMatrix):
        chain = dense(chain)
        return [[Fraction(p) for p in row] for row in chain.off_diagonal.tolist()], chain
    given = cast(Rationals, chain.tolist() if isinstance(chain, np.ndarray) else chain)
    size = len(given)
    if size == 0 or any(len(row) != size for row in given):
        raise ValueError(f"a chain is a square matrix, at least 1 by 1, got {size} rows")
    for p in (p for row in given for p in row):
        if not (math.isfinite(p) and p >= 0):
            raise ValueError(f"probabilities are finite and >= 0, got {p}")
    moves = [[Fraction(p) for p in row] for row in given]
    for state, row in enumerate(moves):
        floats = any(isinstance(p, float) for p in given[state])
        off, stays = abs(sum(row) - 1), row[state]
        if stays and off > (size + 1) * Fraction(2) ** -52 * floats:
            raise ValueError(
                "the diagonal of a chain is zero or completes its row to one, got "
                f"{stays} at {state} in a row with sum {sum(row)}"
            )
        row[state] = Fraction(0)
    most = max(sum(row) for row in moves)
    if most > 1:
        raise ValueError(f"the probability of leaving a state is at most one, got {most}")
    links = np.array([[p > 0 for p in row] for row in moves], dtype=np.float64)
    return moves, MarkovChain(links / size)


def _generator(
    moves: list[list[Fraction]], states: list[int], exits: list[int]
) -> tuple[Whole, list[int]]:
    """Rows of I - P among `states`, leaving to each other and to `exits`, as whole numbers.

    Row i is multiplied by the common denominator of its entries, the second result.
    """
    rows: Whole = []
    scales: list[int] = []
    for i in states:
        inside, outside = [moves[i][j] for j in states], [moves[i][j] for j in exits]
        scale = math.lcm(*{p.denominator for p in inside}, *{p.denominator for p in outside})
        row = [-p.numerator * (scale // p.denominator) for p in inside]
        leaving = sum(p.numerator * (scale // p.denominator) for p in outside)
        row[len(rows)] = leaving - sum(row)
        rows.append(row)
        scales.append(scale)
    return rows, scales


def _solve(matrix: Whole, right: list[int], solver: Solver) -> list[Fraction]:
    """The solution of matrix x = right, for a matrix whose leading minors are not 0."""
    if not matrix:
        return []
    if solver == "plain":
        return _bareiss([[*row, b] for row, b in zip(matrix, right, strict=True)])
    if solver == "sympy":
        domain = cast(Any, importlib.import_module("sympy.polys.matrices")).DomainMatrix
        rationals = cast(Any, importlib.import_module("sympy")).QQ
        a = domain.from_list(matrix, rationals).convert_to(rationals)
        b = domain.from_list([[r] for r in right], rationals)
        return [
            Fraction(int(x.numerator), int(x.denominator)) for x in a.lu_solve(b).to_list_flat()
        ]
    if solver != "flint":
        raise ValueError(f"a solver is plain, sympy or flint, got {solver!r}")
    if not flint_available():
        raise ModuleNotFoundError(
            "the solver flint needs python-flint, which is not installed (pip install python-flint)"
        )
    flint = cast(Any, importlib.import_module("flint"))
    x = flint.fmpz_mat(matrix).solve(flint.fmpz_mat([[b] for b in right]))
    return [Fraction(int(q.p), int(q.q)) for q in x.entries()]


def _bareiss(rows: Whole) -> list[Fraction]:
    """Elimination in which every division of whole numbers is exact; rows have the right side last.

    After step k, entries are minors of order k + 1 of the given matrix [bareiss1968].
    """
    size, before = len(rows), 1
    for k in range(size - 1):
        pivot = rows[k][k]
        for i in range(k + 1, size):
            factor, row = rows[i][k], rows[i]
            for j in range(k + 1, size + 1):
                row[j] = (row[j] * pivot - factor * rows[k][j]) // before
        before = pivot
    solution = [Fraction(0)] * size
    for k in range(size - 1, -1, -1):
        known = sum(rows[k][j] * solution[j] for j in range(k + 1, size))
        solution[k] = Fraction(rows[k][size] - known) / rows[k][k]
    return solution


def _shares(weights: list[Fraction], scales: list[int]) -> list[Fraction]:
    """weight * scale, divided by their sum, over one common denominator: n reductions in all."""
    common = math.lcm(*(w.denominator for w in weights))
    whole = [
        w.numerator * (common // w.denominator) * scale
        for w, scale in zip(weights, scales, strict=True)
    ]
    total = sum(whole)
    return [Fraction(number, total) for number in whole]
