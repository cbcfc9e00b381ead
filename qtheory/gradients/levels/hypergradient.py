"""Learning a schedule: derivatives of training in the parameters of the noise's schedule.

In expectation a stair under noise is smooth in its input x and in the scale s. With f the density
at scale s, u_i = x - mean - t_i,

    d/dx ds E q = -sum_i d_i (f(u_i) + u_i f'(u_i)) / s,    d2/dx2 E q = sum_i d_i f'(u_i)

if f has a derivative; uniform and triangular noises are refused. A toy: visible weights
v_j = E q(w_j - e), a training loss F(v) = (v - c)' H (v - c) / 2, a validation loss of the same
form, gradient descent w' = w - eta g(w, s) with g = v' F_v, and the schedule

    s_k = floor + beta (1 - k / T)**alpha,    k = 0 .. T - 1,    phi = (beta, alpha).

Forward and reverse mode [franceschi2017], with J = dw/dphi and the adjoint a = dL/dw:

    J' = J - eta (dg/dw J + dg/ds ds/dphi)
    a  = a' - eta (dg/dw)' a',    dL/ds_k = -eta a' dg/ds

Validation is at scale `floor`, which does not depend on phi, so dL/dphi = a_T J_T.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.lattice import Lattice
from qtheory.noise import (
    Cauchy,
    Gaussian,
    Logistic,
    Points,
    Smoothing,
    StudentT,
    Triangular,
    Uniform,
    scale_of,
    with_scale,
)
from qtheory.stairs.smoothing import expectation, slope, slope_in_scale
from qtheory.stairs.stair import Stair
from qtheory.values import own_arrays, rebuilt

Weights = Float[ndarray, " weights"]
Square = Float[ndarray, "weights weights"]
Jacobian = Float[ndarray, "weights parameters"]

LOGISTIC = Logistic(1.0)
TERNARY = Stair.nearest(Lattice.ternary())
TRIES = 21


def density_derivative(noise: Smoothing, u: Points) -> Points:
    """f'(u), per squared unit of the noise; with s the scale

        -u f / s**2 normal             -tanh(u / 2s) f / s logistic
        -2 u f / (s**2 + u**2) Cauchy  -(n + 1) u f / (n s**2 + u**2) Student, n degrees

    Raises ValueError for uniform noise, whose density jumps, and triangular, whose derivative does.

    >>> density_derivative(Cauchy(1.0), np.array([1.0])).round(6).tolist()
    [-0.159155]
    """
    s = scale_of(noise)
    match noise:
        case Gaussian():
            return -u / s**2 * noise.density(u)
        case Logistic():
            return -np.tanh(0.5 * u / s) / s * noise.density(u)
        case Cauchy():
            return -2.0 * u / (s * s + u * u) * noise.density(u)
        case StudentT():
            return -(noise.df + 1) * u / (noise.df * s * s + u * u) * noise.density(u)
        case Uniform() | Triangular():
            raise ValueError(
                f"a density with a continuous derivative is needed, got {noise}: the slope of a "
                "smoothed stair would not be differentiable at the ends and kinks of the density"
            )


def _above(stair: Stair, x: Points, mean: float) -> Points:
    return np.asarray(x)[..., None] - mean - np.array(stair.thresholds)


def curvature(stair: Stair, noise: Smoothing, x: Points, mean: float = 0.0) -> Points:
    """d2/dx2 of the expectation; raises as `density_derivative`.

    >>> curvature(Stair.step(), Logistic(1.0), np.zeros(1)).tolist()
    [0.0]
    """
    return density_derivative(noise, _above(stair, x, mean)) @ stair.jumps


def slope_in_scale_of_slope(stair: Stair, noise: Smoothing, x: Points, mean: float = 0.0) -> Points:
    """d2/dx ds of the expectation: -sum_i d_i (f(u_i) + u_i f'(u_i)) / s.

    >>> slope_in_scale_of_slope(Stair.step(), Logistic(1.0), np.zeros(1)).tolist()
    [-0.25]
    """
    u = _above(stair, x, mean)
    both = noise.density(u) + u * density_derivative(noise, u)
    return -both @ stair.jumps / scale_of(noise)


class Parabola(NamedTuple):
    """(v - centre)' hessian (v - centre) / 2."""

    hessian: Square
    centre: Weights

    def value(self, v: Weights) -> float:
        d = v - self.centre
        return 0.5 * float(d @ self.hessian @ d)

    def gradient(self, v: Weights) -> Weights:
        return self.hessian @ (v - self.centre)


@dataclass(frozen=True, slots=True)
class Toy:
    """Two losses of the visible weights, first weights and how they are trained.

    family: noise of any scale. floor: the last scale, > 0. Raises ValueError unless floor, rate
    and iterations are positive, or if the noise has no derivative of its density.
    """

    training: Parabola
    validation: Parabola
    start: Weights
    family: Smoothing
    learning_rate: float = 0.05
    iterations: int = 200
    floor: float = 0.05

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        own_arrays(self)
        if not (self.floor > 0 and self.learning_rate > 0 and self.iterations > 0):
            raise ValueError(
                "floor, learning rate and iterations are positive, got "
                f"{self.floor}, {self.learning_rate}, {self.iterations}"
            )
        density_derivative(self.family, np.zeros(1))

    @property
    def last(self) -> Smoothing:
        """The noise of validation."""
        return with_scale(self.family, self.floor)


def regression(
    seed: int = 1,
    weights: int = 8,
    points: int = 16,
    noise: float = 0.5,
    family: Smoothing = LOGISTIC,
) -> Toy:
    """Linear regression on normal inputs whose true weights are levels -1, 0, 1, with
    noisy outputs: `points` for training, 8 times as many for validation.

    Mean squared error / 2 up to a constant: hessian X'X / n, centre the least-squares solution.
    Raises ValueError unless weights and points are at least 1.
    """
    if min(weights, points) < 1:
        raise ValueError(f"a regression has weights and points, got {weights} and {points}")
    draw = np.random.default_rng(seed)
    true = draw.integers(-1, 2, weights).astype(np.float64)

    def loss(n: int) -> Parabola:
        x = draw.standard_normal((n, weights))
        y = x @ true + noise * draw.standard_normal(n)
        return Parabola(x.T @ x / n, np.linalg.lstsq(x, y)[0])

    return Toy(loss(points), loss(8 * points), 0.6 * draw.standard_normal(weights), family)


class Phi(NamedTuple):
    """Parameters of a schedule: height above the floor, and power."""

    beta: float
    alpha: float


@runtime_checkable
class Timed(Protocol):
    """What is trained for so many iterations, down to a floor of the scale."""

    @property
    def iterations(self) -> int: ...

    @property
    def floor(self) -> float: ...


def scales(toy: Timed, phi: Phi) -> Points:
    """s_k for k = 0 .. T - 1. Raises ValueError if one is not positive, or alpha is negative.

    >>> scales(regression(), Phi(0.4, 1.0))[[0, 100]].round(12).tolist()
    [0.45, 0.25]
    """
    left = 1.0 - np.arange(toy.iterations) / toy.iterations
    found = toy.floor + phi.beta * left**phi.alpha
    if phi.alpha < 0 or not (found > 0).all():
        raise ValueError(f"scales are positive and alpha >= 0, got {phi}")
    return found


def scale_slopes(toy: Timed, phi: Phi) -> Float[ndarray, "iterations 2"]:
    """ds_k/dphi: (left**alpha, beta left**alpha log left), left = 1 - k / T > 0."""
    left = 1.0 - np.arange(toy.iterations) / toy.iterations
    power = left**phi.alpha
    return np.stack([power, phi.beta * power * np.log(left)], axis=1)


class Local(NamedTuple):
    """The gradient g of the training loss in w, and its derivatives."""

    gradient: Weights
    in_weights: Square
    in_scale: Weights


def local(toy: Toy, w: Weights, scale: float) -> Local:
    """g = v' F_v;  dg/dw = diag(v'' F_v) + diag(v') H diag(v');
    dg/ds = (d2v/dw ds) F_v + v' H dv/ds."""
    noise = with_scale(toy.family, scale)
    v, rise = expectation(TERNARY, noise, w), slope(TERNARY, noise, w)
    outer = toy.training.gradient(v)
    in_weights = rise[:, None] * toy.training.hessian * rise
    in_weights[np.diag_indices_from(in_weights)] += curvature(TERNARY, noise, w) * outer
    moved = toy.training.hessian @ slope_in_scale(TERNARY, noise, w)
    in_scale = slope_in_scale_of_slope(TERNARY, noise, w) * outer + rise * moved
    return Local(rise * outer, in_weights, in_scale)


def train(toy: Toy, at: Points) -> Float[ndarray, "times weights"]:
    """All weights of a run with scales s_0, s_1, ..., first the start."""
    path = [toy.start]
    for scale in at:
        noise = with_scale(toy.family, float(scale))
        outer = toy.training.gradient(expectation(TERNARY, noise, path[-1]))
        gradient = slope(TERNARY, noise, path[-1]) * outer
        path.append(path[-1] - toy.learning_rate * gradient)
    return np.stack(path)


def validation(toy: Toy, w: Weights) -> float:
    """The validation loss in expectation at the last scale."""
    return toy.validation.value(expectation(TERNARY, toy.last, w))


def hard_validation(toy: Toy, w: Weights) -> float:
    """The validation loss of the deployed weights q(w): it jumps, and is flat between."""
    return toy.validation.value(TERNARY(w))


def validation_gradient(toy: Toy, w: Weights) -> Weights:
    """The gradient of `validation` in w."""
    outer = toy.validation.gradient(expectation(TERNARY, toy.last, w))
    return slope(TERNARY, toy.last, w) * outer


class Tangent(NamedTuple):
    """Validation loss, last weights, their derivatives in phi, the hyper-gradient."""

    loss: float
    weights: Weights
    jacobian: Jacobian
    hypergradient: Float[ndarray, " parameters"]


def forward_mode(toy: Toy, phi: Phi) -> Tangent:
    """Weights and dw/dphi together: one more pass for each parameter, no memory of the path."""
    at, slopes = scales(toy, phi), scale_slopes(toy, phi)
    w, jacobian = toy.start, np.zeros((toy.start.size, slopes.shape[1]))
    for scale, into in zip(at, slopes, strict=True):
        here = local(toy, w, float(scale))
        jacobian = jacobian - toy.learning_rate * (
            here.in_weights @ jacobian + here.in_scale[:, None] * into
        )
        w = w - toy.learning_rate * here.gradient
    return Tangent(validation(toy, w), w, jacobian, validation_gradient(toy, w) @ jacobian)


def reverse_mode(toy: Toy, at: Points) -> Points:
    """dL/ds_k for every k, from one pass back along the stored path; no schedule is assumed."""
    path = train(toy, at)
    adjoint, found = validation_gradient(toy, path[-1]), np.zeros(len(at))
    for k in range(len(at) - 1, -1, -1):
        here = local(toy, path[k], float(at[k]))
        found[k] = -toy.learning_rate * float(adjoint @ here.in_scale)
        adjoint = adjoint - toy.learning_rate * (here.in_weights.T @ adjoint)
    return found


@runtime_checkable
class Trained(Protocol):
    """What training under a schedule gives."""

    @property
    def loss(self) -> float: ...

    @property
    def hypergradient(self) -> Points: ...


Outcome = TypeVar("Outcome", bound=Trained)


def descend(
    phi: Points, run: Callable[[Points], Outcome], changes: int, rate: float
) -> list[tuple[Points, Outcome]]:
    """Descent on the logarithms of the parameters, so that all stay positive, with hyper-gradients:
    each change has length `rate` and is halved, up to 20 times, until the loss is smaller. All
    parameters taken and what they gave, the first before any change; ends early if nothing helps.

    Raises ValueError unless all parameters are positive.
    """
    if not (phi > 0).all():
        raise ValueError(f"beta and alpha are positive, got {phi.tolist()}")
    path = [(phi, run(phi))]
    for _ in range(changes):
        phi, now = path[-1]
        into = now.hypergradient * phi
        length = float(np.linalg.norm(into))
        for halvings in range(TRIES if length > 0 else 0):
            new = phi * np.exp(-rate * 0.5**halvings * into / length)
            found = run(new)
            if found.loss < now.loss:
                path.append((new, found))
                break
        else:
            break
    return path


class Descent(NamedTuple):
    """Schedules tried and their validation losses, the first before any change."""

    phis: tuple[Phi, ...]
    losses: tuple[float, ...]


def learn(toy: Toy, phi: Phi, changes: int, rate: float) -> Descent:
    """`descend` on beta and alpha."""
    path = descend(np.array(phi), lambda p: forward_mode(toy, Phi(*p.tolist())), changes, rate)
    return Descent(tuple(Phi(*p.tolist()) for p, _ in path), tuple(found.loss for _, found in path))
