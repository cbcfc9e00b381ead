"""Adding a stem without its examples or one of its rooms fails here, by name."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples, few_indices, lattices, seed_of, specs

import qreference
from qreference import walker
from qtheory.algorithms import (
    STEMS,
    contract,
    from_dict,
    parameters,
    rows,
    spec_class,
    stem,
    to_dict,
    usual,
    walkers,
)
from qtheory.lattice import Lattice

ROOT = Path(__file__).resolve().parents[2]
stems = pytest.mark.parametrize("name", STEMS)


@stems
def test_every_knob_can_be_drawn_and_turned(name):
    """A knob has words, or several numbers of its interval; its default is one of them."""
    for knob in contract(name).knobs:
        values = knob.choices or knob.examples
        assert len(values) > 1, f"{name}: the knob {knob.name} has no examples"
        assert knob.default in values
        for value in values:
            assert knob.choices or knob.low < knob.number(value) <= knob.high
            usual(name, **{knob.name: value})


@pytest.mark.parametrize("name", walkers())
def test_every_walker_has_a_reference(name):
    module = qreference.algorithm(usual(name))
    assert module.__name__ == f"qreference.{name}"
    assert isinstance(module, qreference.Walker)


@pytest.mark.parametrize("name", walkers())
def test_an_edge_is_a_width(name):
    """Not negative, and small: a probability of 2**-18, and two words for rounding."""
    spec = usual(name)
    columns = walker.outcomes(spec, np.ones(1, np.int64), np.zeros(1, np.float32)).thresholds
    values = np.array([0, 1, 2**16, 2**31, 2**32], np.uint64)
    thresholds = np.repeat(values[:, None], columns.shape[-1], axis=1)
    width = qreference.edge(spec, thresholds)
    assert width.shape == thresholds.shape
    assert (width >= 0).all() and (width <= 2**14 + 2).all()


def test_kernels_number_the_rules_as_python_does(room):
    names = [room.library.qt_rule(k) for k in range(len(walkers()) + 1)]
    assert names.pop() is None
    assert {name.decode() for name in names} == set(walkers())


@stems
@examples(30)
@given(data=st.data())
def test_a_spec_survives_json_and_copies(name, data):
    spec = data.draw(specs(name))
    table = to_dict(spec)
    assert from_dict(json.loads(json.dumps(table))) == spec
    assert copy.deepcopy(spec) == spec
    assert hash(copy.copy(spec)) == hash(spec)
    assert (spec_class(stem(spec)), stem(spec)) == (type(spec), name)
    assert table["lattice"] == dataclasses.asdict(spec.lattice)
    numbers = tuple(knob.number(table[knob.name]) for knob in contract(name).knobs)
    assert parameters(spec) == numbers


@stems
def test_a_spec_is_a_value(name):
    spec = usual(name)
    assert spec.lattice == (*contract(name).lattices, Lattice.ternary())[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.lattice = Lattice.binary()


@pytest.mark.parametrize("row", rows().values(), ids=list(rows()))
def test_a_published_method_is_a_spec_with_a_name_of_its_own(row):
    """A name that two methods have would leave one of them out of the table."""
    assert sum(len(contract(name).rows) for name in STEMS) == len(rows())
    assert rows()[row.name] is row and row.source
    assert from_dict(to_dict(row.spec)) == row.spec


@stems
def test_a_lattice_where_an_algorithm_does_not_live_is_refused(name):
    for lattice in contract(name).lattices:
        assert spec_class(name)(lattice).lattice == lattice
    for lattice in (Lattice(3, 1.0, 0.0), Lattice(7, 0.3, 1.0)):
        if contract(name).lattices:
            with pytest.raises(ValueError, match="got Lattice"):
                spec_class(name)(lattice)
        else:
            assert spec_class(name)(lattice).lattice == lattice


@stems
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"algorithm": "nosuch"}, "an algorithm is one of .*, got 'nosuch'"),
        ({"speed": 1.0}, "has the keys .*'speed'"),
        ({"lattice": None}, "Lattice is written as a table of its fields, got None"),
        ({"lattice": {"size": 3, "spacing": 1.0}}, "Lattice has the keys"),
    ],
)
def test_a_bad_table_is_refused(name, change, message):
    table = to_dict(usual(name))
    with pytest.raises(ValueError, match=message):
        from_dict(table | change)


@stems
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e39])
def test_a_knob_that_no_kernel_can_take_is_refused(name, bad):
    knobs = contract(name).knobs
    for knob in (k for k in knobs if not k.choices):
        for value in (bad, knob.low):
            with pytest.raises(ValueError, match="got"):
                usual(name, **{knob.name: value})
    assert len(knobs) <= 4  # the numbers a kernel has room for


@examples(30)
@given(lattice=lattices())
def test_lattices_are_drawn_as_promised(lattice):
    assert lattice.spacing == float(np.float32(lattice.spacing))
    assert (2 * lattice.zero).is_integer()
    assert {0, lattice.size - 1} <= set(few_indices(lattice))


def test_words_follow_from_arguments_and_run_key(monkeypatch):
    monkeypatch.delenv("QTHEORY_RUN_KEY", raising=False)
    fixed = seed_of("a stem", np.arange(3))
    assert fixed == seed_of("a stem", np.arange(3)) != seed_of("a stem", np.arange(4))
    assert 0 <= fixed < 2**64
    monkeypatch.setenv("QTHEORY_RUN_KEY", "a night")
    assert seed_of("a stem", np.arange(3)) != fixed
