"""What Hypothesis draws: specs of every stem, lattices, increments, words, schedules, sizes.

Specs are made from the contracts: a knob without examples has no strategy, and
tests/conformance/test_registry.py says so by name.

Random words of a test are keyed by `seed_of(arguments)`: a hash of what was drawn and of the run
key, so the search never sees a seed. QTHEORY_RUN_KEY=<any text> gives new words (and, with
--hypothesis-profile=deep, new examples), so that nightly runs add evidence instead of repeating it.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import reject, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from qtheory.algorithms import Spec, contract, spec_class
from qtheory.lattice import Lattice
from qtheory.optimisers import SGD, Adam, Momentum, Optimiser
from qtheory.streams import MAX_ELEMENT, MAX_ITERATION, MAX_SEED, MAX_TENSOR, Stream

KERNELS = Path(__file__).resolve().parents[1] / "cuda" / "csrc" / "cpu"
RUN_KEY = "QTHEORY_RUN_KEY"


def seed_of(*arguments: object) -> int:
    """A 64-bit seed from the arguments and the run key; arrays count by their bytes."""
    digest = hashlib.blake2b(os.environ.get(RUN_KEY, "").encode(), digest_size=8)
    for a in arguments:
        digest.update(a.tobytes() if isinstance(a, np.ndarray) else repr(a).encode())
    return int.from_bytes(digest.digest(), "little")


def examples(count: int) -> settings:
    """`count` examples under the profile ci; under another in proportion, deep 50 times more."""
    return settings(max_examples=count * settings().max_examples // 100)


# Lattices and specs

LATTICE_SIZES = [2, 3, 5, 17, 129, 255]
FEW = 5  # levels on which every spec takes every example of its knobs
SPACINGS = [1.0, 2.0, 2.0**-7, *(float(np.float32(s)) for s in (1 / 3, 0.1, 2 / 254, 1e-6, 7e5))]


@st.composite
def lattices(
    draw: st.DrawFn, sizes: list[int] = LATTICE_SIZES, spacings: list[float] = SPACINGS
) -> Lattice:
    """Spacings are float32 numbers, and the value 0 sits exactly on a half or a whole index."""
    size, spacing = draw(st.sampled_from(sizes)), draw(st.sampled_from(spacings))
    zero = draw(st.sampled_from([(size - 1) / 2, 0.0, 0.5, 1.0, size - 1.0, -2.5, size + 1.0]))
    lattice = Lattice(size=size, spacing=spacing, low=-zero * spacing)
    assert lattice.zero == zero
    return lattice


def powers_of_two() -> SearchStrategy[Lattice]:
    """Lattices on which measuring an increment rounds nothing."""
    return lattices(spacings=[2.0**k for k in range(-9, 4)])


def knobs(stem: str) -> SearchStrategy[dict[str, float | str]]:
    """A value for every knob of a stem: one of its contract's examples, or of its words."""
    values = {knob.name: knob.choices or knob.examples for knob in contract(stem).knobs}
    return st.fixed_dictionaries({name: st.sampled_from(each) for name, each in values.items()})


@st.composite
def specs(draw: st.DrawFn, stem: str, lattice: SearchStrategy[Lattice] | None = None) -> Spec:
    """A spec of a stem, as its contract says, on a lattice that it lives on.

    On few levels a spec takes every example of its knobs; what it refuses on many is not drawn.
    """
    own = contract(stem).lattices
    drawn = (st.sampled_from(own) if own else lattices()) if lattice is None else lattice
    where, values = draw(drawn), draw(knobs(stem))
    try:
        return spec_class(stem)(where, **values)
    except ValueError:
        if where.size <= FEW:
            raise
        reject()


def indices(lattice: Lattice) -> SearchStrategy[int]:
    """Ends first: that is where moves are cut."""
    ends = st.sampled_from([0, lattice.size - 1, lattice.centre])
    return st.one_of(ends, st.integers(0, lattice.size - 1))


def few_indices(lattice: Lattice) -> list[int]:
    """All of a small lattice's indices, the ends and the middle of a large one."""
    few = {0, 1, 2, lattice.size // 2, lattice.size - 2, lattice.size - 1}
    return sorted(few & set(range(lattice.size)))


# Increments

SPECIAL = [0.0, -0.0, 1e-45, -1e-45, 1e-38, -1e-30, 1e30, -3e38, math.inf, -math.inf, math.nan]


def measured(lattice: Lattice, increment: np.float32) -> float:
    """An increment in spacings: one float32 division, as every room measures it."""
    with np.errstate(over="ignore", under="ignore"):
        return float(increment / np.float32(lattice.spacing))


@st.composite
def increments(draw: st.DrawFn, lattice: Lattice) -> np.float32:
    """Ties and whole spacings with their neighbours, 2**-26 of a spacing, specials, the rest."""
    if draw(st.booleans()):
        return np.float32(draw(st.sampled_from(SPECIAL)))
    halves = st.integers(-2 * lattice.size - 3, 2 * lattice.size + 3).map(lambda k: k / 2)
    tiny = st.integers(-64, 64).map(lambda k: k * 2.0**-26)
    x = np.float32(draw(st.one_of(halves, st.floats(-3, 3, width=32), tiny)) * lattice.spacing)
    side = draw(st.sampled_from([0, -1, 1]))
    return np.nextafter(x, np.float32(side * np.inf)) if side else x


@st.composite
def weights(draw: st.DrawFn, lattice: Lattice, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and increments of `count` weights: a drawn pattern, repeated."""
    pairs = st.tuples(indices(lattice), increments(lattice))
    pattern = draw(st.lists(pairs, min_size=1, max_size=24))
    index, increment = zip(*pattern, strict=True)
    return (
        np.resize(np.array(index, np.int64), count),
        np.resize(np.array(increment, np.float32), count),
    )


# Words


class Place(NamedTuple):
    """What, beside the element, a word depends on; and the first element."""

    seed: int
    iteration: int
    tensor: int
    offset: int


def places(count: int = 0) -> SearchStrategy[Place]:
    """Both ends of every number, halves of 64-bit ones, and block numbers that carry."""
    last = MAX_ELEMENT + 1 - max(count, 1)
    offsets = [0, 1, 2, 3, 5, RUN - 1, RUN, 2**33 + 1, 2**34 - 5, 2**34, last]
    return st.builds(
        Place,
        seed=st.sampled_from([0, 1, 2**32, 2**63 + 5, MAX_SEED]),
        iteration=st.sampled_from([1, 2, 3, 2**16, 2**31, MAX_ITERATION]),
        tensor=st.sampled_from([0, 1, 2, 2**16, 2**31 + 1, MAX_TENSOR]),
        offset=st.sampled_from(offsets),
    )


streams = st.sampled_from(Stream)
every_word = (np.arange(2**16, dtype=np.uint32) << 16) + 2**15  # the middles of equal cells


# Sizes


def _constant(name: str, file: str) -> str:
    found = re.search(rf"constexpr int64_t {name} = ([^;]+);", (KERNELS / file).read_text())
    assert found is not None, f"{file} does not say what {name} is"
    return found[1]


RUN = int(_constant("RUN", "step.h"))  # weights whose words are made at once
TASK = int(_constant("TASK", "library.cpp").removesuffix("* RUN")) * RUN  # a thread's portion
EDGES = [4, 32, 64, 128, 256, RUN, 2 * RUN]  # a word or byte, warps, blocks, runs
SMALL_SIZES = sorted({0, 1, 2, 3, *(e + d for e in EDGES for d in (-1, 0, 1))})
LARGE_SIZES = [TASK - 1, TASK, TASK + 1]
sizes = st.sampled_from(SMALL_SIZES)


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, int]:
    """Of a weight matrix: one to some hundreds of weights, rarely a multiple of four."""
    return draw(st.integers(1, 9)), draw(st.sampled_from([1, 2, 3, 4, 5, 31, 32, 33, 65]))


# Optimisers and schedules

optimisers: SearchStrategy[Optimiser] = st.one_of(
    st.builds(SGD, st.sampled_from([0.0, 0.3, 2.0, 2.0**25])),
    st.builds(Momentum, st.sampled_from([0.1, 1.0]), st.sampled_from([0.0, 0.5, 0.9])),
    st.builds(
        Adam,
        st.sampled_from([1e-3, 0.1, 1.0]),
        st.sampled_from([(0.9, 0.999), (0.7, 0.99), (0.0, 0.5)]),
        st.sampled_from([1e-8, 1e-3]),
    ),
)
schedules = st.one_of(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]), min_size=1, max_size=5),
    st.builds(
        lambda rate, length: [rate**k for k in range(length)],
        st.sampled_from([0.5, 0.9, 1.0]), st.integers(1, 5),
    ),
)  # fmt: skip
"""Factors of the learning rate, one for each iteration."""


@st.composite
def gradients(draw: st.DrawFn, shape: tuple[int, ...]) -> np.ndarray:
    """A drawn pattern, repeated: ordinary, below half precision's range, special."""
    ordinary = st.floats(-4, 4, width=32)
    small = st.sampled_from([1e-9, -3e-8, 2.0**-26, -(2.0**-26), 1e-40])
    number = st.one_of(ordinary, ordinary, small, st.sampled_from(SPECIAL))
    pattern = draw(st.lists(number, min_size=1, max_size=16))
    return np.resize(np.array(pattern, np.float32), shape)
