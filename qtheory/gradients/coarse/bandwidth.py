"""The scale of backward noise as the bandwidth of a kernel estimate.

Behind a hard step H the derivative of an expected loss is an integral over the surface where the
pre-activation is 0. A coarse gradient puts the density f of a noise in place of the step's
derivative, so it averages over a strip about that surface: a kernel estimate. With s the scale, R
the roughness of f at scale 1 (the integral of f**2) and N samples averaged,

    bias           B s**2           noise symmetric, B proportional to its variance at scale 1
    variance       V R / (s N)      the strip has about s p samples of size 1 / s
    best scale     s* = (V R / (4 B**2 N))**(1/5), with mean square error 5 B**2 s***4

The model, in which all of it is exact: y(Z) = v . H(Z w) with m x n inputs Z iid N(0, 1) learns
y*(Z) = v* . H(Z w*) in squared error, as in the published analysis of straight-through estimators
for two layers; abs(w) = abs(w*) = 1, theta their angle. Along the unit vector u of w* less its part
along w, one sample of the coarse gradient of w is

    g = D sum_i v_i f(x_i) y_i,  D = sum_i D_i,  D_i = v_i h_i - v*_i k_i,
    h_i = H(x_i),  k_i = H(x_i cos theta + y_i sin theta),  x_i = z_i . w, y_i = z_i . u,

all (x_i, y_i) independent standard normal. Derived, phi the standard normal density:

    E g = -(v . v*) K,    K = int f(x) phi(x) phi(x cot theta) dx -> 1 / (2 pi) as s -> 0,

since E[y k | x] = phi(x cot theta); the limit is the gradient of the expected loss. With
S = E f**2 = int f**2 phi and E[y**2; y > a] = a phi(a) + P(y > a) =: T(a),

    E[f**2 y**2 1{h != k}] = int f**2 phi T(abs(x) cot theta) dx =: U,
    E[f**2 y**2 h] = E[f**2 y**2 k] = S / 2,    E[f**2 y**2 h k] = (S - U) / 2,
    E g**2 = sum_i v_i**2 E[f_i**2 y_i**2 D**2] + 2 K**2 sum_(i != j) v_i v*_i v_j v*_j,

where D = D_i + A_i and A_i is independent of unit i. Integrals are by Gauss-Legendre quadrature on
panels between the breaks of the noise; a normal noise has K = sin / (2 pi sqrt(sin**2 + s**2)).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import optimize, special  # pyright: ignore[reportMissingTypeStubs]

from qtheory.gradients.coarse.formulas import between
from qtheory.noise import Points, Smoothing, roughness, scale_of, std_of, with_scale
from qtheory.values import rebuilt

NODES, FAR = 20, 12.0  # the normal density is below 1e-31 beyond FAR
PEAK = 1.0 / math.sqrt(2.0 * math.pi)

Units = Float[ndarray, "units"]
"""One number for each hidden unit."""


@dataclass(frozen=True, slots=True)
class TwoLayers:
    """A student and its teacher. angle: theta, inside (0, pi), in radians. output: v, teacher: v*,
    equally many numbers, at least one, v . v* not 0.

    Raises ValueError otherwise.
    """

    angle: float
    output: tuple[float, ...] = (1.0,)
    teacher: tuple[float, ...] = (1.0,)

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if not 0.0 < self.angle < math.pi:
            raise ValueError(f"an angle is inside (0, pi), got {self.angle}")
        if not self.output or len(self.output) != len(self.teacher):
            raise ValueError(
                "a student has as many outputs as its teacher, at least one, got "
                f"{len(self.output)} and {len(self.teacher)}"
            )
        if not (math.isfinite(self.overlap) and self.overlap != 0.0):
            raise ValueError(f"v . v* is finite and not 0, got {self.overlap}")

    @property
    def overlap(self) -> float:
        """v . v*."""
        return math.fsum(a * b for a, b in zip(self.output, self.teacher, strict=True))

    @property
    def surface_gradient(self) -> float:
        """The gradient of the expected loss along u: -(v . v*) / (2 pi).

        >>> round(TwoLayers(1.1).surface_gradient, 6)
        -0.159155
        """
        return -self.overlap / (2.0 * math.pi)


def _normal(x: Points) -> Points:
    return PEAK * np.exp(-0.5 * x * x)


def integral(integrand: Callable[[Points], Points], noise: Smoothing) -> float:
    """The integral over abs(x) <= 12 of a function smooth between whole numbers and breaks."""
    edges = np.union1d(np.clip(noise.breaks(), -FAR, FAR), np.arange(-FAR, FAR + 1.0))
    x, weights = between(edges, NODES)
    return float((weights * integrand(x)).sum())


def surface_mean(model: TwoLayers, noise: Smoothing) -> float:
    """K, the kernel estimate of 1 / (2 pi).

    >>> from qtheory.noise import Gaussian
    >>> k, sine = surface_mean(TwoLayers(1.1), Gaussian(0.3)), math.sin(1.1)
    >>> abs(k - sine / (2 * math.pi * math.hypot(sine, 0.3))) < 1e-15
    True
    """
    slope = 1.0 / math.tan(model.angle)
    return integral(lambda x: noise.density(x) * _normal(x) * _normal(x * slope), noise)


def bias(model: TwoLayers, noise: Smoothing) -> float:
    """E g less the gradient of the expected loss, along u: it shrinks the gradient.

    >>> from qtheory.noise import Gaussian
    >>> round(bias(TwoLayers(1.1), Gaussian(0.01)) / 0.01**2, 4)
    0.1002
    """
    return -model.overlap * (surface_mean(model, noise) - 0.5 / math.pi)


def _rest(model: TwoLayers) -> tuple[Units, Units]:
    """E A_i and E A_i**2, where A_i sums D_j over j != i; P(h = k = 1) = (pi - theta) / (2 pi)."""
    v, t = np.array(model.output), np.array(model.teacher)
    mean = 0.5 * (v - t)
    both = 0.5 * (1.0 - model.angle / math.pi)
    var = 0.25 * (v * v + t * t) - 2.0 * v * t * (both - 0.25)
    others = mean.sum() - mean
    return others, var.sum() - var + others**2


def second_moment(model: TwoLayers, noise: Smoothing) -> float:
    """E g**2 along u."""
    slope = 1.0 / math.tan(model.angle)

    def apart(x: Points) -> Points:
        a = np.abs(x) * slope
        return a * _normal(a) + special.ndtr(-a)

    all_of = integral(lambda x: noise.density(x) ** 2 * _normal(x), noise)
    differ = integral(lambda x: noise.density(x) ** 2 * _normal(x) * apart(x), noise)
    cross = 2.0 * surface_mean(model, noise) ** 2
    return _squares(model, all_of, differ) + cross * _pairs(model)


def _squares(model: TwoLayers, all_of: float, differ: float) -> float:
    """sum_i v_i**2 E[f_i**2 y_i**2 (D_i + A_i)**2], from S and U."""
    v, t = np.array(model.output), np.array(model.teacher)
    mean, square = _rest(model)
    own = 0.5 * (v * v + t * t) * all_of - v * t * (all_of - differ)
    return float((v * v * (own + mean * (v - t) * all_of + square * all_of)).sum())


def _pairs(model: TwoLayers) -> float:
    """sum_(i != j) v_i v*_i v_j v*_j."""
    products = np.array(model.output) * np.array(model.teacher)
    return float(products.sum() ** 2 - (products**2).sum())


def variance(model: TwoLayers, noise: Smoothing) -> float:
    """The variance of one sample of g along u."""
    return second_moment(model, noise) - (model.overlap * surface_mean(model, noise)) ** 2


def _check_samples(samples: int) -> None:
    if samples < 1:
        raise ValueError(f"an average is over at least one sample, got {samples}")


def mean_square_error(model: TwoLayers, noise: Smoothing, samples: int) -> float:
    """E (average of g over independent samples - gradient of the expected loss)**2.

    Raises ValueError unless there is a sample.
    """
    _check_samples(samples)
    return bias(model, noise) ** 2 + variance(model, noise) / samples


def bias_constant(model: TwoLayers, family: Smoothing) -> float:
    """B of the bias B s**2: (v . v*) std**2 / (4 pi sin(theta)**2), std that of scale 1.

    Raises ValueError if the noise has no variance: its bias is then not of order s**2.

    >>> from qtheory.noise import Gaussian
    >>> round(bias_constant(TwoLayers(1.1), Gaussian(7.0)), 4)
    0.1002
    """
    std = std_of(with_scale(family, 1.0))
    if math.isinf(std):
        raise ValueError(f"a bias of order s**2 needs noise with a variance, got {family}")
    return model.overlap * (std / math.sin(model.angle)) ** 2 / (4.0 * math.pi)


def variance_constant(model: TwoLayers) -> float:
    """V of the variance V R / s: S -> R phi(0) / s and U -> S / 2.

    For one unit with v = v* = 1 it is phi(0) / 2.

    >>> round(variance_constant(TwoLayers(1.1)) / PEAK, 12)
    0.5
    """
    return PEAK * _squares(model, 1.0, 0.5)


def optimal_scale(model: TwoLayers, family: Smoothing, samples: int) -> float:
    """s* = (V R / (4 B**2 N))**(1/5), in units of the pre-activation's std.

    Raises ValueError unless there is a sample, or as `bias_constant`.

    >>> from qtheory.noise import Gaussian
    >>> [round(optimal_scale(TwoLayers(1.1), Gaussian(1.0), n), 3) for n in (100, 1000, 10000)]
    [0.426, 0.269, 0.17]
    """
    _check_samples(samples)
    rough = roughness(with_scale(family, 1.0))
    square = 4.0 * bias_constant(model, family) ** 2
    return (variance_constant(model) * rough / (square * samples)) ** 0.2


def best_scale(model: TwoLayers, family: Smoothing, samples: int) -> float:
    """The scale of least mean square error, by a search on its logarithm, to 1e-6 of itself,
    within a factor of 4 of s*."""
    middle = math.log(optimal_scale(model, family, samples))

    def error(log: float) -> float:
        return mean_square_error(model, with_scale(family, math.exp(log)), samples)

    search = cast(Callable[..., Any], cast(Any, optimize).minimize_scalar)
    found = search(
        error,
        bounds=(middle - math.log(4.0), middle + math.log(4.0)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return math.exp(float(found.x))


def matched(family: Smoothing, noise: Smoothing) -> Smoothing:
    """The law of the family that has the roughness of a noise, so the same leading variance.

    Relative to a uniform law of half width 1 the scales are 4/3 triangular, 1 / sqrt(pi) normal
    and 1/3 logistic.

    >>> from qtheory.noise import Logistic, Triangular, Uniform
    >>> [scale_of(matched(f, Uniform(1.0))) for f in (Triangular(1.0), Logistic(1.0))]
    [1.3333333333333333, 0.3333333333333333]
    """
    return with_scale(family, scale_of(family) * roughness(family) / roughness(noise))


def window_square(noise: Smoothing, offset: float) -> float:
    """E f(z - t)**2 for z ~ N(0, 1), t the offset: about p(t) R / s, p the density of z."""
    return integral(lambda e: noise.density(e) ** 2 * _normal(e + offset), noise)


def through_layers(noise: Smoothing, coupling: float, layers: int, power: int = 1) -> float:
    """E (f(z_1) ... f(z_L))**power down a chain of hard units.

    z_1 ~ N(0, 1), z_(l+1) = coupling * (2 H(z_l) - 1) + N(0, 1): the factors a gradient collects on
    its way back through L hard layers. Only H(z_l) is handed on, so the expectation is a product of
    2 x 2 matrices. As s -> 0 the second moment gains the factor R phi(coupling) / s for each layer
    after the first, the mean gains phi(coupling).

    Raises ValueError if layers < 1.
    """
    if layers < 1:
        raise ValueError(f"a chain has at least one layer, got {layers}")

    def part(mean: float, up: bool) -> float:
        def integrand(x: Points) -> Points:
            return noise.density(x) ** power * _normal(x - mean) * ((x >= 0) == up)

        return integral(integrand, noise)

    def hands_on(mean: float) -> list[float]:
        return [part(mean, False), part(mean, True)]

    step = np.array([hands_on(-coupling), hands_on(coupling)])
    first = np.array(hands_on(0.0))
    return float((first @ np.linalg.matrix_power(step, layers - 1)).sum())
