"""The update rules of [li2017] as they are simulated, and Adam in front of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from qpapers.li2017.simulate import (
    BC_NEAREST,
    BC_STOCHASTIC,
    SR,
    R,
    Rule,
    largest_adam_step,
    rounded,
    simulate,
)
from qtheory import Lattice, StochasticRounding
from qtheory.algorithms.stochastic_rounding import law
from qtheory.chain import evolve
from qtheory.increments import noisy_increments_at_levels
from qtheory.limits.generator import limit_law
from qtheory.noise import Gaussian
from qtheory.optimisers import Adam
from qtheory.transition import weight_chain

LATTICE = Lattice.uniform(-2.0, 2.0, 9)


@given(st.integers(0, 8), st.floats(-3.0, 3.0))
@examples(50)
def test_rounding_by_words_has_the_law(index: int, increment: float):
    """2**10 words, each in the middle of its cell: every level's share is right to one cell."""
    words = (np.arange(1024) + 0.5)[:, None] / 1024
    after = rounded(LATTICE, np.full((1024, 1), LATTICE.levels[index] + increment), words)
    counts = np.bincount(LATTICE.nearest(after).ravel(), minlength=LATTICE.size) / 1024
    exact = law(StochasticRounding(LATTICE), index, increment)
    assert np.abs(counts - exact).max() <= 1 / 1024


def test_a_run_has_the_law_of_the_chain():
    """20,000 independent weights after 30 iterations: by Hoeffding's inequality each of 9 shares is
    within .0247 of its probability but for a chance of 1e-9 / 2; that of another rate is not."""
    rate, noise, replicas = 0.3, Gaussian(1.0), 20_000
    start = np.full((replicas, 1), -2.0)

    def gradient(w: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        return w - 0.3 + draws.standard_normal(w.shape)

    run = simulate(SR, gradient, LATTICE, start, np.full(30, rate), np.random.default_rng(0))
    share = np.bincount(LATTICE.nearest(run.visible).ravel(), minlength=9) / replicas

    def exact(learning_rate: float) -> np.ndarray:
        laws = noisy_increments_at_levels(lambda w: w - 0.3, LATTICE, learning_rate, noise)
        chain = weight_chain(StochasticRounding(LATTICE), laws)
        return evolve(chain, np.eye(9)[0], 30)

    bound = math.sqrt(math.log(2 * 9 / 0.5e-9) / (2 * replicas))
    assert np.abs(share - exact(rate)).max() <= bound
    assert np.abs(share - exact(0.4 * rate)).max() > bound


@pytest.mark.parametrize("rule", [R, SR, BC_NEAREST, BC_STOCHASTIC])
def test_averages_are_over_the_weights_at_which_gradients_were_taken(rule: Rule):
    """Multiples of 1/8 in four iterations are exact."""
    seen: list[np.ndarray] = []

    def gradient(w: np.ndarray, _: np.random.Generator) -> np.ndarray:
        seen.append(w.copy())
        return np.sign(w - 0.3)

    rates, start = np.array([0.5, 0.25, 0.25, 1.0]), np.array([[-2.0, 2.0], [0.5, -0.5]])
    draws = np.random.default_rng(1)
    run = simulate(
        rule, gradient, LATTICE, start, rates, draws, loss=lambda w: np.abs(w).sum(axis=1)
    )
    visible = np.array(seen)
    assert np.array_equal(run.visible_mean, visible.mean(axis=0))
    assert np.array_equal(run.weighted_mean, np.tensordot(rates, visible, 1) / 2.0)
    assert np.array_equal(run.loss_mean, np.abs(visible).sum(axis=2).mean(axis=0))
    assert np.array_equal(run.latent, run.visible) or rule.latent
    assert len(seen) == 4


@pytest.mark.parametrize("rule", [BC_NEAREST, BC_STOCHASTIC])
def test_the_latent_weight_is_the_sum_of_its_gradients(rule: Rule):
    """400 additions of numbers below 3, each rounded by 2**-52."""
    rates, start = 1.0 / np.arange(2.0, 402.0), np.linspace(-1.9, 1.9, 20)[:, None]
    total = np.zeros_like(start)

    def gradient(w: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        nonlocal total
        g = 0.1 * (w - 0.3) + 0.1 * draws.standard_normal(w.shape)
        total = total + rates[gradient.count] * g  # pyright: ignore[reportFunctionMemberAccess]
        gradient.count += 1  # pyright: ignore[reportFunctionMemberAccess]
        return g

    gradient.count = 0  # pyright: ignore[reportFunctionMemberAccess]
    run = simulate(rule, gradient, LATTICE, start, rates, np.random.default_rng(2))
    assert np.abs(start - run.latent - total).max() <= 400 * 3 * 2.0**-52


def test_deterministic_rounding_stalls_and_stochastic_does_not():
    start, rates = np.full((50, 1), -2.0), np.full(200, 0.1)  # steps of at most .23 < 1/4
    runs = [
        simulate(rule, lambda w, _: w - 0.3, LATTICE, start, rates, np.random.default_rng(3))
        for rule in (R, SR)
    ]
    assert (runs[0].visible == -2.0).all()
    assert (runs[1].visible > -2.0).all()


@given(
    st.lists(st.floats(-4.0, 4.0).filter(lambda x: abs(x) > 1e-3), min_size=1, max_size=5),
    st.floats(0.01, 1.0),
)
@examples(50)
def test_lemma_1_is_attained_and_never_broken(gradient: list[float], rate: float):
    """sum s|u| - u**2 <= s |u|_1 <= sqrt(d) s |u|_2; five sums of 81 terms, each to 2**-52."""
    lattice = Lattice(81, 0.5, -20.0)

    def ratio(u: np.ndarray) -> float:
        pmf = law(StochasticRounding(lattice), 40, u)
        second = (pmf * (lattice.levels - u[:, None]) ** 2).sum()
        return float(second) / (math.sqrt(len(u)) * 0.5 * float(np.linalg.norm(u)))

    assert ratio(rate * np.array(gradient)) <= 1 + 1e-10
    tiny = ratio(np.full(len(gradient), 2.0**-30))
    assert 1 - 2.0**-28 <= tiny <= 1 + 1e-6  # s u - u**2 over s u, u = 2**-29 s


def test_lemma_1_needs_a_weight_on_the_lattice():
    """From half way between levels E r**2 = s**2 / 4 for any rate: above sqrt(d) s rate G."""
    words = (np.arange(1024) + 0.5)[:, None] / 1024
    for rate in (1e-2, 1e-6):
        after = rounded(LATTICE, np.full((1024, 1), 0.25 - rate), words)
        second = float(((after - 0.25 + rate) ** 2).mean())
        assert abs(second - 0.25 / 4) <= 0.01  # rate, and one word of 1024
        assert second > 0.5 * rate


@given(st.lists(st.integers(-1000, 1000).map(float), min_size=1, max_size=60), st.floats(1.0, 1.2))
@examples(100)
def test_no_gradients_make_adam_step_further(gradients: list[float], growth: float):
    """Adam in float64, written again; and at the end through the code that the rules use, whose
    scalars are float32: relative 1e-5, with an epsilon that does not matter at these sizes."""
    g = np.array(gradients) * growth ** np.arange(len(gradients))
    most = largest_adam_step(0.01, 0.9, 0.999)
    first = second = total = 0.0
    for t, each in enumerate(g.tolist(), start=1):
        first, second = 0.9 * first + 0.1 * each, 0.999 * second + 0.001 * each**2
        if second > 1e-200:
            step = 0.01 * first / (1 - 0.9**t) / math.sqrt(second / (1 - 0.999**t))
            assert abs(step) <= most * (1 + 1e-12)
            total -= step
    waiting = iter(g.tolist())
    line, rates = Lattice(3, 1e6, -1e6), np.full(len(g), 0.01)
    run = simulate(
        BC_NEAREST,
        lambda w, _: np.full(w.shape, next(waiting)),
        line,
        np.zeros((1, 1)),
        rates,
        np.random.default_rng(0),
        adam=Adam(0.01, epsilon=1e-30),
    )
    assert abs(float(run.latent[0, 0]) - total) <= 1e-5 * most * len(g)


def test_momentum_is_a_larger_batch_to_stochastic_rounding():
    """The mean loss is within five standard errors and 10 %, as Adam remembers 10 iterations and a
    move takes 100, of the limit law with noise of std sqrt(.1 / 1.9), and not near that with std 1.
    R with Adam does not move: its largest increment is .15 spacings."""
    lattice, rate, replicas = Lattice(41, 0.5, -10.0), 0.01, 1000
    least, most = (
        0.025 * float(limit_law(lambda w: 0.05 * w, Gaussian(std), lattice) @ lattice.levels**2)
        for std in (math.sqrt(0.1 / 1.9), 1.0)
    )

    def gradient(w: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        return 0.05 * w + draws.standard_normal(w.shape)

    rates, start = np.full(3000, rate), np.zeros((replicas, 1))
    draws = np.random.default_rng(4)
    first = simulate(SR, gradient, lattice, start, rates, draws, adam=Adam(rate))
    run = simulate(
        SR,
        gradient,
        lattice,
        first.visible,
        rates,
        draws,
        adam=Adam(rate),
        loss=lambda w: 0.025 * w[:, 0] ** 2,
    )
    error = 5 * float(run.loss_mean.std()) / math.sqrt(replicas)
    assert abs(float(run.loss_mean.mean()) - least) <= error + 0.1 * least
    assert float(run.loss_mean.mean()) + error < 0.5 * most
    still = simulate(R, gradient, lattice, start, rates[:100], draws, adam=Adam(rate))
    assert (still.visible == 0.0).all()


def test_betas_without_a_bound_are_refused():
    with pytest.raises(ValueError, match=r"betas have 1 - beta2 <= \(1 - beta1\)\*\*2"):
        largest_adam_step(0.01, 0.9, 0.9)


def test_noise_alone_changes_signs_at_the_stated_rate():
    """P(changed) = (1 - (1 - 2p)**t) / 2 for a flip probability p = rate E|u| / 4; 2**-40 for t
    squarings. Gaussian steps never reach the spacing 2 at this rate."""
    binary, rate = Lattice.binary(), 0.05
    laws = noisy_increments_at_levels(lambda w: 0.0, binary, rate, Gaussian(1.0))
    chain = weight_chain(StochasticRounding(binary), laws)
    flip = rate * math.sqrt(2 / math.pi) / 4
    for t in (1, 10, 1000):
        exact = evolve(chain, np.array([1.0, 0.0]), t)[1]
        assert abs(exact - 0.5 * (1 - (1 - 2 * flip) ** t)) <= 2.0**-40


def test_bad_runs_are_refused():
    draws = np.random.default_rng(0)
    with pytest.raises(ValueError, match="learning rates are a list of at least one"):
        simulate(SR, lambda w, _: w, LATTICE, np.zeros((1, 1)), np.zeros(0), draws)
    with pytest.raises(ValueError, match=r"start on the levels"):
        simulate(SR, lambda w, _: w, LATTICE, np.full((1, 1), 0.1), np.ones(1), draws)
