"""What exact tests share: linear algebra over the rationals, where subtraction costs nothing."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from qtheory.chain import native

Rationals = list[list[Fraction]]


def _solve(matrix: Rationals, right: list[Fraction]) -> list[Fraction]:
    """The solution of matrix x = right by Gauss-Jordan elimination."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for k in range(size):
        pivot = next(i for i in range(k, size) if rows[i][k] != 0)
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [entry / rows[k][k] for entry in rows[k]]
        for i in range(size):
            if i != k and rows[i][k] != 0:
                factor = rows[i][k]
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    return [row[-1] for row in rows]


def _generator(off_diagonal: np.ndarray) -> Rationals:
    """I - P, with the diagonal implied by the entries off it."""
    moves = [[Fraction(float(p)) for p in row] for row in off_diagonal]
    return [[sum(row) if i == j else -p for j, p in enumerate(row)] for i, row in enumerate(moves)]


@pytest.fixture(scope="session")
def exact_stationary() -> Callable[[np.ndarray], list[Fraction]]:
    """pi (I - P) = 0 and sum(pi) = 1, over the rationals."""

    def stationary(off_diagonal: np.ndarray) -> list[Fraction]:
        transposed = [list(column) for column in zip(*_generator(off_diagonal), strict=True)]
        ones = [Fraction(1)] * len(transposed)
        return _solve([ones, *transposed[1:]], [Fraction(1)] + [Fraction(0)] * (len(ones) - 1))

    return stationary


@pytest.fixture(scope="session")
def exact_rewards() -> Callable[[np.ndarray, list[int], list[Fraction]], list[Fraction]]:
    """x = r + P x off the target states, over the rationals; the other states in order."""

    def rewards(
        off_diagonal: np.ndarray, targets: list[int], reward: list[Fraction]
    ) -> list[Fraction]:
        rest = [i for i in range(len(off_diagonal)) if i not in targets]
        generator = _generator(off_diagonal)
        return _solve([[generator[i][j] for j in rest] for i in rest], [reward[i] for i in rest])

    return rewards


@pytest.fixture(params=["compiled", "plain"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which loops of chains serve; compiled ones are skipped where they were not built."""
    if request.param == "compiled" and not native.available():
        pytest.skip(f"{native.LIBRARY} was not built")
    if request.param == "plain":
        monkeypatch.setattr(native, "library", lambda: None)
    return request.param
