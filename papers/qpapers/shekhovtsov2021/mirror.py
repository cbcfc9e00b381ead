"""Latent weights as mirror descent [shekhovtsov2021] [ajanthan2021]."""

from __future__ import annotations

import math

import numpy as np

from qpapers.extremes import largest, least
from qpapers.ledger import Claim, Values
from qtheory.gradients.stochastic.mirror import (
    bernoulli_step,
    dual_step,
    entropic_step,
    lift,
    mirror_step,
    project,
    relative_entropy,
    tanh_step,
)
from qtheory.noise import Cauchy, Gaussian, Logistic, Smoothing, StudentT, Triangular, Uniform

TEST = "tests/theory/gradients/stochastic/test_mirror.py"
W = np.array([-0.99, -0.3, 0.0, 0.25, 0.9])
G = np.array([-2.0, 1.5, 0.3, -0.7, 4.0])
UNBOUNDED: tuple[Smoothing, ...] = (
    Gaussian(0.7),
    Logistic(0.5),
    StudentT(3.0, 1.0),
    Cauchy(0.5),
)
LAST_BITS = (
    "2^-53 of w is 100 times that of 1 + w at w = -.99, and results are below 1: 512 roundings"
)


def searched(mean: float, slope: float, rate: float) -> float:
    """argmin of slope m + KL(m, mean) / rate: the best of 101 points, eight times 50 times
    finer."""
    low, high = 0.0, 1.0
    for _ in range(8):
        m = np.linspace(low, high, 101)
        best = int(np.argmin(slope * m + relative_entropy(m, np.array(mean)) / rate))
        low, high = float(m[largest((best - 1, 0))]), float(m[least((best + 1, 100))])
    return 0.5 * (low + high)


def steps_of_means() -> Values:
    """Largest difference of step and search over 12 cases; the step from 0.4, g = 0.5, rate 0.7."""
    cases = [(m, g, 0.7) for m in (0.02, 0.4, 0.9) for g in (-3.0, -0.5, 0.5, 3.0)]

    def step(mean: float, slope: float, rate: float) -> float:
        return float(bernoulli_step(np.array([mean]), np.array([slope]), rate)[0])

    return largest(abs(searched(*case) - step(*case)) for case in cases), step(0.4, 0.5, 0.7)


def proxies() -> Values:
    """Largest difference of 2 F - 1 from clip(x, -1, 1), tanh x, x (2 - abs(x)) clipped."""
    x = np.linspace(-2.0, 2.0, 257)
    inner = np.clip(x, -1.0, 1.0)
    forms = (
        (Uniform(1.0), inner),
        (Logistic(0.5), np.tanh(x)),
        (Triangular(1.0), inner * (2.0 - np.abs(inner))),
    )
    return tuple(float(np.abs(project(noise, x) - form).max()) for noise, form in forms)


def tanh_forms() -> Values:
    """Largest difference from tanh(artanh w - beta rate g), beta 1, 3, 10; from the step of the
    mean (1 + w) / 2; of the mirror step under logistic noise of scale 1/6, beta 3."""
    betas = (1.0, 3.0, 10.0)
    gaps = [
        np.abs(tanh_step(W, G, 0.2, beta) - np.tanh(np.arctanh(W) - beta * 0.2 * G)).max()
        for beta in betas
    ]
    mean = 2.0 * bernoulli_step(0.5 * (1.0 + W), 2.0 * G, 0.2) - 1.0
    dual = mirror_step(Logistic(1 / 6), W, G, 0.2)
    return (
        float(largest(gaps)),
        float(np.abs(mean - tanh_step(W, G, 0.2)).max()),
        float(np.abs(dual - tanh_step(W, G, 0.2, 3.0)).max()),
    )


def came_back() -> Values:
    """w of u = 20 (tanh), 1 if a step of w is refused, and w after u moved to 1."""
    noise, u = Logistic(0.5), np.array([20.0])
    w = project(noise, u)
    try:
        tanh_step(w, np.full(1, 19.0), 1.0)
        refused = 0.0
    except ValueError:
        refused = 1.0
    return float(w[0]), refused, float(project(noise, dual_step(u, np.full(1, 19.0), 1.0))[0])


def closest() -> Values:
    """Entropic step of a pmf of 3: gain in cost of moves of 1e-3 between two categories, least of
    six, over h^2 / 2 times the second derivative; and K = 2 against the Bernoulli step."""
    p, g, rate, h = np.array([0.1, 0.2, 0.7]), np.array([1.0, -2.0, 0.5]), 0.4, 1e-3
    step = entropic_step(p, g, rate)

    def cost(q: np.ndarray) -> float:
        return float(g @ q + (q * np.log(q / p)).sum() / rate)

    def gain(i: int, j: int) -> float:
        move = np.eye(3)[i] - np.eye(3)[j]
        second = (1.0 / step[i] + 1.0 / step[j]) / rate
        return (cost(step + h * move) - cost(step)) / (0.5 * h * h * second)

    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    two = entropic_step(np.array([0.3, 0.7]), np.array([2.0, 0.0]), rate)[0]
    one = bernoulli_step(np.array([0.3]), np.array([2.0]), rate)[0]
    gains = [gain(i, j) for i, j in pairs]
    return least(gains), largest(gains), abs(float(two - one))


def preconditioned() -> Values:
    """(w' - w) / rate over -2 f(u) g, less 1, rates 1e-4 and 5e-5: largest ratio of the errors'
    sizes less 2, four noises at w = -.3, .25, .9."""
    w, g = W[[1, 3, 4]], G[[1, 3, 4]]

    def error(noise: Smoothing, rate: float) -> np.ndarray:
        slope = -2.0 * noise.density(lift(noise, w)) * g
        return (mirror_step(noise, w, g, rate) - w) / (rate * slope) - 1.0

    ratios = [error(noise, 1e-4) / error(noise, 5e-5) for noise in UNBOUNDED]
    return (float(np.abs(np.array(ratios) - 2.0).max()),)


def stays_inside() -> Values:
    """log10(1 - w) and u after 100 steps with the gradient of (w - 2)^2 / 2, rate 0.1, beta 1."""
    w, u = np.zeros(1), np.zeros(1)
    for _ in range(100):
        u = dual_step(u, w - 2.0, 0.1)
        w = project(Logistic(0.5), u)
    return math.log10(1.0 - float(w[0])), float(u[0])


CLAIMS = (
    Claim(
        id="mirror-mean",
        statement="argmin of g m + KL(m, mean) / rate is sigmoid(logit mean - rate g), an additive "
        "step of the latent weight: largest difference from a search; step from .4, g .5, rate .7",
        code=bernoulli_step,
        test=f"{TEST}::test_a_step_minimises_what_it_says",
        printed="0; sigmoid(log(2/3) - .35) = .319632 (derived)",
        number="ours",
        expected=(0.0, 0.319632),
        tolerance=5e-7,
        why="half a unit of the sixth decimal; the search is good to 1e-7, where the cost is flat "
        "to rounding",
        run=steps_of_means,
    ),
    Claim(
        id="mirror-proxy",
        statement="The proxies 2 F(x) - 1: clip(x, -1, 1) for uniform noise of half width 1, tanh "
        "for logistic of scale 1/2, x (2 - abs(x)) clipped for triangular of half width 1: largest "
        "differences, 257 points of [-2, 2]",
        code=project,
        test=f"{TEST}::test_the_usual_proxies_are_projections",
        printed="0, 0, 0 (derived; the table itself is from memory)",
        number="ours",
        expected=(0.0, 0.0, 0.0),
        tolerance=8 * 2.0**-53,
        why="differences of two tails, each rounded three times",
        run=proxies,
    ),
    Claim(
        id="mirror-tanh",
        statement="MD-tanh (E - 1) / (E + 1), E = (1 + w) / (1 - w) exp(-2 beta rate g), is "
        "tanh(artanh w - beta rate g); with beta 1 the mirror step of the mean (1 + w) / 2; with "
        "beta the soft projection 2 F(u) - 1 of logistic noise of scale 1 / (2 beta)",
        code=tanh_step,
        test=f"{TEST}::test_md_tanh_is_an_additive_step_of_the_artanh",
        printed="0, 0, 0 (derived)",
        number="ours",
        expected=(0.0, 0.0, 0.0),
        tolerance=512 * 2.0**-53,
        why=LAST_BITS,
        run=tanh_forms,
    ),
    Claim(
        id="mirror-dual",
        statement="The dual form is the stable one: w = tanh 20 is 1 in float64, where a step of w "
        "has no value; after a step of 19 of u, w = tanh 1",
        code=dual_step,
        test=f"{TEST}::test_the_dual_form_comes_back_from_a_rounded_one",
        printed="1, refused, .761594 (derived)",
        number="ours",
        expected=(1.0, 1.0, math.tanh(1.0)),
        tolerance=4 * 2.0**-53,
        why="a difference of two sigmoids, each rounded twice",
        run=came_back,
    ),
    Claim(
        id="mirror-entropic",
        statement="Over pmfs, p exp(-rate g) / sum: what a move of 1e-3 between two categories "
        "costs over h^2 / 2 times the second derivative, least and most of six moves; two "
        "categories against the Bernoulli step",
        code=entropic_step,
        test=f"{TEST}::test_an_entropic_step_minimises_what_it_says",
        printed="1, 1, 0 (derived)",
        number="ours",
        expected=(1.0, 1.0, 0.0),
        tolerance=0.01,
        why="next term h / (3 p_i), p_i at least .05: 0.7 %",
        run=closest,
    ),
    Claim(
        id="mirror-first-order",
        statement="A mirror step moves w by -rate 2 f(u) g to first order, the gradient step of "
        "straight-through with the soft projection: ratio of relative errors at rates 1e-4 and "
        "5e-5, less 2; four noises, three w",
        code=mirror_step,
        test=f"{TEST}::test_a_projection_and_its_mirror_map",
        printed="0 in the limit (derived)",
        number="ours",
        expected=(0.0,),
        tolerance=0.01,
        why="next term rate g f'' / f' < 4e-3; w is rounded to 1e-16 in moves of 1e-5",
        run=preconditioned,
    ),
    Claim(
        id="mirror-inside",
        statement="100 mirror steps down (w - 2)^2 / 2, rate .1, from 0: w stays below 1 while u "
        "grows; log10(1 - w) and u",
        code=project,
        test=f"{TEST}::test_a_projection_and_its_mirror_map",
        printed="log10 2 - 2 u / log 10 = -8.8174 (derived); u is the one seen; seen: "
        "-8.8174, 10.498",
        number="ours",
        expected=(-8.8174, 10.4980),
        tolerance=0.5e-4,
        why="half a unit of the fourth decimal",
        run=stays_inside,
    ),
)
