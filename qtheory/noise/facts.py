"""The numbers that smoothing needs of a law of noise, in one scale convention for all laws.

    scale_of     the parameter: half width, std of the normal, scale of the others
    std_of       the standard deviation; it is the scale for the normal law only
    peak         the largest density, at 0
    mean_size    E abs(e)
    roughness    the integral of density**2, which sets the variance of a coarse gradient
    characteristic   E cos(w e)

All densities are unimodal. Formulas are textbook ones; tests derive them with sympy.
"""

from __future__ import annotations

import math

import numpy as np
import scipy  # pyright: ignore[reportMissingTypeStubs]

from qtheory.noise.families import (
    Cauchy,
    Gaussian,
    Logistic,
    Points,
    Smoothing,
    StudentT,
    Triangular,
    Uniform,
    check_positive,
)


def scale_of(noise: Smoothing) -> float:
    """The parameter that stretches the law, in the unit of the noise.

    >>> scale_of(Uniform(2.0)), scale_of(Gaussian(2.0)), scale_of(Logistic(2.0))
    (2.0, 2.0, 2.0)
    """
    match noise:
        case Gaussian():
            return noise.std
        case Uniform():
            return noise.half_width
        case _:
            return noise.scale


def std_of(noise: Smoothing) -> float:
    """The standard deviation; infinite for Cauchy and for Student-t with df <= 2.

    Student-t: scale sqrt(df / (df - 2)); uniform: half width / sqrt 3.

    >>> std_of(Uniform(math.sqrt(3))), std_of(StudentT(4.0, 1.0)) ** 2
    (1.0, 2.0000000000000004)
    """
    match noise:
        case Uniform():
            return noise.half_width / math.sqrt(3)
        case StudentT():
            df = noise.df
            return noise.scale * math.sqrt(df / (df - 2)) if df > 2 else math.inf
        case _:
            return noise.std


def with_scale(noise: Smoothing, scale: float) -> Smoothing:
    """The law of the same family with another scale. Raises ValueError unless scale > 0."""
    check_positive("the scale of a noise", scale)
    return noise.scaled(scale / scale_of(noise))


def peak(noise: Smoothing) -> float:
    """The density at 0, where it is largest; per unit of the noise.

    >>> peak(Uniform(1.0)), peak(Triangular(1.0)), peak(Logistic(1.0))
    (0.5, 1.0, 0.25)
    """
    return float(noise.density(np.zeros(1))[0])


def mean_size(noise: Smoothing, mean: float = 0.0) -> float:
    """E abs(mean + e) = abs(mean) + 2 excess(abs(mean)), in the unit of the noise.

    >>> mean_size(Uniform(1.0)), round(mean_size(Logistic(1.0)), 5)
    (0.5, 1.38629)
    """
    return abs(mean) + 2.0 * float(noise.excess(np.array([abs(mean)]))[0])


def roughness(noise: Smoothing) -> float:
    """The integral of density**2, per unit of the noise.

    With s the scale: 1 / (2 s sqrt pi) normal, 1 / (2 s) uniform, 2 / (3 s) triangular, 1 / (6 s)
    logistic, 1 / (2 pi s) Cauchy, B(n + 1/2, 1/2) / (s sqrt(n) B(n/2, 1/2)**2) Student, n df.

    >>> roughness(Triangular(1.0)), round(roughness(Gaussian(1.0)), 5)
    (0.6666666666666666, 0.28209)
    """
    s = scale_of(noise)
    match noise:
        case Gaussian():
            return 0.5 / (s * math.sqrt(math.pi))
        case Uniform():
            return 0.5 / s
        case Triangular():
            return 2.0 / (3.0 * s)
        case Logistic():
            return 1.0 / (6.0 * s)
        case Cauchy():
            return 0.5 / (math.pi * s)
        case StudentT():
            n = noise.df
            beta = scipy.special.betaln  # its logarithm
            logs = float(beta(n + 0.5, 0.5) - 2.0 * beta(0.5 * n, 0.5))
            return math.exp(logs) / (s * math.sqrt(n))


def characteristic(noise: Smoothing, frequency: Points) -> Points:
    """E cos(w e) at angular frequencies w, in radians per unit of the noise.

    With a = s abs(w): exp(-a**2 / 2) normal, sin(a) / a uniform, (sin(a/2) / (a/2))**2 triangular,
    pi a / sinh(pi a) logistic, exp(-a) Cauchy,
    2 K(n/2; b) (b / 2)**(n/2) / Gamma(n/2) with b = a sqrt n, Student of n degrees.

    >>> characteristic(Uniform(1.0), np.array([0.0, np.pi / 2])).round(6).tolist()
    [1.0, 0.63662]
    """
    a = np.abs(scale_of(noise) * frequency)
    match noise:
        case Gaussian():
            return np.exp(-0.5 * a * a)
        case Uniform():
            return np.sinc(a / math.pi)
        case Triangular():
            return np.sinc(0.5 * a / math.pi) ** 2
        case Logistic():
            b = np.maximum(math.pi * a, 1e-9)
            return 2.0 * b * np.exp(-b) / -np.expm1(-2.0 * b)
        case Cauchy():
            return np.exp(-a)
        case StudentT():
            n = noise.df
            b = np.maximum(a * math.sqrt(n), 1e-9)
            power = 0.5 * n * np.log(0.5 * b) - b - float(scipy.special.gammaln(0.5 * n))
            return 2.0 * scipy.special.kve(0.5 * n, b) * np.exp(power)


def quantile(noise: Smoothing, probability: Points) -> Points:
    """The x with P(e <= x) = p, for 0 < p < 1, in the unit of the noise.

    With s the scale: s (2p - 1) uniform, s (1 - sqrt(2 - 2p)) triangular for p >= 1/2,
    s log(p / (1 - p)) logistic, s tan(pi (p - 1/2)) Cauchy; inverse functions of SciPy otherwise.
    Raises ValueError if a probability is not inside (0, 1).

    >>> quantile(Triangular(1.0), np.array([0.125, 0.5, 0.875])).tolist()
    [-0.5, 0.0, 0.5]
    """
    p = np.asarray(probability, dtype=np.float64)
    if not ((p > 0) & (p < 1)).all():
        raise ValueError(f"a quantile has a probability inside (0, 1), got {probability}")
    s = scale_of(noise)
    match noise:
        case Gaussian():
            return s * scipy.special.ndtri(p)
        case Uniform():
            return s * (2.0 * p - 1.0)
        case Triangular():
            return s * np.sign(p - 0.5) * (1.0 - np.sqrt(2.0 * np.minimum(p, 1.0 - p)))
        case Logistic():
            return s * scipy.special.logit(p)
        case Cauchy():
            return s * np.tan(math.pi * (p - 0.5))
        case StudentT():
            return s * scipy.special.stdtrit(noise.df, p)
