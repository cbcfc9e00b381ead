"""Values check themselves after every kind of copying, and their arrays stay read-only.

Found by introspection: every frozen dataclass of `qtheory` that checks its fields.
"""

import copy
import dataclasses
import importlib
import pickle
import pkgutil

import numpy as np
import pytest
from scipy import sparse

import qtheory
from qtheory import Lattice
from qtheory.algorithms import StochasticRounding
from qtheory.chain import BandedChain, BirthDeathChain, MarkovChain, ProductChain, SparseChain
from qtheory.chain.product import SingleSiteChain
from qtheory.gradients.coarse.formulas import Layer
from qtheory.gradients.laboratory.measure import FiniteData
from qtheory.gradients.levels.descent import Quadratic
from qtheory.gradients.networks.affine import Affine
from qtheory.gradients.stochastic.categorical import Simplex
from qtheory.gradients.stochastic.units import Objective
from qtheory.increments import FiniteIncrements
from qtheory.increments.losses import LinearRegression, LogisticRegression
from qtheory.schedules import Window
from qtheory.transition import joint_chain
from qtheory.values import rebuilt


def quiet_increments(weights: np.ndarray) -> np.ndarray:
    return np.zeros((len(weights), 1, 2))


TWO = np.array([0.5, 0.25])
FLIP = np.array([[0.0, 0.5], [0.25, 0.0]])
# A value, and a field with what it refuses.
VALUES = [
    (Lattice.ternary(), {"size": 1}),
    (StochasticRounding(Lattice.ternary()), {}),
    (Window(1, 10, 20, 2), {"end": 5}),
    (MarkovChain(FLIP), {"off_diagonal": np.eye(2)}),
    (BirthDeathChain(TWO, TWO), {"up": -TWO}),
    (BandedChain(np.array([[0.5, 0.0]]), np.array([[0.0, 0.5]])), {"above": np.array([[2.0, 0]])}),
    (SparseChain.from_off_diagonal(sparse.csr_array(FLIP)), {"targets": np.array([0, 1])}),
    (ProductChain((MarkovChain(FLIP), MarkovChain(FLIP))), {"factors": ()}),
    (SingleSiteChain(np.array([[0.5, 0.0]]), np.array([[0.0, 0.5]])), {"up": np.array([[0, 0.5]])}),
    (joint_chain(StochasticRounding(Lattice.ternary()), 2, quiet_increments), {"dimension": 0}),
    (FiniteIncrements(TWO, np.array([0.5, 0.5])), {"probabilities": np.array([0.5, 0.25])}),
    (LinearRegression(FLIP, TWO), {"targets": np.array([np.nan, 0.0])}),
    (LogisticRegression(FLIP, np.array([1.0, -1.0])), {"signs": np.array([np.nan, 0.0])}),
    (Layer(TWO, TWO), {"filter": 0 * TWO}),
    (FiniteData(FLIP, FLIP, np.array([0.5, 0.5])), {"probabilities": TWO}),
    (Quadratic(np.eye(2), TWO), {"hessian": -np.eye(2)}),
    (Affine(FLIP, TWO), {"bias": np.array([np.inf, 0.0])}),
    (Simplex(TWO, np.eye(2), TWO), {"quadratic": FLIP}),
    (Objective(np.zeros(4), TWO, TWO), {"products": np.full(4, np.nan)}),
]
COPIES = {
    "copy": copy.copy,
    "deep copy": copy.deepcopy,
    "replace": dataclasses.replace,
    **{f"pickle {p}": lambda v, p=p: pickle.loads(pickle.dumps(v, p)) for p in (0, 2, 5)},
}


def checked() -> list[type]:
    """Frozen dataclasses of qtheory that check their fields."""
    found = set[type]()
    for module in pkgutil.walk_packages(qtheory.__path__, "qtheory."):
        if module.name.endswith("__main__"):
            continue
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind):
                frozen = kind.__dataclass_params__.frozen
                if frozen and hasattr(kind, "__post_init__"):
                    found.add(kind)
    return sorted(found, key=lambda kind: (kind.__module__, kind.__name__))


def arrays(value) -> list[np.ndarray]:
    fields = [getattr(value, f.name) for f in dataclasses.fields(value)]
    parts = [p for f in fields for p in (f if isinstance(f, tuple) else (f,))]
    inner = [a for p in parts if dataclasses.is_dataclass(p) for a in arrays(p)]
    return [p for p in parts if isinstance(p, np.ndarray)] + inner


@pytest.mark.parametrize("kind", checked(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_value_that_checks_itself_is_made_anew_by_copies(kind):
    assert kind.__reduce__ is rebuilt


def test_there_are_many_and_those_of_arrays_are_here():
    assert len(checked()) > 50
    here = {type(value) for value, _ in VALUES}
    chains = {kind for kind in checked() if kind.__name__.endswith("Chain")}
    assert chains <= here


@pytest.mark.parametrize(("value", "bad"), VALUES, ids=lambda part: type(part).__name__)
def test_copies_are_equal_and_as_safe(value, bad):
    before = [a.copy() for a in arrays(value)]
    assert not any(a.flags.writeable for a in arrays(value))
    for name, made in ((name, make(value)) for name, make in COPIES.items()):
        assert type(made) is type(value), name
        for one, other in zip(arrays(made), before, strict=True):
            assert np.array_equal(one, other) and one.dtype == other.dtype
            assert not one.flags.writeable, name
            with pytest.raises(ValueError, match="read-only"):
                one[...] = 7.0
    for field, wrong in bad.items():
        with pytest.raises(ValueError, match=r", got|got "):
            dataclasses.replace(value, **{field: wrong})
        make, (kind, given) = value.__reduce__()
        with pytest.raises(ValueError, match=r", got|got "):
            make(kind, {**given, field: wrong})


def test_the_arrays_of_a_value_are_its_own():
    """An array that was given may be changed afterwards; the value does not change."""
    for value, _ in VALUES:
        for field in dataclasses.fields(value):
            given = getattr(value, field.name)
            if isinstance(given, np.ndarray):
                mine = given.copy()
                made = dataclasses.replace(value, **{field.name: mine})
                assert not np.shares_memory(getattr(made, field.name), mine)


def test_a_cache_is_not_copied():
    """The table of moves that a joint chain keeps belongs to its own fields."""
    chain = joint_chain(StochasticRounding(Lattice.ternary()), 2, quiet_increments)
    law = chain.advance(np.full(9, 1 / 9))
    assert chain._kept
    for make in COPIES.values():
        made = make(chain)
        assert not made._kept
        assert np.array_equal(made.advance(np.full(9, 1 / 9)), law)
