"""Laws along a schedule: compiled and plain loops agree in every bit, and with matrices.

An iteration of `propagate` errs by at most 6 roundings of the law, in total variation.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from qtheory.chain import BandedChain, BirthDeathChain, evolve, native, propagate


def random_chain(seed: int, size: int) -> BirthDeathChain:
    rng = np.random.Generator(np.random.PCG64(seed))
    return BirthDeathChain(*rng.uniform(0.0, 0.5, (2, size - 1)))


cases = st.tuples(st.integers(0, 2**32), st.integers(1, 40), st.integers(0, 12))


def test_a_schedule_is_a_product_of_matrices(loops):
    @examples(60)
    @given(cases)
    def compare(case):
        seed, size, iterations = case
        rng = np.random.Generator(np.random.PCG64(seed))
        chains = [random_chain(seed + k, size) for k in range(2)]
        schedule = [(chain, rng.uniform(0, 1, iterations)) for chain in chains]
        law = np.eye(size)[seed % size]
        found = propagate(iter(schedule), law)
        for chain, factors in schedule:
            for factor in factors:
                moves = factor * chain.to_dense().off_diagonal
                law = law * (1 - moves.sum(axis=1)) + law @ moves
        # the oracle rounds as often: 6 an iteration, and its matrix products n more
        assert np.abs(found - law).sum() <= 2 * iterations * (12 + size) * 2.0**-53

    compare()


@pytest.mark.parametrize("size", [1, 2, 3, 15, 16, 17, 18, 1000])
@pytest.mark.parametrize("iterations", [0, 1, 2, 7])
def test_compiled_and_plain_loops_agree_in_every_bit(monkeypatch, size, iterations):
    if not native.available():
        pytest.skip(f"{native.LIBRARY} was not built")
    chain = random_chain(size, size)
    law = np.random.Generator(np.random.PCG64(9)).dirichlet(np.ones(size))
    schedule = [(chain, np.linspace(0.1, 1.0, iterations)), (chain, np.ones(iterations))]
    compiled = propagate(schedule, law)
    monkeypatch.setattr(native, "library", lambda: None)
    plain = propagate(schedule, law)
    assert compiled.tobytes() == plain.tobytes()
    assert law.sum() == pytest.approx(compiled.sum(), rel=12 * (iterations + 1) * 2.0**-53)


def test_weak_links_survive(loops):
    """Two states, p = q = 1e-17: the other has 1e-17 an iteration; 1 - P would have nothing."""
    chain = BirthDeathChain(np.array([1e-17]), np.array([1e-17]))
    found = propagate([(chain, np.full(1000, 0.5))], np.array([1.0, 0.0]))[1]
    assert found == pytest.approx(500e-17, rel=1000 * 6 * 2.0**-53)


@pytest.mark.parametrize("iterations", [0, 1, 5, 10**3, 10**12])
def test_every_form_evolves_alike(loops, iterations):
    """Steps err by 6 roundings of the law for each link of the band, squares by n + 3 doubled."""
    chain = random_chain(4, 5)
    moves = np.zeros((2, 2, 5))
    moves[0, 0, :-1], moves[1, 0, 1:] = chain.up, chain.down
    law = np.array([0.5, 0.25, 0.25, 0.0, 0.0])
    dense = evolve(chain.to_dense(), law, iterations)
    error = max(iterations if iterations <= 1000 else 0, 40) * 16 * 2.0**-52
    for form in (chain, BandedChain(*moves)):
        assert np.abs(evolve(form, law, iterations) - dense).sum() <= error


def test_bad_schedules_are_refused():
    chain, law = random_chain(1, 3), np.array([1.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="have 3 states, got 4"):
        propagate([(chain, np.ones(1)), (random_chain(1, 4), np.ones(1))], law)
    with pytest.raises(ValueError, match="finite and >= 0, got -1"):
        propagate([(chain, np.array([-1.0]))], law)
    with pytest.raises(ValueError, match="finite and >= 0, got nan"):
        propagate([(chain, np.array([np.nan]))], law)
    with pytest.raises(ValueError, match="leaving a state is at most one"):
        propagate([(chain, np.array([100.0]))], law)
    with pytest.raises(ValueError, match="sums to one"):
        propagate([(chain, np.ones(1))], law / 2)
