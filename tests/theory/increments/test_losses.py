"""Real models on real data: gradients, laws of minibatches, and the chains they make."""

import math
from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from strategies import examples

from qtheory import DST, Lattice, StochasticRounding
from qtheory.algorithms.base import law
from qtheory.chain import evolve, stationary_distribution
from qtheory.increments import (
    FiniteIncrements,
    minibatch_increments,
    minibatch_increments_at_levels,
)
from qtheory.increments.losses import LinearRegression, LogisticRegression, TanhNetwork
from qtheory.increments.minibatches import (
    gradients_along,
    joint_minibatches,
    lattice_minibatch_increments,
    shared_minibatches,
)
from qtheory.transition import joint_chain, weight_chain


def diabetes() -> LinearRegression:
    inputs, targets = load_diabetes(return_X_y=True)
    return LinearRegression(inputs / inputs.std(axis=0), (targets - targets.mean()) / targets.std())


def breast_cancer() -> LogisticRegression:
    inputs, labels = load_breast_cancer(return_X_y=True)
    scaled = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    return LogisticRegression(scaled, 2.0 * labels - 1.0)


def digits(hidden: int = 4, count: int = 60) -> TanhNetwork:
    inputs, labels = load_digits(return_X_y=True)
    return TanhNetwork(inputs[:count] / 16.0, labels[:count].astype(np.int64), hidden, 10)


@pytest.mark.parametrize("model", [diabetes, breast_cancer, digits])
def test_gradients_are_the_losses_slopes(model):
    """Central differences at h = 2**-17: h**2 / 6 times third derivatives (below 100 here) plus
    2**-52 F / h, F below 10: 1.5e-9 + 3e-10, allowed 1e-8 of the largest gradient or of one."""
    loss = model()
    weights = np.random.default_rng(0).uniform(-0.5, 0.5, loss.size)
    gradients = loss.gradients(weights)
    assert gradients.shape == (len(loss.losses(weights)), loss.size)
    h = 2.0**-17
    for which in range(0, loss.size, max(1, loss.size // 20)):
        step = h * np.eye(loss.size)[which]
        slope = (loss.losses(weights + step) - loss.losses(weights - step)) / (2 * h)
        assert np.abs(slope - gradients[:, which]).max() <= 1e-8 * max(1, np.abs(slope).max())


@pytest.mark.parametrize("model", [diabetes, breast_cancer, digits])
def test_the_mean_gradient_of_rows_is_the_mean_of_their_gradients(model):
    """One row twice. Sums of some tens of terms in another order: 1e-12 of the largest."""
    loss = model()
    weights = np.random.default_rng(1).uniform(-0.5, 0.5, loss.size)
    rows = np.array([3, 41, 3, 17])
    expected = loss.gradients(weights)[rows].mean(axis=0)
    got = loss.mean_gradient(weights, rows)
    assert np.abs(got - expected).max() <= 1e-12 * np.abs(expected).max()


def enumerated(gradients: np.ndarray, batch: int, *, replacement: bool) -> dict[float, float]:
    drawn = product(gradients, repeat=batch) if replacement else combinations(gradients, batch)
    sums = Counter(sum(each) for each in drawn)
    total = sum(sums.values())
    return {-s / batch: count / total for s, count in sums.items()}


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=7), st.data(), st.booleans())
@examples(60)
def test_the_law_on_a_lattice_is_the_enumeration(wholes, data, replacement):
    """Gradients that are multiples of the unit: equal values, probabilities within 2 n + 2
    roundings (n at most 7; with replacement B (values + 1) with B at most 4)."""
    gradients = 0.25 * np.array(wholes, dtype=np.float64)
    batch = data.draw(st.integers(1, 4 if replacement else min(4, len(wholes))))
    got = lattice_minibatch_increments(gradients, batch, 1.0, 0.25, replacement=replacement)
    expected = enumerated(gradients, batch, replacement=replacement)
    assert got.values.tolist() == sorted(expected)
    probabilities = np.array([expected[v] for v in got.values.tolist()])
    assert np.abs(got.probabilities / probabilities - 1).max() <= 64 * 2.0**-53


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_the_law_on_a_lattice_is_the_law_of_whole_numbers(batch):
    """On real gradients rounded to 2**-8, against the law in exact arithmetic."""
    gradients = np.round(breast_cancer().gradients(np.zeros(30))[:40, 3] * 2**8) / 2**8
    exact = minibatch_increments(gradients, batch, 0.5)
    got = lattice_minibatch_increments(gradients, batch, 0.5, 2.0**-8)
    assert np.abs(got.values - exact.values).max() <= 2.0**-52
    assert np.abs(got.probabilities / exact.probabilities - 1).max() <= 2 * 42 * 2.0**-53


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("batch", [1, 8, 64])
def test_the_mean_and_variance_of_a_minibatch(batch, replacement):
    """569 real examples: the mean is the full gradient, the variance that of one example over B,
    times (n - B) / (n - 1) without replacement; no sampling could see these digits. The law's
    mass is at 16-bit multiples; 2 n roundings of each probability."""
    unit = 2.0**-7
    gradients = np.round(breast_cancer().gradients(np.full(30, 0.05))[:, 7] / unit) * unit
    got = lattice_minibatch_increments(gradients, batch, 1.0, unit, replacement=replacement)
    n = gradients.size
    correction = 1.0 if replacement else (n - batch) / (n - 1)
    mean = -gradients.mean()
    assert abs(got.probabilities @ got.values - mean) <= 4 * n * 2.0**-52 * np.abs(gradients).max()
    variance = got.probabilities @ (got.values - mean) ** 2
    assert abs(variance * batch / (gradients.var() * correction) - 1) <= 4 * n * 2.0**-52


def test_rounding_gradients_to_a_lattice_moves_the_mean_by_half_a_unit_at_most():
    gradients = diabetes().gradients(np.zeros(10))[:, 2]
    for unit in (0.5, 0.01):
        got = lattice_minibatch_increments(gradients, 4, 1.0, unit)
        assert abs(got.probabilities @ got.values + gradients.mean()) <= unit / 2


@pytest.mark.parametrize("model", [diabetes, breast_cancer])
@pytest.mark.parametrize("make", [StochasticRounding, DST])
def test_one_weight_of_a_real_model_is_its_chain(model, make):
    """Weight 2 on a lattice, the others held: 20,000 walkers draw real batches of 2 of the first
    40 examples and are rounded by the rule; their law after 30 iterations is the exact one
    within Hoeffding's bound at 1e-9. Unequal rules differ by more."""
    full = model()
    answers = full.targets if isinstance(full, LinearRegression) else full.signs
    loss = type(full)(full.inputs[:40], answers[:40])
    lattice, rate, walkers = Lattice.uniform(-1.0, 1.0, 9), 0.03, 20_000
    held = np.full(loss.size, 0.1)
    along = gradients_along(loss, held, 2)
    laws = minibatch_increments_at_levels(along, lattice, 2, rate)
    exact = {
        m: evolve(weight_chain(m(lattice), laws), np.eye(9)[1], 30)
        for m in (StochasticRounding, DST)
    }
    table = np.array([along(float(w)) for w in lattice.levels])
    draw, index = np.random.default_rng(11), np.full(walkers, 1)
    for _ in range(30):
        first = draw.integers(0, 40, walkers)
        second = (first + draw.integers(1, 40, walkers)) % 40
        x = -rate * 0.5 * (table[index, first] + table[index, second]) / lattice.spacing
        whole = np.floor(np.abs(x))
        fraction = np.abs(x) - whole
        p = np.tanh(3.0 * fraction) if make is DST else fraction
        more = whole + (draw.random(walkers) < p)
        index = np.clip(index + np.where(x < 0, -more, more), 0, 8).astype(np.int64)
    measured = np.bincount(index, minlength=9) / walkers
    bound = math.sqrt(math.log(2 * 9 / 1e-9) / (2 * walkers))
    other = DST if make is StochasticRounding else StochasticRounding
    assert np.abs(measured - exact[make]).max() <= bound
    assert np.abs(measured - exact[other]).max() > bound


@pytest.mark.parametrize("model", [diabetes, breast_cancer, digits])
def test_the_stationary_law_of_real_minibatches_does_not_see_the_learning_rate(model):
    """pi_(k+1) / pi_k = E[g_k^-] / E[g_(k+1)^+] of the minibatch gradient, for lr max|g| <= s:
    for one weight of every real model. The two laws have 2 n**3 2**-53 each, n = 9 levels, the
    quotients 2 n + 2 roundings of the minibatch law's 40 * 40 / 2 terms."""
    full = model()
    which = full.size // 2
    along_all = gradients_along(full, np.full(full.size, 0.1), which)
    lattice = Lattice.uniform(-1.0, 1.0, 9)

    def laws_of(rate: float) -> list[FiniteIncrements]:
        return [minibatch_increments(along_all(float(w))[:40], 2, rate) for w in lattice.levels]

    gradients = laws_of(1.0)
    largest = max(np.abs(each.values).max() for each in gradients)
    up = np.array([each.probabilities @ np.maximum(each.values, 0) for each in gradients])
    down = np.array([each.probabilities @ np.maximum(-each.values, 0) for each in gradients])
    assert (up > 0).all() and (down > 0).all()
    for rate in (0.9 / largest * lattice.spacing, 1e-4 / largest):
        chain = weight_chain(StochasticRounding(lattice), laws_of(rate))
        pi = stationary_distribution(chain)
        expected = up[:-1] / down[1:]
        assert np.abs(pi[1:] / pi[:-1] / expected - 1).max() <= 4 * (9**3 + 800) * 2.0**-52


def test_weights_that_share_a_batch_move_together():
    """Three ternary weights of a real regression, batches of one of 442 examples. The joint law
    from `shared_minibatches` is simulated; with independent batches for each weight, which have
    the same laws one by one, the law of the triple is another."""
    full = diabetes()
    loss = LinearRegression(full.inputs[:, [2, 3, 8]], full.targets)
    lattice, rate = Lattice.ternary(), 0.5
    increments, probabilities = shared_minibatches(loss, 1, rate)
    states = np.array(list(product(lattice.levels, repeat=3)))
    spec = StochasticRounding(lattice)
    together, apart = np.zeros((27, 27)), np.zeros((27, 27))
    for k, (state, x) in enumerate(zip(states, increments(states), strict=True)):
        one = [law(spec, int(w) + 1, x[:, d]) for d, w in enumerate(state)]
        together[k] = np.einsum("a,ai,aj,ak->ijk", probabilities, *one).ravel()
        apart[k] = np.einsum("i,j,k->ijk", *(probabilities @ each for each in one)).ravel()
    laws = [
        np.linalg.matrix_power(each, 20)[13] for each in (together, apart)
    ]  # from (0, 0, 0); 27 * 20 roundings
    walkers, draw = 60_000, np.random.default_rng(2)
    weights = np.zeros((walkers, 3))
    for _ in range(20):
        i = draw.integers(0, 442, walkers)
        residual = (loss.inputs[i] * weights).sum(axis=1) - loss.targets[i]
        moved = weights - rate * residual[:, None] * loss.inputs[i]
        weights = np.clip(np.floor(moved + draw.random((walkers, 3))), -1, 1)
    codes = ((weights + 1) @ np.array([9, 3, 1])).astype(int)
    measured = np.bincount(codes, minlength=27) / walkers
    bound = math.sqrt(math.log(2 * 27 / 1e-9) / (2 * walkers))
    assert np.abs(measured - laws[0]).max() <= bound
    assert np.abs(measured - laws[1]).max() > bound


def test_a_joint_chain_takes_real_minibatches_as_they_are():
    """Three weights of a regression, DST, batches of two of 12 examples: the matrix-free joint
    chain against the law written out; 66 atoms and 8 ends each, a few hundred roundings."""
    full = diabetes()
    loss = LinearRegression(full.inputs[:12, [2, 3, 8]], full.targets[:12])
    spec, rate = DST(Lattice.ternary(), 3.0), 0.2
    increments, probabilities = shared_minibatches(loss, 2, rate)
    chain = joint_chain(spec, 3, increments, probabilities, backend="plain")
    state = np.array([[-1.0, 0.0, 1.0]])
    moved = np.zeros((3, 3, 3))
    for p, x in zip(probabilities, increments(state)[0], strict=True):
        one = [law(spec, int(w) + 1, float(d)) for w, d in zip(state[0], x, strict=True)]
        moved += p * np.einsum("i,j,k->ijk", *one)
    start = np.zeros(27)
    start[0 * 9 + 1 * 3 + 2] = 1.0
    assert np.abs(chain.advance(start) - moved.ravel()).max() <= 400 * 2.0**-53


def test_joint_minibatches_have_the_laws_of_their_weights():
    """Each column, merged, is the exact law of that weight."""
    gradients = np.array([[1.0, 0.5], [0.0, 2.0], [1.0, 2.0], [-3.0, 0.5]])
    for replacement in (False, True):
        joint = joint_minibatches(gradients, 2, 0.5, replacement=replacement)
        for d in range(2):
            alone = minibatch_increments(gradients[:, d], 2, 0.5, replacement=replacement)
            merged = [joint.probabilities[joint.values[:, d] == v].sum() for v in alone.values]
            # at most 16 equal atoms are added
            assert np.abs(np.array(merged) - alone.probabilities).max() <= 16 * 2.0**-53


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LinearRegression(np.ones((2, 1)), np.array([1.0, np.nan])), "are finite"),
        (lambda: LogisticRegression(np.ones((2, 1)), np.array([0.0, 1.0])), "-1 or \\+1"),
        (lambda: TanhNetwork(np.ones((1, 1)), np.array([3]), 1, 3), "a label is in 0..2"),
        (lambda: TanhNetwork(np.ones((1, 1)), np.array([0]), 0, 3), "at least one hidden"),
        (lambda: gradients_along(diabetes(), np.zeros(10), 10), "a weight is in 0..9"),
        (lambda: joint_minibatches(np.ones((60, 1)), 5, 1.0), "at most 1000000 batches"),
        (lambda: joint_minibatches(np.ones((3, 1)), 4, 1.0), "1 to 3 examples"),
        (lambda: lattice_minibatch_increments(np.ones(3), 1, 1.0, 0.0), "the unit of gradients"),
        (lambda: lattice_minibatch_increments(np.array([0, 1e9]), 1, 1.0, 1.0), "a larger unit"),
        (lambda: lattice_minibatch_increments(np.array([np.inf]), 1, 1.0, 1.0), "finite numbers"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
