"""Every stem's law is a law: a pmf, on at most two neighbouring levels, with the right limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conformance.rooms import law
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples, few_indices, increments, indices, powers_of_two, specs, weights

from qtheory.algorithms import SPECS
from qtheory.lattice import Lattice

some = examples(30)
stems = pytest.mark.parametrize("name", SPECS)


@stems
@some
@given(data=st.data())
def test_it_sums_to_one_on_two_neighbours(name, data):
    """(1 - p) + p is one within 2**-53, half a rounding of each of the two."""
    spec = data.draw(specs(name))
    index, increment = data.draw(weights(spec.lattice, 24))
    pmf = law(spec, index, increment)
    assert pmf.shape == (24, spec.lattice.size)
    assert (pmf >= 0).all() and (pmf <= 1).all()
    assert np.abs(pmf.sum(axis=-1) - 1).max() <= 2.0**-53
    for row, x in zip(pmf, increment, strict=True):
        reached = np.flatnonzero(row)
        assert reached.size <= 2
        assert reached[-1] - reached[0] == reached.size - 1  # neighbours
        assert not math.isfinite(x) or reached.size >= 1


@stems
@some
@given(data=st.data())
def test_moves_have_the_sign_of_the_increment(name, data):
    spec = data.draw(specs(name))
    index, increment = data.draw(weights(spec.lattice, 24))
    levels = np.arange(spec.lattice.size)
    pmf = law(spec, index, increment)
    against = (levels - index[:, None]) * np.sign(np.nan_to_num(increment))[:, None] < 0
    assert (pmf[against] == 0).all()


@stems
@some
@given(data=st.data())
def test_whole_spacings_are_certain(name, data):
    """Levels are fixed points, and a level away is reached surely: exact for powers of two."""
    spec = data.draw(specs(name, powers_of_two()))
    lattice = spec.lattice
    for i in few_indices(lattice):
        steps = data.draw(st.integers(-lattice.size - 1, lattice.size + 1))
        target = min(max(i + steps, 0), lattice.size - 1)
        assert (
            law(spec, i, steps * lattice.spacing).tolist() == np.eye(lattice.size)[target].tolist()
        )


@stems
@some
@given(data=st.data())
def test_nan_and_zeros_stay_and_infinities_go_to_the_ends(name, data):
    spec = data.draw(specs(name))
    i = data.draw(indices(spec.lattice))
    pmf = law(spec, i, np.array([math.nan, 0.0, -0.0, math.inf, -math.inf]))
    assert pmf.argmax(axis=-1).tolist() == [i, i, i, spec.lattice.size - 1, 0]
    assert (pmf.max(axis=-1) == 1).all()


@stems
@some
@given(data=st.data())
def test_arrays_have_the_laws_of_their_numbers(name, data):
    spec = data.draw(specs(name))
    x = np.array([data.draw(increments(spec.lattice)) for _ in range(3)])
    i = np.array(few_indices(spec.lattice))[:, None]
    together = law(spec, i, x)
    alone = [[law(spec, int(a), b) for b in x] for a in i[:, 0]]
    assert together.shape == (i.size, 3, spec.lattice.size)
    assert (together == np.array(alone)).all()


@stems
@pytest.mark.parametrize("wrong", [-1, 3, np.array([0, 5])])
def test_an_index_off_the_lattice_is_refused(name, wrong):
    with pytest.raises(ValueError, match=r"an index is in 0\.\.2, got (-1|3|5)"):
        law(SPECS[name](Lattice.ternary()), wrong, 0.0)
