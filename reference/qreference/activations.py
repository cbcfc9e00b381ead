"""Multi-step activations phi_r of GXNOR-Net and their surrogate derivatives [deng2018].

Order N_2 >= 1 gives K = 2**(N_2 - 1) positive levels k / K and as many negative ones, on
[-H, H] with H = 1. Level k starts at the threshold t_k = r + (k - 1) (H - r) / K:

    phi_r(x) = sign(x) #{k : |x| > t_k} / K

so N_2 = 1 is ternary, sign(x) if |x| > r, else 0, and |x| > H saturates. Order 0 is binary.

The derivative is zero almost everywhere. Its surrogate puts a window of half-width a around
every threshold, of the same area as the height of the step, 1 / K:

    rectangular   1 / (2 a K)                          for | |x| - t_k | <= a, else 0
    triangular    max(0, 1 - | |x| - t_k | / a) / (a K)

Windows of several thresholds add. Where a > t_k, a window ends at x = 0 and loses area there.
The one step of order 0 has height 2, so a single window of area 2 around 0.

Tie rules: |x| = t_k is not yet level k; binary takes x = 0 to +1; rectangular windows include
their ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from qreference.arrays import Real
from qtheory.arrays import Levels


@dataclass(frozen=True, slots=True)
class MultiStep:
    """A multi-step activation.

    order: N_2 >= 0. threshold: r in [0, 1), half the width of the zone that gives 0; unused
    by order 0. half_width: a > 0. Both are in units of the pre-activation.
    """

    order: int = 1
    threshold: float = 0.5
    half_width: float = 0.5
    window: Literal["rectangular", "triangular"] = "rectangular"

    def __post_init__(self) -> None:
        if self.order < 0:
            raise ValueError(f"the order of an activation is a whole number >= 0, got {self.order}")
        if not 0 <= self.threshold < (1 if self.order > 1 else math.inf):
            raise ValueError(
                f"the threshold r is >= 0, and below 1 for order > 1, got {self.threshold}"
            )
        if not (math.isfinite(self.half_width) and self.half_width > 0):
            raise ValueError(f"the half-width is positive and finite, got {self.half_width}")
        if self.window not in ("rectangular", "triangular"):
            raise ValueError(f"a window is rectangular or triangular, got {self.window!r}")

    @property
    def thresholds(self) -> Levels:
        """t_1 .. t_K; of the binary activation its only one, 0.

        >>> MultiStep(order=2, threshold=0.5).thresholds.tolist()
        [0.5, 0.75]
        """
        if self.order == 0:
            return np.zeros(1)
        count = 1 << (self.order - 1)
        return self.threshold + np.arange(count) * (1 - self.threshold) / count


def activate(spec: MultiStep, x: Real) -> Real:
    """phi_r(x), in the type of x.

    >>> activate(MultiStep(order=2), np.array([-2.0, 0.5, 0.6, 0.8])).tolist()
    [-1.0, 0.0, 0.5, 1.0]
    """
    if spec.order == 0:
        return np.where(x >= 0, 1, -1).astype(x.dtype)
    thresholds = spec.thresholds.astype(x.dtype)
    passed = np.zeros_like(x)
    for t in thresholds:
        passed += np.abs(x) > t
    return np.sign(x) * passed / len(thresholds)


def derivative(spec: MultiStep, x: Real) -> Real:
    """The surrogate derivative at x, in the type of x.

    >>> derivative(MultiStep(half_width=0.25), np.array([-0.5, 0.0, 0.25, 0.8])).tolist()
    [2.0, 0.0, 2.0, 0.0]
    """
    thresholds = spec.thresholds.astype(x.dtype)
    height = 2.0 if spec.order == 0 else 1 / len(thresholds)
    a = spec.half_width
    total = np.zeros_like(x)
    for t in thresholds:
        distance = np.abs(np.abs(x) - t)
        if spec.window == "rectangular":
            total += (distance <= a).astype(x.dtype) * (height / (2 * a))
        else:
            total += np.maximum(0, 1 - distance / a) * (height / a)
    return total
