"""Every walker's law is a law: a pmf on the places that its contract promises, and NaN stays.

What holds for coins alone is in test_coin.py.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples, few_indices, increments, indices, specs, weights

from qtheory.algorithms import contract, law, spec_class, walkers
from qtheory.lattice import Lattice

REACH = {"coin": None, "neighbours": 1, "any": None}  # levels that a step goes at most
some = examples(30)
stems = pytest.mark.parametrize("name", walkers())


@stems
@some
@given(data=st.data())
def test_it_sums_to_one(name, data):
    """A probability and its place in the sum: two roundings of each term, of 2**-53 at most."""
    spec = data.draw(specs(name))
    index, increment = data.draw(weights(spec.lattice, 24))
    pmf = law(spec, index, increment)
    assert pmf.shape == (24, spec.lattice.size)
    assert (pmf >= 0).all() and (pmf <= 1).all()
    terms = (pmf > 0).sum(axis=-1)
    assert (np.abs(pmf.sum(axis=-1) - 1) <= terms * 2.0**-52).all()


@stems
@some
@given(data=st.data())
def test_it_reaches_no_further_than_the_contract_says(name, data):
    spec, reach = data.draw(specs(name)), REACH[contract(name).destinations]
    index, increment = data.draw(weights(spec.lattice, 24))
    distance = np.abs(np.arange(spec.lattice.size) - index[:, None])
    pmf = law(spec, index, increment)
    assert (pmf[distance > (spec.lattice.size if reach is None else reach)] == 0).all()


@stems
@some
@given(data=st.data())
def test_nan_stays(name, data):
    spec = data.draw(specs(name))
    for i in few_indices(spec.lattice):
        assert law(spec, i, math.nan).tolist() == np.eye(spec.lattice.size)[i].tolist()


@stems
@some
@given(data=st.data())
def test_arrays_have_the_laws_of_their_numbers(name, data):
    spec = data.draw(specs(name))
    x = np.array([data.draw(increments(spec.lattice)) for _ in range(3)])
    i = np.array(few_indices(spec.lattice))[:, None]
    together = law(spec, i, x)
    alone = [[law(spec, int(a), float(b)) for b in x] for a in i[:, 0]]
    assert together.shape == (i.size, 3, spec.lattice.size)
    assert (together == np.array(alone)).all()


@stems
@some
@given(data=st.data())
def test_infinities_are_the_limit_of_huge_increments(name, data):
    """Beyond 2**100 spacings nothing changes: the law of infinity is that of any such number."""
    spec = data.draw(specs(name))
    i, far = data.draw(indices(spec.lattice)), 2.0**100 * spec.lattice.spacing
    ends = law(spec, i, np.array([-math.inf, math.inf]))
    assert (ends == law(spec, i, np.array([-far, far]))).all()


@stems
@pytest.mark.parametrize("wrong", [-1, 3, np.array([0, 5])])
def test_an_index_off_the_lattice_is_refused(name, wrong):
    with pytest.raises(ValueError, match=r"an index is in 0\.\.2, got (-1|3|5)"):
        law(spec_class(name)(Lattice.ternary()), wrong, 0.0)
