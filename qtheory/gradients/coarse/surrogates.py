"""The coarse gradient of any surrogate, noise densities among them, and its distance to the truth.

Model and letters are those of `qtheory.gradients.coarse.formulas`. With a surrogate derivative m'
and z one patch,

    a0 = E z m'(z'w),    a1 = E z m'(z'w) H(z'w),    a2 = E z m'(z'w) H(z'w*)
    E g = |v|**2 a1 - v'v* a2 + ((1'v)**2 - |v|**2 - (1'v)(1'v*) + v'v*) a0 / 2.

a0 and a1 are along n = w / |w|. With x standard normal, c = cot t, Phi and phi its distribution
function and density,

    a2 = E[x m'(|w| x) Phi(c x)] n + E[m'(|w| x) phi(c x)] u,

so every surrogate is one-dimensional, and  <E g, d loss/dw> = (v'v*)**2 E[m' phi(c x)] / (2 pi |w|)
is never negative if m' is not. (Our derivation; the paper [yin2019] has three surrogates.)

A noise of scale s in front of the threshold has its density as surrogate, for E H(x + e) has slope
f(x). As s -> 0 the coarse gradient becomes d loss/dw; as s -> infinity it is f(0) times that of the
identity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from qtheory.gradients.coarse.formulas import (
    Filter,
    Geometry,
    Products,
    Setting,
    between,
    geometry,
    products,
)
from qtheory.noise import Gaussian, Points, Smoothing, Uniform, mean_size, std_of
from qtheory.values import rebuilt

ROOT = math.sqrt(2.0 * math.pi)
NODES, FARTHEST = 40, 14.0


@dataclass(frozen=True, slots=True)
class Window:
    """A surrogate derivative: a height between low and high, else 0; either may be infinite.

    Raises ValueError unless low < high and the height is positive and finite.
    """

    low: float
    high: float
    height: float = 1.0

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"a window has low < high, got {self.low} and {self.high}")
        if not (math.isfinite(self.height) and self.height > 0):
            raise ValueError(f"the height of a window is positive and finite, got {self.height}")

    def density(self, x: Points) -> Points:
        """The surrogate derivative."""
        return np.where((x > self.low) & (x < self.high), self.height, 0.0)

    def breaks(self) -> Points:
        """The ends that are finite."""
        ends = np.array([self.low, self.high])
        return ends[np.isfinite(ends)]


Surrogate: TypeAlias = Window | Smoothing

IDENTITY = Window(-math.inf, math.inf)
RELU = Window(0.0, math.inf)
CLIPPED_RELU = Window(0.0, 1.0)


class Moments(NamedTuple):
    """a0 and a1 along n; a2 along n and along u."""

    all: float
    own: float
    along: float
    across: float


def _phi(x: float) -> float:
    return math.exp(-0.5 * min(abs(x), 1e100) ** 2) / ROOT


def _ratio(x: float, y: float) -> float:
    """x / y where y may be 0, and 0 / 0 is 0."""
    return 0.0 if x == 0 else x / y if y else math.copysign(math.inf, x)


def window_moments(window: Window, length: float, angle: float) -> Moments:
    """Closed form. With l and r the ends over |w|, S = Phi(x / sin t) - 1/2 and [ ] from l to r,

    a0 = [-phi(x)], a1 the same from max(l, 0) to max(r, 0),
    a2 = [cos(t) S / sqrt(2 pi) - phi(x) Phi(x cot t)] along n, sin(t) [S] / sqrt(2 pi) along u.

    >>> found = window_moments(RELU, 1.0, math.pi / 2)
    >>> [round(x * ROOT, 12) for x in found]
    [1.0, 1.0, 0.5, 0.5]
    """
    sine, cosine = (math.sin(angle), math.cos(angle)) if angle < math.pi else (0.0, -1.0)

    def primitive(x: float) -> tuple[float, float, float]:
        share = 0.5 * float(special.erf(_ratio(x, sine) / math.sqrt(2.0)))
        fires = float(special.ndtr(math.copysign(1.0, cosine) * _ratio(x * abs(cosine), sine)))
        density = _phi(x)
        return -density, cosine * share / ROOT - density * fires, sine * share / ROOT

    low, high = window.low / length, window.high / length
    a, b = primitive(low), primitive(high)
    whole, along, across = ((y - x) * window.height for x, y in zip(a, b, strict=True))
    own = (_phi(max(low, 0.0)) - _phi(max(high, 0.0))) * window.height
    return Moments(whole, own, along, across)


def normal_moments(std: float, length: float, angle: float) -> Moments:
    """Closed form for the density of a normal noise. With T**2 = s**2 / (s**2 + |w|**2),
    K**2 = sin(t)**2 + T**2 cos(t)**2 and C = 1 / sqrt(2 pi (s**2 + |w|**2)),

    a0 = 0, a1 = s / (2 pi (s**2 + |w|**2)) n, a2 = C / (K sqrt(2 pi)) (w* - (1 - T**2) cos(t) n).

    >>> [round(x * 4 * math.pi, 12) for x in normal_moments(1.0, 1.0, math.pi)]
    [0.0, 1.0, -1.0, 0.0]
    """
    sine, cosine = (math.sin(angle), math.cos(angle)) if angle < math.pi else (0.0, -1.0)
    reach = math.hypot(std, length)
    tau = std / reach
    kappa = math.hypot(sine, tau * cosine)
    size = 1.0 / (2.0 * math.pi * reach * kappa)
    return Moments(0.0, std / (2.0 * math.pi * reach**2), size * tau**2 * cosine, size * sine)


def quadrature_moments(surrogate: Surrogate, length: float, angle: float) -> Moments:
    """For every surrogate: 40 Gauss-Legendre nodes between the breaks of m', of phi (whole numbers
    to 14, beyond which phi is below 1e-42) and of Phi(c x) (multiples of tan t).

    >>> found = quadrature_moments(RELU, 1.0, math.pi / 2)
    >>> [round(x * ROOT, 12) for x in found]
    [1.0, 1.0, 0.5, 0.5]
    """
    sine, cosine = (math.sin(angle), math.cos(angle)) if angle < math.pi else (0.0, -1.0)
    whole = np.arange(-FARTHEST, FARTHEST + 1.0)
    bend = whole * abs(_ratio(sine, cosine))
    edges = np.unique(np.concatenate([whole, surrogate.breaks() / length, bend, np.zeros(1)]))
    edges = edges[np.abs(edges) <= FARTHEST]
    x, weights = between(edges, NODES)
    values = weights * np.exp(-0.5 * x * x) / ROOT * surrogate.density(length * x)
    with np.errstate(divide="ignore", over="ignore"):
        cx = x * cosine / sine if sine else np.copysign(np.inf, x * cosine)
    fires, edge = special.ndtr(cx), np.exp(-0.5 * np.minimum(np.abs(cx), 1e100) ** 2) / ROOT
    sums = (x, x * (x > 0), x * fires, edge)
    return Moments(*(float((values * each).sum()) for each in sums))


def moments(surrogate: Surrogate, length: float, angle: float) -> Moments:
    """a0, a1, a2 at a filter of that length and angle to the teacher's, in radians: closed forms
    for windows, uniform and normal noise, else quadrature.

    Raises ValueError unless the length is positive and the angle in [0, pi].
    """
    if not (0 < length < math.inf and 0 <= angle <= math.pi):
        raise ValueError(
            f"a filter has a positive length and an angle in [0, pi], got {length} and {angle}"
        )
    match surrogate:
        case Window():
            return window_moments(surrogate, length, angle)
        case Uniform():
            s = surrogate.half_width
            return window_moments(Window(-s, s, 0.5 / s), length, angle)
        case Gaussian():
            return normal_moments(surrogate.std, length, angle)
        case _:
            return quadrature_moments(surrogate, length, angle)


def combine(g: Geometry, p: Products, a: Moments) -> Filter:
    """The general rule."""
    others = p.h - 2.0 * p.square
    along = p.square * a.own - p.inner * a.along + 0.5 * others * a.all
    return along * g.n - p.inner * a.across * g.u


def coarse_gradient(at: Setting, surrogate: Surrogate) -> Filter:
    """Expectation of the coarse gradient in w, any surrogate.

    >>> from qtheory.gradients.coarse.formulas import Layer
    >>> teacher = Layer(np.ones(1), np.array([0.0, 1.0]))
    >>> at = Setting(teacher, Layer(np.ones(1), np.array([2.0, 0.0])))
    >>> coarse_gradient(at, CLIPPED_RELU).round(5).tolist()
    [0.02344, -0.07638]
    >>> coarse_gradient(at, Gaussian(1e-6)).round(6).tolist()
    [0.0, -0.079577]
    """
    g = geometry(at)
    return combine(g, products(at), moments(surrogate, g.length, g.angle))


def coarse_gradient_by_quadrature(at: Setting, surrogate: Surrogate) -> Filter:
    """The same with quadrature for every surrogate."""
    g = geometry(at)
    return combine(g, products(at), quadrature_moments(surrogate, g.length, g.angle))


def correlation(at: Setting, surrogate: Surrogate) -> float:
    """Inner product of the coarse gradient with d loss / dw; 0 or more if the surrogate is.

    Normal noise: (v'v*)**2 C sin(t) / (K (2 pi)**(3/2) |w|).
    """
    g = geometry(at)
    size = products(at).inner ** 2 / (2.0 * math.pi * g.length)
    return size * moments(surrogate, g.length, g.angle).across


class Bias(NamedTuple):
    """The coarse gradient less d loss / dw: its part along n, and along u, in units of loss over
    filter; and the length of both over the length of d loss / dw."""

    along: float
    across: float
    relative: float


def bias(at: Setting, surrogate: Surrogate) -> Bias:
    """How far the coarse gradient is from d loss / dw. The relative part is infinite where that
    is 0."""
    g, p = geometry(at), products(at)
    found = coarse_gradient(at, surrogate)
    truth = -p.inner / (2.0 * math.pi * g.length) if g.u.any() else 0.0
    along, across = float(found @ g.n), float(found @ g.u) - truth
    return Bias(along, across, math.hypot(along, across) / abs(truth) if truth else math.inf)


def small_noise_bias(at: Setting, noise: Smoothing) -> Bias:
    """The leading terms for little noise, of any law with a std:

    along n: |v|**2 E|e| / (2 sqrt(2 pi) |w|**2), of first order in the scale;
    along u: v'v* std**2 / (4 pi |w|**3 sin(t)**2), of second order.

    A loss that does not see |w| does not see the first. Raises ValueError if the std is infinite:
    the second term is then of lower order; or if d loss / dw is 0, so for an angle of 0 or pi.
    """
    g, p, std = geometry(at), products(at), std_of(noise)
    if math.isinf(std) or not g.u.any() or p.inner == 0:
        raise ValueError(
            "an expansion needs a finite std, an angle and v'v* that is not 0, "
            f"got {std}, {g.angle} and {p.inner}"
        )
    along = p.square * mean_size(noise) / (2.0 * ROOT * g.length**2)
    across = p.inner * std**2 / (4.0 * math.pi * g.length**3 * math.sin(g.angle) ** 2)
    return Bias(along, across, math.hypot(along, across) * 2.0 * math.pi * g.length / abs(p.inner))
