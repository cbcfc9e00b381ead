"""Adding a stem without its strategy, its edge or one of its rooms fails here, by name."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from conformance.rooms import EDGES
from hypothesis import given
from hypothesis import strategies as st
from strategies import KNOBS, examples, few_indices, lattices, seed_of, specs, without_strategy

import qreference
from qcuda.kernels import abi
from qtheory.algorithms import SPECS, from_dict, parameters, stem, to_dict
from qtheory.algorithms.dst import DST
from qtheory.lattice import Lattice

ROOT = Path(__file__).resolve().parents[2]
stems = pytest.mark.parametrize("name", SPECS)


def test_every_stem_can_be_drawn():
    assert without_strategy() == []


def test_every_stem_declares_its_edge():
    assert list(EDGES) == list(SPECS)


def test_a_stem_without_a_strategy_is_named():
    @dataclasses.dataclass(frozen=True)
    class Bop:
        lattice: Lattice
        threshold: float

    registry = {**SPECS, "bop": Bop}
    assert without_strategy(registry) == [
        "bop has no strategy: add KNOBS['bop'] to tests/strategies.py"
    ]
    assert without_strategy(registry, {**KNOBS, "bop": {}}) == [
        "KNOBS['bop'] draws [], not ['threshold']"
    ]
    assert without_strategy({"dst": DST}) == [
        "stochastic_rounding is in KNOBS but not registered",
        "deterministic_rounding is in KNOBS but not registered",
    ]


def test_every_stem_has_a_reference_and_nothing_else_has():
    assert list(qreference.ALGORITHMS) == list(SPECS)
    for name, module in qreference.ALGORITHMS.items():
        assert module.__name__ == f"qreference.{name}"
        assert isinstance(module, qreference.Algorithm)


def test_kernels_number_the_rules_as_python_does(room):
    names = [room.library.qt_rule(k) for k in range(len(SPECS) + 1)]
    assert names == [*(rule.encode() for rule in abi.RULES), None]
    assert set(abi.RULES) == set(SPECS)


@stems
@examples(30)
@given(data=st.data())
def test_a_spec_survives_json_and_copies(name, data):
    spec = data.draw(specs(name))
    table = to_dict(spec)
    assert from_dict(json.loads(json.dumps(table))) == spec
    assert copy.deepcopy(spec) == spec
    assert hash(copy.copy(spec)) == hash(spec)
    assert (SPECS[stem(spec)], stem(spec)) == (type(spec), name)
    assert table["lattice"] == dataclasses.asdict(spec.lattice)
    assert parameters(spec) == tuple(table[knob] for knob in KNOBS[name])


@stems
def test_a_spec_is_a_value(name):
    spec = SPECS[name](Lattice.ternary())
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.lattice = Lattice.binary()


@stems
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"algorithm": "bop"}, "an algorithm is one of .*, got 'bop'"),
        ({"speed": 1.0}, "has the keys .*'speed'"),
        ({"lattice": None}, "Lattice is written as a table of its fields, got None"),
        ({"lattice": {"size": 3, "spacing": 1.0}}, "Lattice has the keys"),
    ],
)
def test_a_bad_table_is_refused(name, change, message):
    table = to_dict(SPECS[name](Lattice.ternary()))
    with pytest.raises(ValueError, match=message):
        from_dict(table | change)


@stems
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e39])
def test_a_knob_that_no_kernel_can_take_is_refused(name, bad):
    for knob in KNOBS[name]:
        with pytest.raises(ValueError, match="is positive and finite in float32"):
            SPECS[name](Lattice.ternary(), **{knob: bad})
    assert len(KNOBS[name]) <= 4  # the numbers a kernel has room for


@examples(30)
@given(lattice=lattices())
def test_lattices_are_drawn_as_promised(lattice):
    assert lattice.spacing == float(np.float32(lattice.spacing))
    assert (2 * lattice.zero).is_integer()
    assert {0, lattice.size - 1} <= set(few_indices(lattice))


def test_words_follow_from_arguments_and_run_key(monkeypatch):
    monkeypatch.delenv("QTHEORY_RUN_KEY", raising=False)
    fixed = seed_of("dst", np.arange(3))
    assert fixed == seed_of("dst", np.arange(3)) != seed_of("dst", np.arange(4))
    assert 0 <= fixed < 2**64
    monkeypatch.setenv("QTHEORY_RUN_KEY", "a night")
    assert seed_of("dst", np.arange(3)) != fixed
