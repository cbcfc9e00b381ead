"""The registry: every stem has a spec, a law, and a plain dict that gives the spec back."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtheory import DST, DeterministicRounding, Lattice, StochasticRounding
from qtheory.algorithms import from_dict, law, parameters, spec_class, stem, to_dict, walkers

lattices = st.builds(
    Lattice, size=st.integers(2, 300), spacing=st.floats(1e-6, 1e6), low=st.floats(-1e6, 1e6)
)
specs = st.one_of(
    st.builds(DST, lattices, st.floats(1e-3, 1e3)),
    st.builds(StochasticRounding, lattices),
    st.builds(DeterministicRounding, lattices),
)


@given(specs)
def test_a_spec_survives_json(spec):
    assert from_dict(json.loads(json.dumps(to_dict(spec)))) == spec


@given(specs)
def test_a_spec_knows_its_stem(spec):
    assert spec_class(stem(spec)) is type(spec)


@pytest.mark.parametrize("name", walkers())
def test_every_walker_has_a_law(name):
    spec = from_dict({"algorithm": name, "lattice": {"size": 3, "spacing": 1.0, "low": -1.0}})
    assert law(spec, 1, np.nan).tolist() == [0.0, 1.0, 0.0]


def test_parameters_come_without_the_lattice():
    assert parameters(DST(Lattice.ternary(), 2.5)) == (2.5,)
    assert parameters(StochasticRounding(Lattice.ternary())) == ()


def test_what_is_not_a_spec_has_no_stem():
    with pytest.raises(TypeError):  # its own, or the type checker's, which runs while testing
        stem(Lattice.ternary())


LATTICE = {"size": 3, "spacing": 1.0, "low": -1.0}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"algorithm": "adam"}, "an algorithm is one of"),
        ({}, "an algorithm is one of"),
        ({"algorithm": "dst"}, "written as a table"),
        ({"algorithm": "dst", "lattice": {"size": 3}}, "Lattice has the keys"),
        ({"algorithm": "dst", "lattice": LATTICE, "m": 3.0}, "DST has the keys"),
        ({"algorithm": "dst", "lattice": LATTICE, "nonlinearity": 0.0}, "nonlinearity is positive"),
        ({"algorithm": "dst", "lattice": {**LATTICE, "size": 1}}, "at least two levels, got 1"),
    ],
)
def test_a_bad_table_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        from_dict(values)


@given(
    specs,
    st.data(),
    st.one_of(
        st.floats(width=32),
        st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e308, -1e308, 5e-324]),
    ),
)
def test_a_law_is_a_law(spec, data, increment):
    """Sums to one exactly: (1 - p) + p is one in floats for p in [0, 1] by Sterbenz for p >= 1/2,
    and within half a rounding below; two halves of 2**-54 are allowed."""
    index = data.draw(st.integers(0, spec.lattice.size - 1))
    pmf = law(spec, index, increment)
    assert pmf.shape == (spec.lattice.size,)
    assert (pmf >= 0).all()
    assert abs(pmf.sum() - 1.0) <= 2.0**-53


@given(specs, st.data())
def test_nan_stays_and_infinities_go_to_the_ends(spec, data):
    index = data.draw(st.integers(0, spec.lattice.size - 1))
    targets = [np.argmax(law(spec, index, x)) for x in (np.nan, np.inf, -np.inf)]
    assert targets == [index, spec.lattice.size - 1, 0]


@given(specs, st.sampled_from([-1, 300, 10**6]))
def test_an_index_is_on_the_lattice(spec, index):
    with pytest.raises(ValueError, match="an index is in"):
        law(spec, index if index < 0 else spec.lattice.size, 0.0)


@given(specs, st.data(), st.floats(-1e6, 1e6))
def test_what_goes_up_goes_down_in_the_mirror(spec, data, increment):
    """A lattice mirrored about 0 has the mirrored law, unless a half-way point is the value 0
    or the mirrored low is rounded; those are excluded, not tolerated."""
    lattice = spec.lattice
    mirrored = Lattice(lattice.size, lattice.spacing, -lattice.high)
    index = data.draw(st.integers(0, lattice.size - 1))
    distance = abs(increment) / lattice.spacing % 1
    if distance == 0.5:
        return
    other = from_dict(
        {**to_dict(spec), "lattice": to_dict(spec)["lattice"] | {"low": mirrored.low}}
    )
    there = law(other, lattice.size - 1 - index, -increment)
    assert (law(spec, index, increment) == there[::-1]).all()
