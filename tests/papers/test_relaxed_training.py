"""The small classifier: its quantiser is that of the theory, its gradients are differences."""

import numpy as np
import pytest

from qpapers.louizos2019.classifier import (
    SIDE,
    Data,
    Setting,
    WholeLevels,
    error,
    first_training,
    levels_of,
    loss_and_gradients,
    nearest_level,
    sample,
    start,
    task,
    training,
    with_lattices,
)
from qtheory.gradients.stochastic import relaxed_quantization as theory
from qtheory.noise import Logistic

SMALL = Setting(bits=2, on_draws=False, seed=1, first_iterations=60, iterations=30)


@pytest.mark.parametrize(
    "levels", [WholeLevels(-2, 1, 0.7, 0.2), WholeLevels(-128, 127, 0.02, 0.01)]
)
def test_the_sample_is_that_of_the_theory(levels):
    """The theory's functions on the whole lattice with the reach of three spacings; uniforms are
    set where they belong, and 1/2 elsewhere. Numbers below 10, products of a dozen: 1e-11."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=40) * 1.3 * levels.spacing * min(levels.highest, 60)
    local = rng.uniform(size=(40, 2 * SIDE + 1))
    size = levels.highest - levels.lowest + 1
    spec = theory.RelaxedQuantizer(levels.lowest, size, levels.spacing, Logistic(levels.scale))
    uniforms = np.full((40, size), 0.5)
    near = np.rint(theory.rounded(spec, x) / levels.spacing).astype(int) - levels.lowest
    for row in range(40):
        for k in range(-SIDE, SIDE + 1):
            if 0 <= near[row] + k < size:
                uniforms[row, near[row] + k] = local[row, k + SIDE]
    reach = SIDE * levels.spacing
    found = sample(levels, x, local, 0.8, on_draws=False)
    assert np.abs(found.value - theory.relaxed(spec, x, uniforms, 0.8, reach)).max() <= 1e-11
    slopes = theory.relaxed_slopes(spec, x, uniforms, 0.8, reach)
    for a, b in zip(found.slopes, slopes, strict=True):
        assert np.abs(a - b).max() <= 1e-11 * max(1.0, np.abs(b).max())
    drawn = sample(levels, x, local, 0.8, on_draws=True)
    assert np.abs(drawn.value - spec.levels[theory.draw(spec, x, uniforms, reach)]).max() <= 1e-11
    assert all((a == b).all() for a, b in zip(drawn.slopes, found.slopes, strict=True))
    assert np.abs(nearest_level(levels, x) - theory.rounded(spec, x)).max() <= 1e-12


def test_gradients_are_central_differences():
    """Relaxed values with the same uniforms are smooth but for relu and the change of the nearest
    level, which h = 1e-6 does not meet here: h**2 times a third derivative below 1e4, and
    1e2 2**-53 / h, a tenth more for safety of neither."""
    data, _ = task(1)
    few = Data(data.inputs[:20], data.labels[:20])
    p = with_lattices(start(1), few, 2)

    def value(q):
        rng = np.random.default_rng(2)

        def quantiser(name, x):
            uniforms = rng.uniform(size=(*x.shape, 2 * SIDE + 1))
            return sample(levels_of(q, name, 2), x, uniforms, 1.0, on_draws=False)

        return loss_and_gradients(q, few, quantiser)

    exact, h = value(p)[1], 1e-6
    assert set(exact) == set(p)
    for name, array in p.items():
        for at in [(0,) * array.ndim, tuple(n - 1 for n in array.shape)]:
            move = np.zeros_like(array)
            move[at] = h
            up, down = (value({**p, name: array + e})[0] for e in (move, -move))
            assert abs((up - down) / (2 * h) - exact[name][at]) <= 1e4 * h**2 + 1e2 * 2.0**-53 / h


def test_training_lowers_the_error():
    """Five classes by the largest output of a teacher: a constant guess errs above 55 %, and a
    student that learned nothing with it."""
    data, _ = task(1)
    assert np.bincount(data.labels).max() < 0.45 * len(data.labels)
    plain = first_training(SMALL)
    assert error(plain, 1, None) < 0.4
    for on_draws in (False, True):
        setting = Setting(2, on_draws, 1, first_iterations=60, iterations=30)
        after = training(setting, plain)
        assert error(after, 1, 2) < error(with_lattices(plain, data, 2), 1, 2)
        again = training(setting, plain)
        assert all((after[k] == again[k]).all() for k in after)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"bits": 1}, "bits >= 2, got 1"),
        ({"batch": 0}, "batch and rate are positive"),
        ({"learning_rate": 0.0}, "rate are positive, got .* and 0.0"),
        ({"temperature": float("nan")}, "temperature, iterations"),
    ],
)
def test_bad_settings_are_refused(changes, rule):
    with pytest.raises(ValueError, match=rule):
        Setting(**{"bits": 2, "on_draws": True, "seed": 0, **changes})
