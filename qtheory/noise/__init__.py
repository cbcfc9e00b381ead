"""Continuous laws of noise, symmetric about 0 and unimodal, and facts about them.

The parameter in a constructor is named for what it is: `std` of the normal law, `half_width` of
the uniform and triangular, `scale` of the logistic, Student-t and Cauchy. `scale_of` and `std_of`
give the scale and the standard deviation of every law.
"""

from qtheory.noise.facts import (
    characteristic,
    mean_size,
    peak,
    quantile,
    roughness,
    scale_of,
    std_of,
    with_scale,
)
from qtheory.noise.families import (
    EXAMPLES,
    Cauchy,
    Gaussian,
    Logistic,
    Noise,
    Points,
    Smoothing,
    StudentT,
    Triangular,
    Uniform,
)

__all__ = [
    "EXAMPLES",
    "Cauchy",
    "Gaussian",
    "Logistic",
    "Noise",
    "Points",
    "Smoothing",
    "StudentT",
    "Triangular",
    "Uniform",
    "characteristic",
    "mean_size",
    "peak",
    "quantile",
    "roughness",
    "scale_of",
    "std_of",
    "with_scale",
]
