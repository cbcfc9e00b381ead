"""The largest of numbers is NaN if one of them is; max would drop it."""

from __future__ import annotations

import ast
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpapers import extremes
from qpapers.extremes import largest, least

FOLDER = Path(extremes.__file__).parent


@given(st.lists(st.floats(), min_size=1))
def test_they_are_those_of_numpy(values: list[float]):
    with np.errstate(invalid="ignore"):
        assert np.array_equal(largest(values), np.max(values), equal_nan=True)
        assert np.array_equal(least(values), np.min(values), equal_nan=True)


@pytest.mark.parametrize("place", range(3))
def test_a_nan_is_not_dropped(place: int):
    values = [1.0, 2.0]
    values.insert(place, float("nan"))
    assert np.isnan(largest(values)) and np.isnan(least(values))
    assert not all(np.isnan(max(values[i:])) for i in range(3))


def test_kinds_of_numbers_are_kept():
    assert largest(x for x in (Fraction(1, 3), Fraction(1, 2))) == Fraction(1, 2)
    assert isinstance(least([1, 2]), int)
    assert isinstance(least((np.int64(2), np.int64(1))), np.int64)
    with pytest.raises(ValueError, match="empty"):
        largest([])


def builtin_extremes(text: str) -> list[int]:
    """Lines that name max or min, or a function of NumPy that leaves a NaN out."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if (isinstance(node, ast.Name) and node.id in ("max", "min"))
        or (isinstance(node, ast.Attribute) and node.attr in ("nanmax", "nanmin", "fmax", "fmin"))
    ]


def test_no_claim_takes_a_maximum_that_drops_a_nan():
    found = {
        path.name: lines
        for path in FOLDER.glob("*/*.py")
        if (lines := builtin_extremes(path.read_text()))
    }
    assert found == {}
    assert builtin_extremes("a = max(b)\nb = map(min, c)\nd = np.nanmax(c)") == [1, 2, 3]
