"""Every reader of the registry: it shows what its law says, and its slopes are those it states."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from conformance.rooms import words_beside
from hypothesis import assume, given
from hypothesis import strategies as st
from reader_cases import clear, gains_of, inside, slopes_of_mean, some_case
from strategies import every_word, examples

from qreference import reader
from qtheory.algorithms import contract, readers, rows, usual, walkers
from qtheory.algorithms.reader import WORDS, Clip, Reading, reading_law_of, reading_of
from qtheory.algorithms.walker import realised_law
from qtheory.noise import Uniform, scale_of
from qtheory.stairs import smoothing

stems = pytest.mark.parametrize("stem", readers())
some = examples(20)


def with_row(asked: Callable[[Reading], bool]) -> list[str]:
    """Readers of which a published row has what is asked."""
    return [s for s in readers() if any(asked(reading_of(row.spec)) for row in contract(s).rows)]


def gains(reading: Reading) -> bool:
    """Whether it learns numbers in which its surrogate is linear."""
    return reading.gain == "sides" or (reading.gain == "step" and reading.ends != "cut")


def smooth(reading: Reading) -> bool:
    """Whether its window is a noise's, in weight units."""
    noisy = reading.window is not None and not isinstance(reading.window, Clip)
    return noisy and reading.unit == "one"


GAINS, SMOOTH = with_row(gains), with_row(smooth)
CUT = with_row(lambda reading: reading.ends == "cut")
THRESHOLD = with_row(lambda reading: reading.unit == "threshold")


def upstream_of(x: np.ndarray) -> np.ndarray:
    """A gradient of what is seen."""
    return np.cos(np.arange(x.size, dtype=np.float64)).reshape(x.shape)


@stems
@some
@given(data=st.data())
def test_what_is_read_has_the_law(stem, data):
    """Words in the middles of 2**16 equal cells: 2**-17, and 2**-32 for each rounded threshold."""
    case = some_case(data.draw, stem)
    law = reading_law_of(case.spec, case.latent.astype(np.float64), case.state)
    assert np.abs(law.sum(-1) - 1).max() <= law.shape[-1] * 2.0**-52
    sure = clear(case, 2.0**-45)
    found = reader.outcomes(case.spec, case.latent, case.state)
    for _ in range(3):
        place = tuple(data.draw(st.integers(0, n - 1)) for n in case.latent.shape)
        passed = (every_word[:, None] >= found.thresholds[place]).sum(-1)
        levels = found.destinations[place][passed]
        frequency = np.bincount(levels, minlength=law.shape[-1]) / 2**16
        assert np.abs(frequency - law[place]).max() <= 2.0**-16 or not sure[place]


@stems
@some
@given(data=st.data())
def test_outcomes_realise_the_law_and_words_beside_a_threshold_part_there(stem, data):
    case = some_case(data.draw, stem)
    spec, x, state = case
    outcomes = reader.outcomes(spec, x, state)
    realised = realised_law(outcomes, spec.lattice.size)
    # Each of two thresholds is rounded down by less than 2**-32; the law's tails by 2**-50.
    exact = reading_law_of(spec, x.astype(np.float64), state)
    assert (np.abs(realised - exact).max(-1) <= 2.0**-32 + 2.0**-50)[clear(case, 2.0**-45)].all()
    if case.reading.shown == "expectation":
        return
    place = tuple(data.draw(st.integers(0, n - 1)) for n in x.shape)
    for word in words_beside(outcomes.thresholds[place]):
        shown = reader.index(spec, x, np.full(x.shape, word, np.uint32), state)[place]
        passed = int((outcomes.thresholds[place] <= word).sum())
        assert shown == outcomes.destinations[place][passed]


@stems
@some
@given(data=st.data())
def test_a_word_is_asked_for_where_the_reading_is_random_and_nowhere_else(stem, data):
    case = some_case(data.draw, stem)
    if case.reading.shown == "random":
        with pytest.raises(ValueError, match="a level is drawn with words, or certain, got"):
            reader.read(case.spec, case.latent, None, case.state)
    else:
        ends = [np.full(case.latent.shape, w, np.uint32) for w in (0, 2**32 - 1)]
        one, other = (reader.read(case.spec, case.latent, w, case.state) for w in ends)
        assert np.array_equal(one, other)


@stems
@some
@given(data=st.data())
def test_what_is_seen_is_a_level_times_the_gain_of_its_group(stem, data):
    case = some_case(data.draw, stem)
    spec, x, state = case
    visible = reader.read(spec, x, case.words(data.draw), state)
    assert visible.dtype == x.dtype and visible.shape == x.shape
    levels = np.array(case.reading.stair.levels)
    for row, seen in enumerate(visible.astype(np.float64)):
        gains = gains_of(case, row)
        if "frozen" in state:
            frozen = state["frozen"][row]
            assert (seen[~frozen] == x[row][~frozen]).all()
            seen = seen[frozen]
        if case.reading.shown == "expectation":
            ends = (levels[[0, -1]] * gains[0]).astype(x.dtype)
            assert (ends[0] <= seen).all() and (seen <= ends[1]).all()
        elif gains:
            allowed = np.concatenate([gain * levels for gain in gains])
            near = np.abs(seen[:, None] - allowed).min(axis=1)
            assert (near <= 2.0**-23 * np.abs(seen)).all()  # two roundings to float32
        else:
            assert len(set(np.abs(seen[seen != 0]).tolist())) <= 1


@stems
@some
@given(data=st.data())
def test_the_slope_in_a_latent_is_the_window_times_the_factor(stem, data):
    """By one latent at a time, with a gradient at that place alone."""
    case = some_case(data.draw, stem, np.float64)
    spec, x, state = case
    words, reading = case.words(data.draw), case.reading
    one = reader.seen(spec, x, words, state)
    for place in np.ndindex(x.shape):
        upstream = np.zeros(x.shape)
        upstream[place] = -3.0
        found = reader.slope(spec, x, words, upstream, state)["latent"]
        factor = {
            "straight": 1.0,
            "gain": one.gain[place],
            "sides": one.gain[place] if one.level[place] else 1.0,
            "fixed": float((state.get("fixed", x) * np.sign(x))[place]),
        }[reading.factor]
        if "frozen" in state:
            factor = 1.0 - state["frozen"][place]
        n = x.shape[1] if reading.group == "filter" else x.size
        own = {"none": 0.0, "printed": 1.0, "exact": np.sign(x[place]) * one.level[place]}
        expected = inside(case, float(one.position[place])) * factor + own[reading.gain_slope] / n
        assert abs(found[place] + 3.0 * expected) <= 1e-14 * (1 + abs(3.0 * expected))
        others = found.copy()
        others[place] = 0.0
        shared = np.zeros(x.shape)
        if reading.gain_slope == "exact":
            rows_of = slice(None) if reading.group == "layer" else place[0]
            shared[rows_of] = np.sign(x[rows_of]) / n * -3.0 * one.level[place]
            shared[place] = 0.0
        assert np.abs(others - shared).max() <= 1e-15


@pytest.mark.parametrize("stem", GAINS)
@some
@given(data=st.data())
def test_slopes_of_what_is_learned_are_differences_with_the_rounding_held(stem, data):
    """The surrogate of a step s is s (w v / s + r), r held: linear in each gain, so that central
    differences have rounding errors only, h^-1 2^-52 of the sum; those of s cost h^2 more."""
    case = some_case(data.draw, stem, np.float64)
    spec, x, state = case
    words, reading = case.words(data.draw), case.reading
    assume(gains(reading))
    upstream = upstream_of(x)
    found = reader.slope(spec, x, words, upstream, state)
    one = reader.seen(spec, x, words, state)
    assert set(found) == {"latent", *state}

    def surrogate(name: str, value: np.ndarray) -> np.ndarray:
        """Loss sums of each group."""
        if reading.gain == "step":
            w = np.array([inside(case, u) for u in one.position.ravel().tolist()])
            w = w.reshape(x.shape)
            held = one.level - w * one.position
            shown = value * (w * x / value + held)
        else:
            side = one.level > 0 if name == "positive" else one.level < 0
            shown = np.where(side, value, 0.0) * one.level
        kept = tuple(a for a in (0, 1) if value.shape[a] == 1)
        return (upstream * shown).sum(axis=kept, keepdims=True)

    n = x.shape[1] if reading.group == "filter" else x.size
    steady = np.sqrt(n * reading.stair.levels[-1]) if reading.steadied else 1.0
    for name, value in state.items():
        assert found[name].shape == value.shape
        h = 2.0**-12 * value
        slope = (surrogate(name, value + h) - surrogate(name, value - h)) / (2 * h)
        size = np.abs(one.level).max() * x.size
        bound = (2.0**-40 + 2.0**-24) * size * max(1.0, float(np.abs(one.position).max()))
        assert np.abs(found[name] * steady - slope).max() <= bound


@pytest.mark.parametrize("stem", CUT)
@some
@given(data=st.data())
def test_slopes_of_cut_noise_are_those_of_the_exact_mean(stem, data):
    """v = a M(x / a, r / a), with the error of a drawn level held: M is the exact room's.

    Slopes in u and s are sums of 16 terms below 1 / s and |u| / s^2, each with ten roundings.
    """
    case = some_case(data.draw, stem, np.float64)
    spec, x, state = case
    assume(case.reading.ends == "cut")
    words = case.words(data.draw)
    upstream = upstream_of(x)
    found, one = reader.slope(spec, x, words, upstream, state), reader.seen(spec, x, words, state)
    a, s = state["step"].item(), (state["scale"] / state["step"]).item()
    exact = slopes_of_mean(case, x / a)
    largest = 16 * 2.0**-48 * (1 + np.abs(x / a).max()) ** 2 * (1 + 1 / s) ** 2 * x.size
    by_step = one.level - exact.x * x / a - exact.scale * s
    assert np.abs(found["scale"] - (upstream * exact.scale).sum()).max() <= largest
    assert np.abs(found["step"] - (upstream * by_step).sum()).max() <= largest
    if case.reading.shown == "expectation":
        law = reading_law_of(spec, x, state)
        assert np.abs(one.level - law @ spec.lattice.levels).max() <= 2.0**-40 * (1 + 1 / s)


@pytest.mark.parametrize("stem", THRESHOLD)
@some
@given(data=st.data())
def test_a_learned_threshold_feels_what_is_near_it(stem, data):
    """By the quotient of the smoothed stair, gains held, off the kinks: noise of width a / 2."""
    case = some_case(data.draw, stem, np.float64)
    spec, x, state = case
    reading = case.reading
    assume(reading.unit == "threshold")
    upstream = upstream_of(x)
    found, one = reader.slope(spec, x, None, upstream, state), reader.seen(spec, x, None, state)
    near, h = Uniform(0.5), 1e-6
    high, low = (
        smoothing.expectation(reading.stair, near, x / (state["threshold"] * (1 + d)))
        for d in (h, -h)
    )
    size = np.abs(one.position)
    off = ((np.abs(size - 0.5) > 1e-5) & (np.abs(size - 1.5) > 1e-5)).astype(float)
    quotient = upstream * off * one.gain * (high - low) / (2 * h * state["threshold"])
    ours = reader.slope(spec, x, None, upstream * off, state)["threshold"]
    axes = (1,) if reading.group == "filter" else (0, 1)
    # u / (1 + h) differs from its linear part by h^2, and differences of 1 round by 2^-52 over h.
    room = 1e-9 * x.size * (1 + np.abs(one.gain / state["threshold"]).max())
    assert set(found) == {"latent", "threshold"}
    assert np.abs(ours - quotient.sum(axis=axes, keepdims=True)).max() <= room


@pytest.mark.parametrize("stem", SMOOTH)
@some
@given(data=st.data())
def test_windows_that_are_noises_are_slopes_of_the_smoothed_stair(stem, data):
    """Of whatever pass: the difference quotient of the expectation under the window's noise.

    With h = 1e-4 of its scale s and f the density, |f''| <= 2 f(0) / s^2 off the kinks, for each
    of four families, so that the quotient is within h^2 f(0) / 3 s^2 <= 1e-8 of a slope of
    height / s; sums of that height round by 2^-52, over h.
    """
    case = some_case(data.draw, stem, np.float64)
    spec, x, state = case
    reading, noise = case.reading, case.reading.window
    assume(smooth(reading))
    assert noise is not None and not isinstance(noise, Clip)
    s = scale_of(noise)
    h = 1e-4 * s
    above, below = (smoothing.expectation(reading.stair, noise, x + d) for d in (h, -h))
    kinks = noise.breaks()[:, None] + np.array(reading.stair.thresholds)
    off = (np.abs(x[..., None, None] - kinks) > 2 * h).all(axis=(-1, -2))
    found = reader.slope(spec, x, case.words(data.draw), np.ones(x.shape), state)["latent"]
    size = reading.stair.height / s + 2.0**-26 * np.abs(x / s) * reading.stair.height / s
    error = np.abs(found - (above - below) / (2 * h))
    assert (error <= 1e-7 * size)[off].all()


@stems
@some
@given(data=st.data())
def test_latents_stay_within_their_bound(stem, data):
    case = some_case(data.draw, stem)
    far, bound = case.latent * np.float32(7), case.reading.bound
    kept = reader.stopped(case.spec, far)
    assert kept.dtype == far.dtype and (np.abs(kept) <= np.float32(bound)).all()
    assert (kept == far)[np.abs(far) <= bound].all()


@stems
def test_a_latent_that_is_no_number_is_refused(stem):
    spec = usual(stem)
    with pytest.raises(ValueError, match="a stair takes numbers, got NaN"):
        reading_law_of(spec, np.array([np.nan]), reader.start(spec, np.ones(1)))


@pytest.mark.parametrize("row", rows().values(), ids=list(rows()))
def test_a_published_method_checks_itself(row):
    """Each word of its reading is checked: another one is refused."""
    reading = reading_of(row.spec)
    for field in WORDS:
        rule = f"the {field} of a reading is one of .*, got 'nosuch'"
        with pytest.raises(ValueError, match=rule):
            dataclasses.replace(reading, **{field: "nosuch"})


def test_a_walker_has_no_reading():
    spec = usual(walkers()[0])
    with pytest.raises(TypeError, match=f"a reader has a reading, got {type(spec).__name__}"):
        reader.outcomes(spec, np.zeros(1))
