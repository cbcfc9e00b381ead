"""The rows that a study compares, and the configurations that it tries."""

from __future__ import annotations

import numpy as np
import pytest

from qcuda.study.rules import RULES, Between, OneOf, configurations, knobs_of
from qtheory.algorithms import contract


@pytest.mark.parametrize("count", [1, 5, 12])
def test_every_part_of_every_range_is_met_once(count: int):
    space = {"rate": Between(1e-3, 0.4), "momentum": Between(1.0, 2.0)}
    found = configurations(space, count, 3)
    for name, one in space.items():
        places = np.array([np.log(c[name] / one.low) / np.log(one.high / one.low) for c in found])
        assert sorted((places * count).astype(int)) == list(range(count))
    assert found == configurations(space, count, 3)
    assert found != configurations(space, count, 4)


def test_choices_are_met_alike():
    found = configurations({"x": OneOf(("a", "b", "c"))}, 12, 0)
    assert sorted(one["x"] for one in found) == ["a"] * 4 + ["b"] * 4 + ["c"] * 4


@pytest.mark.parametrize("name", RULES)
def test_a_row_has_a_value_for_all_that_it_needs(name: str):
    rule = RULES[name]
    for values in configurations(rule.space, 7, 0):
        given = {**rule.fixed, **values}
        assert given["learning_rate"] > 0
        assert set(rule.falling) <= set(given)
        if rule.stem is not None:
            spec = contract(rule.stem).spec(**rule.where, **knobs_of(rule, given))
            assert all(getattr(spec, knob) == given[knob] for knob in knobs_of(rule, given))
        else:
            assert knobs_of(rule, given) == {}
        strays = set(given) - set(knobs_of(rule, given))
        assert strays <= {"learning_rate", "momentum", "threshold"}


def test_bits_of_state():
    bits = {name: RULES[name].state_bits for name in RULES}
    known = {"float": 96, "ste": 96, "walker8": 8, "walker6": 6, "walker2": 2, "walker8_int8": 16}
    assert known.items() <= bits.items()
    assert bits["dst"] == 66
