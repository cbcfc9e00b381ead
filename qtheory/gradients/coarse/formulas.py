"""Coarse gradients of one hidden layer of hard thresholds [yin2019]: formulas of the paper.

A filter w sees m patches, the rows of Z, independent standard normal numbers; v adds the firings:

    y = v' H(Z w),  H(x) = 1 if x > 0, else 0;  loss = E (y - y*)**2 / 2, y* by a teacher v*, w*.

With t the angle between w and w*, 1 the vector of ones, u the unit vector of w* less its part
along w, and n = w / |w|,

    loss    = (v'Av - 2 v'(k I + 11')v* + v*'A v*) / 8,    A = I + 11',  k = 1 - 2t / pi
    d/dv    = (A v - (k I + 11') v*) / 4
    d/dw    = -v'v* / (2 pi |w|) u.

The derivative of H is 0, so what trains w is a coarse gradient: the chain rule with a surrogate
derivative m'(z'w) in place of H'. Its expectation is below for the identity (m' = 1), the ReLU (m'
= H) and the clipped ReLU (m' = 1 on (0, 1)); `qtheory.gradients.coarse.surrogates` has all others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from qtheory.values import own_arrays, rebuilt

Output = Float[ndarray, "hidden"]
Filter = Float[ndarray, "inputs"]
Edges = Float[ndarray, "edges"]
Nodes = Float[ndarray, "nodes"]

PARALLEL = 2.0**-46
"""Below this sine the angle is 0 or pi: the sine of two equal vectors is a few roundings."""
NODES = 200


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Output weights v and filter w, of a student or a teacher. Raises ValueError unless v has an
    entry, w two, all are finite and w is not 0, nor of a length that float64 cannot square: its
    direction is what fires.
    """

    output: Output
    filter: Filter

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        own_arrays(self)
        if self.output.ndim != 1 or self.output.size < 1:
            raise ValueError(f"output weights are one row, not empty, got {self.output.shape}")
        if self.filter.ndim != 1 or self.filter.size < 2:
            raise ValueError(f"a filter has two weights at least, got shape {self.filter.shape}")
        if not (np.isfinite(self.output).all() and np.isfinite(self.filter).all()):
            raise ValueError(f"weights are finite, got {self.output} and {self.filter}")
        if not self.filter.any():
            raise ValueError("a filter is not 0, got 0")
        if not 1e-150 < np.abs(self.filter).max() < 1e150:
            raise ValueError(f"a filter has a length in (1e-150, 1e150), got {self.filter}")


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """A teacher and a student of the same shapes, else ValueError. The teacher's filter counts by
    its direction alone; where the formulas have w* it has length 1."""

    teacher: Layer
    student: Layer

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        shapes = [(x.output.size, x.filter.size) for x in (self.teacher, self.student)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"teacher and student have the same shapes, got {shapes}")


class Geometry(NamedTuple):
    """length |w|; angle between w and w*, in radians; n = w / |w|; u, the unit vector of w* less
    its part along w, and 0 at an angle of 0 or pi; target = w*, of length 1."""

    length: float
    angle: float
    n: Filter
    u: Filter
    target: Filter


class Products(NamedTuple):
    """What the gradients need of v and v*: |v|**2, v'v*, 1'v, 1'v*."""

    square: float
    inner: float
    total: float
    teacher_total: float

    @property
    def h(self) -> float:
        """|v|**2 + (1'v)**2 - (1'v)(1'v*) + v'v*."""
        return self.square + self.total * (self.total - self.teacher_total) + self.inner


def geometry(at: Setting) -> Geometry:
    """Lengths and directions; the angle has its sine from w* less its part along w.

    >>> at = Setting(Layer(np.ones(1), np.array([0.0, 2.0])), Layer(np.ones(1), np.array([3.0, 0])))
    >>> found = geometry(at)
    >>> found.length, round(found.angle, 6), found.u.tolist()
    (3.0, 1.570796, [0.0, 1.0])
    """
    w, target = at.student.filter, at.teacher.filter / np.linalg.norm(at.teacher.filter)
    length = float(np.linalg.norm(w))
    n = w / length
    across = target - (n @ target) * n
    across = across - (n @ across) * n
    sine = float(np.linalg.norm(across))
    if sine < PARALLEL:
        return Geometry(length, 0.0 if n @ target > 0 else math.pi, n, np.zeros_like(n), target)
    return Geometry(length, math.atan2(sine, float(n @ target)), n, across / sine, target)


def products(at: Setting) -> Products:
    """Inner products of the output weights."""
    v, teacher = at.student.output, at.teacher.output
    return Products(float(v @ v), float(v @ teacher), float(v.sum()), float(teacher.sum()))


def loss(at: Setting) -> float:
    """The population loss; it does not depend on |w|.

    >>> same = Layer(np.array([1.0, -1.0]), np.array([1.0, 0.0]))
    >>> loss(Setting(same, same))
    0.0
    >>> loss(Setting(same, Layer(same.output, -same.filter)))
    1.0
    """
    p, own = products(at), at.teacher.output
    k = 1.0 - 2.0 * geometry(at).angle / math.pi
    teacher = float(own @ own) + p.teacher_total**2
    return (p.square + p.total**2 - 2.0 * (k * p.inner + p.total * p.teacher_total) + teacher) / 8.0


def output_gradient(at: Setting) -> Output:
    """d loss / dv; also the expectation of the sample gradient, for v needs no surrogate.

    >>> same = Layer(np.array([1.0, -1.0]), np.array([1.0, 0.0]))
    >>> output_gradient(Setting(same, Layer(same.output, -same.filter))).tolist()
    [0.5, -0.5]
    """
    v, teacher, p = at.student.output, at.teacher.output, products(at)
    k = 1.0 - 2.0 * geometry(at).angle / math.pi
    return (v + p.total - k * teacher - p.teacher_total) / 4.0


def filter_gradient(at: Setting) -> Filter:
    """d loss / dw; 0 at an angle of 0 or pi, where the loss has a kink in w.

    >>> teacher = Layer(np.ones(1), np.array([0.0, 1.0]))
    >>> filter_gradient(Setting(teacher, Layer(np.ones(1), np.array([2.0, 0.0])))).round(6).tolist()
    [-0.0, -0.079577]
    """
    g = geometry(at)
    return -products(at).inner / (2.0 * math.pi * g.length) * g.u


def identity_gradient(at: Setting) -> Filter:
    """Identity surrogate: (|v|**2 n - v'v* w*) / sqrt(2 pi).

    >>> teacher = Layer(np.ones(1), np.array([0.0, 1.0]))
    >>> at = Setting(teacher, Layer(np.ones(1), np.array([2.0, 0.0])))
    >>> identity_gradient(at).round(5).tolist()
    [0.39894, -0.39894]
    """
    g, p = geometry(at), products(at)
    return (p.square * g.n - p.inner * g.target) / math.sqrt(2.0 * math.pi)


def relu_gradient(at: Setting) -> Filter:
    """ReLU surrogate: h n / (2 sqrt(2 pi)) - cos(t/2) v'v* (n + w*) / (|n + w*| sqrt(2 pi)).

    |n + w*| = 2 cos(t/2), so the second fraction is v'v* (n + w*) / (2 sqrt(2 pi)); that form has
    no 0 / 0 at t = pi.

    >>> teacher = Layer(np.ones(1), np.array([0.0, 1.0]))
    >>> relu_gradient(Setting(teacher, Layer(np.ones(1), np.array([2.0, 0.0])))).round(5).tolist()
    [0.19947, -0.19947]
    """
    g, p = geometry(at), products(at)
    return (p.h * g.n - p.inner * (g.n + g.target)) / (2.0 * math.sqrt(2.0 * math.pi))


_legendre = cache(np.polynomial.legendre.leggauss)


def between(edges: Edges, count: int) -> tuple[Nodes, Nodes]:
    """So many Gauss-Legendre nodes between every two edges that follow each other; their weights.

    >>> x, weights = between(np.array([0.0, 1.0, 3.0]), 2)
    >>> float((weights * x**3).sum())
    20.25
    """
    nodes, weights = _legendre(count)
    half = 0.5 * np.diff(edges)[:, None]
    return (edges[:-1, None] + half * (nodes + 1.0)).ravel(), (half * weights).ravel()


def xi(r: Float[ndarray, "..."]) -> Float[ndarray, "..."]:
    """The integral of x**2 exp(-x**2 / 2) from 0 to r: sqrt(pi/2) erf(r / sqrt 2) - r exp(-r**2/2).

    Below r = 0.1 its series r**3/3 - r**5/10 + r**7/56 - r**9/432 + r**11/4224, for the two terms
    cancel.

    >>> xi(np.array([0.0, 1.0, np.inf])).round(6).tolist()
    [0.0, 0.249094, 1.253314]
    """
    r = np.asarray(r, dtype=np.float64)
    far = np.minimum(r, 40.0)
    closed = math.sqrt(0.5 * math.pi) * special.erf(far / math.sqrt(2)) - far * np.exp(
        -(far**2) / 2
    )
    near = far**3 * (
        1 / 3 - far**2 * (1 / 10 - far**2 * (1 / 56 - far**2 * (1 / 432 - far**2 / 4224)))
    )
    return np.where(far < 0.1, near, closed)


def p_and_q(angle: float, length: float) -> tuple[float, float]:
    """p(t) and q(t), integrals of cos a and sin a times xi(1 / (|w| cos a)) / (2 pi), where a goes
    from t - pi/2 to pi/2.

    They are the expectations of a patch along n and u where both filters fire and the clipped ReLU
    has slope 1. Gauss-Legendre nodes, 200 on each panel; panels end where the argument of xi is 4,
    1, 1/4, ..., for it is a power of cos a below 1 and goes through all of them if |w| is large.

    >>> p, q = p_and_q(0.0, 1.0)
    >>> round(p, 6), round(abs(q), 6), round((1 - math.exp(-0.5)) / math.sqrt(2 * math.pi), 6)
    (0.156972, 0.0, 0.156972)
    """
    begin, end = angle - 0.5 * math.pi, 0.5 * math.pi
    count = 2 + max(0, math.ceil(math.log(length, 4.0)))
    bends = [math.acos(min(1.0, 4.0 ** (k - 1) / length)) for k in range(count)]
    inner = {a for bend in (*bends, 0.0) for a in (-bend, bend) if begin < a < end}
    edges = np.array([begin, *sorted(inner), end])
    a, weights = between(edges, NODES)
    values = weights * xi(1.0 / (length * np.maximum(np.cos(a), 1e-300))) / (2.0 * math.pi)
    return float((values * np.cos(a)).sum()), float((values * np.sin(a)).sum())


def clipped_relu_gradient(at: Setting) -> Filter:
    """Clipped ReLU: h p(0) n / 2 - v'v* (p(t) n + q(t) u).

    >>> teacher = Layer(np.ones(1), np.array([0.0, 1.0]))
    >>> at = Setting(teacher, Layer(np.ones(1), np.array([2.0, 0.0])))
    >>> clipped_relu_gradient(at).round(5).tolist()
    [0.02344, -0.07638]
    """
    g, p = geometry(at), products(at)
    along, across = p_and_q(g.angle, g.length)
    whole, _ = p_and_q(0.0, g.length)
    return (0.5 * p.h * whole - p.inner * along) * g.n - p.inner * across * g.u


def identity_correlation(at: Setting) -> float:
    """Inner product of the identity's coarse gradient with d loss / dw, at least 0:
    sin(t) (v'v*)**2 / ((2 pi)**(3/2) |w|).

    >>> teacher = Layer(np.ones(1), np.array([0.0, 1.0]))
    >>> round(identity_correlation(Setting(teacher, Layer(np.ones(1), np.array([2.0, 0.0])))), 6)
    0.031747
    """
    g = geometry(at)
    return math.sin(g.angle) * products(at).inner ** 2 / ((2.0 * math.pi) ** 1.5 * g.length)


def relu_correlation(at: Setting) -> float:
    """The same for the ReLU: half of the identity's."""
    return 0.5 * identity_correlation(at)
