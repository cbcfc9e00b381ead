"""Sets of states are read alike by every function that takes them, in every form NumPy has."""

import inspect
import math

import numpy as np
import pytest

import qtheory.chain as public
from qtheory.chain import BirthDeathChain, MarkovChain, SparseChain
from qtheory.chain.forms import as_sparse
from qtheory.chain.states import blocks_of, mask_of, state_of

WALK = BirthDeathChain(np.array([0.25, 0.5, 0.25, 0.125]), np.array([0.5, 0.25, 0.5, 0.25]))
CHAIN = WALK.to_dense()
SIZE = 5
VALLEY = [0, 3, 1, 2, 0]
EDGES = public.line(SIZE)
GUESS = public.hitting_times(CHAIN, 1)  # a supersolution but for rounding

# Every public function with arguments that are sets, or states, and the others that it needs.
SETS = {
    ("hitting_times", "targets"): {"chain": CHAIN},
    ("hitting_probabilities", "targets"): {"chain": CHAIN},
    ("hitting_probabilities", "avoiding"): {"chain": CHAIN, "targets": 4},
    ("exact_hitting_times", "targets"): {"chain": CHAIN},
    ("committor", "source"): {"chain": CHAIN, "target": 4},
    ("committor", "target"): {"chain": CHAIN, "source": 4},
    ("capacity", "source"): {"chain": CHAIN, "target": 4},
    ("capacity", "target"): {"chain": CHAIN, "source": 4},
    ("escape_time", "inside"): {"chain": CHAIN},
    ("quasi_stationary", "inside"): {"chain": CHAIN},
    ("exit_law", "inside"): {"chain": CHAIN},
    ("conductance", "states"): {"chain": CHAIN},
}
SINGLES = {
    ("passage_time", "source"): {"chain": CHAIN, "target": 4},
    ("passage_time", "target"): {"chain": CHAIN, "source": 4},
    ("times_from", "start"): {"chain": CHAIN},
    ("passage_law", "target"): {"chain": WALK},
    ("simulate", "start"): {"chain": CHAIN, "iterations": 9, "seed": 1},
    ("verified_times", "ground"): {"chain": CHAIN, "guess": GUESS},
    ("mean_times", "ground"): {"chain": CHAIN},
    ("log_passage_time", "start"): {"up": WALK.up, "down": WALK.down, "target": 4},
    ("log_passage_time", "target"): {"up": WALK.up, "down": WALK.down, "start": 4},
    ("communication_height", "start"): {"energy": VALLEY, "edges": EDGES, "end": 4},
    ("communication_height", "end"): {"energy": VALLEY, "edges": EDGES, "start": 4},
}
PARTITIONS = {
    ("is_lumpable", "blocks"): {"chain": CHAIN},
    ("lump", "blocks"): {"chain": MarkovChain(np.full((4, 4), 0.125) - np.eye(4) / 8)},
    ("coarsest_lumping", "blocks"): {"chain": CHAIN},
}

TWO = np.array([False, True, True, False, False])
FORMS = {
    "list": [1, 2],
    "tuple": (2, 1),
    "repeated": [1, 2, 1],
    "set": {1, 2},
    "frozenset": frozenset({1, 2}),
    "range": range(1, 3),
    "slice": slice(1, 3),
    "dict keys": {1: "a", 2: "b"}.keys(),
    "generator": (k for k in (1, 2)),
    "int64": np.array([1, 2]),
    "uint8": np.array([1, 2], dtype=np.uint8),
    "NumPy integers": [np.int32(1), np.int64(2)],
    "mask": TWO,
    "listed mask": TWO.tolist(),
    "flatnonzero": np.flatnonzero(TWO),
    "nonzero": np.nonzero(TWO),
}
WRONG = {
    "short mask": (TWO[:4], r"a mask has a value for each of 5 states, got 4"),
    "beyond": ([1, 5], r"a state is in 0\.\.4, got 5"),
    "negative": ([1, -1], r"a state is in 0\.\.4, got -1"),
    "float": ([1.0, 2.0], r"states are integers, got 1\.0"),
    "text": ("12", r"states are integers, got '12'"),
    "mixed": ([True, 2], r"integers or all truth values, got \[True, 2\]"),
    "nested": ([[1], [2]], r"integers or all truth values, got \[\[1\], \[2\]\]"),
    "two axes": (np.array([[1], [2]]), r"one axis, got shape \(2, 1\)"),
}


def identify(part) -> str:
    return ".".join(part) if isinstance(part, tuple) else ""


def numbers(answer) -> np.ndarray:
    """All numbers of an answer, in order."""
    if isinstance(answer, MarkovChain):
        return answer.off_diagonal.ravel()
    if isinstance(answer, tuple | list):
        return np.concatenate([numbers(part) for part in answer])
    return np.atleast_1d(np.asarray(answer, dtype=np.float64)).ravel()


def ask(function: str, argument: str, value, others) -> np.ndarray:
    return numbers(getattr(public, function)(**others, **{argument: value}))


def test_every_function_that_takes_states_is_here():
    found = {
        (name, parameter.name): parameter.annotation.split(" ")[0]
        for name, function in vars(public).items()
        if inspect.isfunction(function)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.annotation.split(" ")[0] in ("States", "State", "Partition")
    }
    assert {k for k, kind in found.items() if kind == "States"} == set(SETS)
    assert {k for k, kind in found.items() if kind == "State"} == set(SINGLES)
    assert {k for k, kind in found.items() if kind == "Partition"} == set(PARTITIONS)
    words = ("target", "targets", "source", "start", "inside", "states", "blocks", "ground", "end")
    loose = {
        (name, parameter)
        for name, function in vars(public).items()
        if inspect.isfunction(function)
        for parameter in inspect.signature(function).parameters
        if parameter in words
    }
    others = {("log_diffusion_passage_time", "start")}  # a weight
    assert loose - others <= set(found)


@pytest.mark.parametrize(("case", "others"), SETS.items(), ids=identify)
def test_every_form_of_a_set_is_the_same_set(case, others):
    expected = ask(*case, [1, 2], others)
    for name, form in FORMS.items():
        if name == "generator":
            form = (k for k in (1, 2))
        assert np.array_equal(ask(*case, form, others), expected), name
    one = ask(*case, [1], others)
    for form in (1, np.int64(1), np.array(1), {1}, slice(1, 2), np.arange(SIZE) == 1):
        assert np.array_equal(ask(*case, form, others), one)


@pytest.mark.parametrize(("case", "others"), SETS.items(), ids=identify)
def test_what_is_no_set_of_states_is_one_sentence(case, others):
    for form, message in WRONG.values():
        with pytest.raises(ValueError, match=message) as caught:
            ask(*case, form, others)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("case", "others"), SINGLES.items(), ids=identify)
def test_one_state_is_an_integer_of_any_type(case, others):
    expected = ask(*case, 1, others)
    for form in (np.int64(1), np.uint8(1), np.array(1)):
        assert np.array_equal(ask(*case, form, others), expected)
    with pytest.raises(ValueError, match=r"a state is in 0\.\.4, got 5"):
        ask(*case, 5, others)
    with pytest.raises(ValueError, match=r"a state is in 0\.\.4, got -1"):
        ask(*case, np.int64(-1), others)
    for wrong in (1.0, True, np.bool_(True), [1, 2], TWO, "1"):
        with pytest.raises(ValueError, match=r"integer|got"):
            state_of(SIZE, wrong)


@pytest.mark.parametrize(("case", "others"), PARTITIONS.items(), ids=identify)
def test_a_partition_is_labels_or_sets(case, others):
    size = others["chain"].size
    labels = np.arange(size) % 2
    expected = ask(*case, labels, others)
    sets = [set(np.flatnonzero(labels == k).tolist()) for k in (0, 1)]
    masks = [labels == 0, labels == 1]
    for form in (labels.tolist(), labels.astype(np.uint8), sets, masks, [sets[0], masks[1]]):
        assert np.array_equal(ask(*case, form, others), expected)
    wrong = {
        "without gaps": [2] * size,
        "each state in one block, and none is empty, got state 0 in 2": [{0}, range(size)],
        "got state 1 in 0 blocks": [{0}, set(range(2, size))],
        "got an empty block": [range(size), []],
        "a state is in": [range(size), [size]],
        "states are integers": labels.astype(float),
    }
    for message, form in wrong.items():
        with pytest.raises(ValueError, match=message):
            ask(*case, form, others)


def test_one_float_is_no_state():
    with pytest.raises(ValueError, match=r"states are integers, got 1\.5"):
        mask_of(SIZE, 1.5)


def test_all_forms_of_a_chain_read_sets_alike():
    for chain in (CHAIN, WALK, as_sparse(CHAIN), CHAIN.transition_matrix):
        assert public.hitting_times(chain, TWO)[TWO].tolist() == [0.0, 0.0]
        assert public.hitting_times(chain, TWO)[0] == 4.0
    assert isinstance(as_sparse(CHAIN), SparseChain)


def test_the_empty_set_is_empty():
    for empty in ([], (), set(), np.array([]), np.zeros(SIZE, bool), slice(0, 0), range(0)):
        assert not mask_of(SIZE, empty).any()
        with pytest.raises(ValueError, match="at least one target, got none"):
            public.hitting_times(CHAIN, empty)


def test_a_mask_is_not_read_as_numbers():
    """The mistake of old: True and False are the numbers 1 and 0, and every state was a target."""
    mask = np.array([False, False, False, False, True])
    assert public.hitting_times(CHAIN, mask).tolist() == public.hitting_times(CHAIN, 4).tolist()
    assert np.isfinite(public.hitting_times(CHAIN, mask)).all()
    assert blocks_of(2, [True, False]).tolist() == [1, 0]
    assert math.isclose(public.conductance(CHAIN, mask), public.conductance(CHAIN, {4}))
