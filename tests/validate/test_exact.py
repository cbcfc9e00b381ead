"""Ladders (a) and (b) and tomography: they hold, and a fault of any kind ends that."""

from __future__ import annotations

import numpy as np
import pytest
from validate import faults

from qcuda.kernels import native
from qcuda.validate import aim, reference_law, same_words, tomography
from qcuda.validate.kernels import Draw, cpu_libraries
from qcuda.watch.odds import odds
from qtheory.algorithms import DST, StochasticRounding, spec_class, walkers
from qtheory.lattice import Lattice

EDGED = [s for s in walkers() if aim.has_edge(spec_class(s)(Lattice.ternary()))]


@pytest.mark.parametrize("stem", walkers())
def test_law_is_reference(stem, monkeypatch):
    monkeypatch.setattr(reference_law, "QUOTIENTS", reference_law.QUOTIENTS[3:9])
    claim = reference_law.every_word(stem)
    assert claim.holds and claim.draws > 2**16 * 100
    assert reference_law.edge_words(stem).holds


@pytest.mark.parametrize("rung", [reference_law.every_word, reference_law.edge_words])
def test_a_reference_without_the_law_is_found(rung, monkeypatch):
    """A nonlinearity 0.01 % off is far more than 2**-16; one word off is found at the threshold."""
    from qreference import dst

    right = dst.outcomes
    wrong = {
        reference_law.every_word: lambda s, i, x: right(
            DST(s.lattice, s.nonlinearity * 1.0001), i, x
        ),
        reference_law.edge_words: lambda s, i, x: right(s, i, x)._replace(
            thresholds=right(s, i, x).thresholds + np.uint64(1)
        ),
    }
    monkeypatch.setattr(dst, "outcomes", wrong[rung])
    monkeypatch.setattr(reference_law, "QUOTIENTS", reference_law.QUOTIENTS[3:9])
    assert not rung("dst").holds


def test_same_words_for_every_library(kernel):
    for level, library in cpu_libraries().items():
        claims = list(same_words.claims(level, library, list(walkers()), 40_000))
        assert len(claims) == 2 * len(walkers()) + 1 + len(EDGED)
        assert all(claim.holds and claim.kind == "exact" for claim in claims)


def test_other_words_are_found(kernel, monkeypatch):
    library = native.library()
    monkeypatch.setattr(same_words, "_words", lambda *a: iter(()))
    right = same_words.library_kernel

    def shifted(*arguments):
        made = right(*arguments)
        return lambda index, x, draw: made(index, x, draw._replace(iteration=draw.iteration + 1))

    monkeypatch.setattr(same_words, "library_kernel", shifted)
    claims = list(same_words.claims("v", library, ["dst", "stochastic_rounding"], 4000))
    assert [claim.holds for claim in claims[1:]] == [False] * 5


SPECS_TO_SEE = [s for stem in ("dst", "stochastic_rounding") for s in tomography.specs(stem)]


@pytest.mark.parametrize("spec", SPECS_TO_SEE, ids=repr)
def test_every_hidden_word_is_the_generators(kernel, spec, capsys):
    own = tomography.library_room(native.library())
    claim = tomography.claim("words", kernel, spec, seed=12345, own=own)
    assert claim.holds and claim.draws == 4 * (2**16 + 5)
    with capsys.disabled():
        print(f"\n  {type(spec).__name__}, {spec.lattice.size} levels: {claim.detail}")


@pytest.mark.parametrize("spec", [SPECS_TO_SEE[0], SPECS_TO_SEE[-1]], ids=repr)
def test_brackets_end_at_neighbours_and_are_no_wider(kernel, spec):
    """The local spacing of thresholds is the resolution; for SR never above 2**8."""
    found = tomography.bisect(kernel, 1001, Draw(spec, 1, 2, 3))
    assert (np.nextafter(found.left, np.float32(2)) == found.right).all()
    if spec == StochasticRounding(spec.lattice):
        ends = tomography.limits(tomography.asked(spec, 1001), found)
        width = ends[1] - ends[0]
        assert width.max() == 256
        assert (width <= np.maximum(1, ends[1] / 2**23)).all()  # relative 2**-23, or one word


@pytest.mark.parametrize(
    "fault",
    [
        lambda k: faults.forgets(k, "iteration"),
        lambda k: faults.forgets(k, "tensor"),
        lambda k: faults.forgets(k, "seed"),
        lambda k: faults.shares_words(k, 2),
        lambda k: faults.coarse(k, 16),
        lambda k: faults.coarse(k, 23),
        lambda k: faults.antithetic(k),
    ],
    ids=["iteration", "tensor", "seed", "shared", "16 bits", "23 bits", "1 - u"],
)
def test_tomography_finds_wrong_words(kernel, fault, monkeypatch):
    monkeypatch.setattr(tomography, "COUNT", 5000)
    spec = StochasticRounding(Lattice.ternary())
    assert not tomography.claim("words", fault(kernel), spec, seed=99).holds


def test_odds_are_those_of_the_law():
    law = odds(
        StochasticRounding(Lattice.ternary()), np.array([1, 0]), np.array([-0.25, -0.25], "f4")
    )
    assert law.far.tolist() == [0, 0]
    assert law.p.tolist() == [0.25, 1.0]
    assert law.certain.tolist() == [False, True]
    assert (law.high - law.low).tolist() == [2.0**-32, 0.0]
