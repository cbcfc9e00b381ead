"""A chain in every form that it may have, for every function that takes one."""

import inspect
import re
import warnings
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse

import qtheory.chain as public
from qtheory.chain import MarkovChain, SparseChain, from_transition_matrix
from qtheory.chain.forms import as_sparse, as_stored, dense

MATRIX = np.array(  # dyadic, reversible, aperiodic
    [[0.75, 0.25, 0, 0], [0.5, 0, 0.5, 0], [0, 0.25, 0.5, 0.25], [0, 0, 0.125, 0.875]]
)
CHAIN = MarkovChain(MATRIX - np.diag(MATRIX.diagonal()))
LAW = np.full(4, 0.25)
VALUES = np.array([0.0, 1.0, 3.0, 7.0])
FORMATS = ("csr", "csc", "coo", "lil", "dok", "dia", "bsr")
FORMS = {
    "float32": MATRIX.astype(np.float32),
    "Fortran order": np.asfortranarray(MATRIX),
    "nested lists": MATRIX.tolist(),
    "rows": list(MATRIX),
    "Fractions": [[Fraction(p) for p in row] for row in MATRIX.tolist()],
    **{f"{f}_array": getattr(scipy.sparse, f"{f}_array")(MATRIX) for f in FORMATS},
    **{f"{f}_matrix": getattr(scipy.sparse, f"{f}_matrix")(MATRIX) for f in FORMATS},
    "float32 csr": scipy.sparse.csr_array(MATRIX.astype(np.float32)),
    "sparse chain": as_sparse(CHAIN),
}

# What else functions are asked for.
OTHERS = {
    "initial": LAW, "iterations": 3, "targets": [3], "avoiding": [0], "source": [0], "target": [3],
    "inside": [0, 1], "start": 1, "seed": 5, "blocks": [0, 1, 2, 3], "values": VALUES, "tilt": 0.1,
    "mean": 5.0, "order": VALUES, "law": LAW, "ground": 0, "weights": np.arange(1.0, 5.0),
    "second": CHAIN, "guess": np.append(0.0, np.full(3, 1e3)),
}  # fmt: skip
OWN = {
    "passage_time": {"source": 0, "target": 3},
    "passage_law": {"target": 3},
    "distances": {"iterations": [1, 3]},
    "verified_times": {"guess": public.hitting_times(CHAIN, 0)},
    "certify": {"times": public.verified_times(CHAIN, 0, public.hitting_times(CHAIN, 0))},
    "evolve_inhomogeneous": {},
}
DRAWS = {"plot_chain", "plot_mixing"}


def takers() -> dict[str, str]:
    """Every public function that takes a chain in any form, and the name of that argument."""
    return {
        name: parameter.name
        for name, function in vars(public).items()
        if inspect.isfunction(function) and name not in DRAWS
        for parameter in list(inspect.signature(function).parameters.values())[:1]
        if re.search("AnyChain", str(parameter.annotation))
    }


def numbers(answer) -> np.ndarray:
    """All numbers of an answer, in order."""
    if answer is None:
        return np.zeros(0)
    if isinstance(answer, MarkovChain):
        return answer.off_diagonal.ravel()
    if isinstance(answer, public.Certificate):
        answer = (answer.total_variation, answer.residual, answer.ground, answer.longest)
    if isinstance(answer, tuple | list | Iterator):
        return np.concatenate([np.zeros(0), *(numbers(part) for part in answer)])
    return np.atleast_1d(np.asarray(answer, dtype=np.float64)).ravel()


def ask(name: str, form) -> np.ndarray:
    function, first = getattr(public, name), takers()[name]
    required = [
        p.name
        for p in list(inspect.signature(function).parameters.values())[1:]
        if p.default is inspect.Parameter.empty
    ]
    own = OWN.get(name, {})
    others = {**{k: OTHERS[k] for k in required if k not in own}, **own}
    given = [form, form] if name in ("evolve_inhomogeneous", "inhomogeneous_laws") else form
    return numbers(function(**{first: given}, **others))


def test_every_function_of_a_chain_takes_every_form():
    """Those that do not are asked about a form of their own, or about no chain."""
    typed = {
        name
        for name, function in vars(public).items()
        if inspect.isfunction(function)
        and re.search("Chain", str(inspect.signature(function)).split("->")[0])
    }
    own = {"propagate", "rate", "rates_below", "lump_permutations", "single_site_limit"}
    assert typed - own - DRAWS == set(takers())
    assert len(takers()) > 50


@pytest.mark.parametrize("name", sorted(takers()))
def test_forms_have_one_answer(name):
    """Sparse and dense elimination round differently, by 2 n**3 roundings at most, twice."""
    expected = ask(name, CHAIN)
    for form, given in FORMS.items():
        found = ask(name, given)
        assert found == pytest.approx(expected, rel=4 * 4**3 * 2.0**-53, abs=2.0**-45), form


@pytest.mark.parametrize("name", ["period", "cyclic_classes", "stationary_distribution"])
@pytest.mark.parametrize("kind", [np.int64, np.int8, np.bool_, np.float16, object])
def test_a_permutation_may_be_of_integers(name, kind):
    ring = np.roll(np.eye(3), 1, axis=1).astype(kind)
    expected = ask(name, from_transition_matrix(np.roll(np.eye(3), 1, axis=1)))
    assert np.array_equal(ask(name, ring), expected)


def test_rows_of_float32_are_held_to_their_own_rounding():
    """n + 1 roundings of 2**-23; the same numbers as float64 miss 2**-52 and are refused."""
    rng = np.random.Generator(np.random.PCG64(1))
    matrix = rng.uniform(size=(50, 50)).astype(np.float32)
    matrix /= matrix.sum(axis=1, keepdims=True)
    assert np.abs(matrix.astype(np.float64).sum(axis=1) - 1).max() > 51 * 2.0**-52
    for form in (matrix, scipy.sparse.csr_array(matrix)):
        law = public.stationary_distribution(form)
        assert abs(law.sum() - 1) <= 50 * 2.0**-53
    for form in (matrix.astype(np.float64), scipy.sparse.csr_array(matrix.astype(np.float64))):
        with pytest.raises(ValueError, match=r"rows sum to one.*normalise=True"):
            from_transition_matrix(form)
    matrix[7] *= np.float32(1 + 52 * 2.0**-23)
    with pytest.raises(ValueError, match=r"got 1\.0000\d+ in row 7, off by more than 6\.1e-06"):
        from_transition_matrix(matrix)


def test_rows_are_normalised_on_demand_and_it_is_said_by_how_much():
    counts = np.array([[1, 3], [2, 2]])
    for form in (counts, counts.tolist(), scipy.sparse.coo_matrix(counts)):
        with pytest.warns(UserWarning, match=r"were off by 3 at most \(row 0\)"):
            chain = from_transition_matrix(form, normalise=True)
        assert dense(chain).off_diagonal.tolist() == [[0.0, 0.75], [0.5, 0.0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_transition_matrix(MATRIX, normalise=True)
    for form in ([[1, 0], [0, 0]], scipy.sparse.csr_array([[1, 0], [0, 0]])):
        with pytest.raises(ValueError, match="a row to normalise has a sum > 0, got 0 in row 1"):
            from_transition_matrix(form, normalise=True)


WRONG = {
    "a square matrix": [[0.5, 0.5]],
    r"rows sum to one, got 0\.5 in row 0, .*normalise=True.*MarkovChain": [[0.0, 0.5], [0.5, 0.0]],
    r">= 0, got -0\.5 at \(0, 0\)": [[-0.5, 1.5], [0.5, 0.5]],
    r"finite and >= 0, got nan at \(1, 0\)": [[0.5, 0.5], [np.nan, 1.0]],
}


@pytest.mark.parametrize(("message", "matrix"), WRONG.items())
def test_what_is_no_transition_matrix_says_what_to_do(message, matrix):
    for form in (matrix, np.array(matrix), scipy.sparse.csr_array(np.array(matrix))):
        for question in (from_transition_matrix, public.stationary_distribution):
            with pytest.raises(ValueError, match=message) as caught:
                question(form)
            assert "\n" not in str(caught.value)


def test_other_numbers_and_other_doors():
    with pytest.raises(ValueError, match="real numbers, got complex128"):
        from_transition_matrix(np.eye(2) * 1j)
    with pytest.raises(ValueError, match=r"0\.75 at 0; `from_transition_matrix` takes"):
        MarkovChain(MATRIX)
    assert isinstance(as_stored(scipy.sparse.eye_array(3)), SparseChain)


def test_the_exact_room_takes_a_diagonal_that_completes_its_row():
    third = Fraction(1, 3)
    for form in ([[0, third], [third, 0]], [[1 - third, third], [third, 1 - third]]):
        assert public.exact_stationary_distribution(form) == [Fraction(1, 2)] * 2
    with pytest.raises(ValueError, match="completes its row to one, got 1/3 at 0"):
        public.exact_stationary_distribution([[third, third], [third, 1 - third]])
    assert public.exact_hitting_times(MATRIX, 3) == public.exact_hitting_times(CHAIN, 3)
