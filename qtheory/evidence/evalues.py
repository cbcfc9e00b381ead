"""E-values: evidence that multiplies, and may be looked at after every draw.

An e-value E is a number >= 0 whose mean is at most 1 if the claim is true, so P(E >= 1/a) <= a
(Markov). Averages of e-values are e-values, whatever their dependence; products are if each has
mean at most 1 given those before it, as of independent ones. A product that grows with time is
then an e-process: the probability that it *ever* reaches 1/a is at most a [ville1939].
Everything is kept as natural logarithms.

    mixture  S successes in n trials at p. With a Beta(c p, c (1-p)) prior for the true
             probability q, E = integral of q**S (1-q)**(n-S) / (p**S (1-p)**(n-S)) over the prior.
    audit    X_1..X_n are independent events of known probabilities p_i, given the past: whether
             weight i moved, given its increment. For a real l, the tilt,

                 exp(l sum X_i - sum log(1 + p_i (exp(l) - 1)))

             has mean 1. Since log(1 + p u) is concave in p, its sum over N events is at most
             N log(1 + q u) at their mean probability q (Jensen), with equality where all are
             equal. Using that bound within bins of p the mean is at most 1, and one pass over
             the weights serves every tilt. A bin is 1/32 wide, so what is lost is below 1/32 of
             the variance p (1 - p) that limits the evidence anyway.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

TILTS = (-1.0, -0.3, -0.1, -0.03, -0.01, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Tilts of an audit, both signs. A tilt l finds odds that are about exp(l) times what they
should be, small ones many weights with small differences."""

_BINS = 32
_BLOCK = 2**15  # events at a time: what they need stays in the cache


def log_beta_mixture(
    successes: ArrayLike, trials: ArrayLike, p: ArrayLike, concentration: ArrayLike
) -> NDArray[np.float64]:
    """Logarithm of the mixture e-value; arguments broadcast, and so does the result.

    concentration: c, the weight of the prior in trials. A prior as wide as a bias b has
    c = p (1 - p) / b**2 - 1.

    >>> pmf = np.array([1, 3, 3, 1]) / 8
    >>> round(float(pmf @ np.exp(log_beta_mixture(np.arange(4), 3, 0.5, 4.0))), 12)
    1.0

    Raises ValueError unless 0 <= successes <= trials, 0 <= p <= 1 and concentration > 0.
    """
    s, n, q, c = np.broadcast_arrays(
        *(np.asarray(a, dtype=np.float64) for a in (successes, trials, p, concentration))
    )
    if not (fits := (s >= 0) & (s <= n)).all():
        raise ValueError(f"successes lie in 0..trials, got {s[~fits][0]:g} of {n[~fits][0]:g}")
    if not (fits := (q >= 0) & (q <= 1)).all():
        raise ValueError(f"a mixture has 0 <= p <= 1, got {q[~fits][0]}")
    if not (fits := c > 0).all():
        raise ValueError(f"a concentration is > 0, got {c[~fits][0]}")
    certain = (q == 0) | (q == 1)
    inside = np.where(certain, 0.5, q)
    prior, other = c * inside, c * (1 - inside)
    log_e = (
        special.betaln(prior + s, other + (n - s))
        - special.betaln(prior, other)
        - special.xlogy(s, inside)
        - special.xlog1py(n - s, -inside)
    )
    return np.asarray(np.where(certain, np.where(s == n * q, 0.0, np.inf), log_e))


def combine(log_e: ArrayLike) -> float:
    """Half the average plus half the product of independent e-values.

    The average finds one cell that is far off, the product many that are slightly off.

    >>> round(combine([math.log(3.0), 0.0]), 12) == round(math.log(0.5 * 2.0 + 0.5 * 3.0), 12)
    True

    Raises ValueError if there are none, or one is NaN.
    """
    values = _values(log_e).reshape(-1)
    if not values.size:
        raise ValueError("there is at least one e-value to combine, got none")
    average = _log_mean(values)
    product = -math.inf if np.isneginf(values).any() else float(values.sum())
    return float(np.logaddexp(average, product)) - math.log(2)


def audit_terms(
    moved: ArrayLike,
    probability: ArrayLike,
    strata: ArrayLike | None = None,
    tilts: Sequence[float] = TILTS,
    count: int | None = None,
) -> NDArray[np.float64]:
    """Logarithms of the audit's e-values, shape (strata, tilts), each from its stratum alone.

    moved: which events happened. probability: of each event, given all that came before;
    float64, or float32 at the price of its rounding, a relative 6e-8. strata: a number 0..count-1
    for every event, chosen without looking at `moved`; default all in one. count: how many
    strata, default the largest number plus one; one that is empty has the e-value 1.

    An EProcess that is multiplied by all terms of every iteration averages the products, and so
    keeps the sign and the place of a difference: with many iterations that finds far smaller
    ones than a product of averages, which is what multiplying by `log_audit` gives.

    Raises ValueError unless the arrays are vectors of one length, `moved` is boolean, and
    probabilities are in 0..1, and strata in 0..count-1.
    """
    x, p = np.asarray(moved), np.asarray(probability)
    if x.dtype != np.bool_ or x.ndim != 1 or p.shape != x.shape:
        raise ValueError(f"moved is a boolean vector with a probability each, got {x.dtype}")
    if p.dtype.kind != "f" or (p.size and not (p.min() >= 0 and p.max() <= 1)):
        got = p.dtype if p.dtype.kind != "f" else f"{p.min()} to {p.max()}"
        raise ValueError(f"a probability is a float between 0 and 1, got {got}")
    j = np.zeros(1, np.intp) if strata is None else np.asarray(strata)
    if strata is not None and (j.shape != x.shape or j.dtype.kind not in "iu"):
        raise ValueError(f"strata are whole numbers, one for each event, got {j.dtype}")
    size = count if count is not None else int(j.max(initial=0)) + 1
    if j.size and not 0 <= j.min() <= j.max() < size:
        raise ValueError(f"strata are in 0..{size - 1}, got {j.min()}..{j.max()}")
    hits, cells, sums = _count(x, p, np.broadcast_to(j, x.shape), size)
    tilt = np.asarray(tilts, dtype=np.float64)
    return hits[:, None] * tilt - _log_means(cells, sums, tilt)


def _count(
    moved: NDArray[np.bool_], p: NDArray[np.floating], strata: NDArray[np.integer], size: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """For each stratum its moves; for each of its bins the events and the sum of their p."""
    hits, cells = np.zeros(size, np.intp), np.zeros(size * _BINS, np.intp)
    sums = np.zeros(size * _BINS)
    for first in range(0, moved.size, _BLOCK):
        block = slice(first, first + _BLOCK)
        q, j = p[block], strata[block]
        place = (q * (_BINS * (1 - 2.0**-20))).astype(np.intp)  # the last bin includes 1
        place += j * np.intp(_BINS)
        hits += np.bincount(j[moved[block]], minlength=size)
        cells += np.bincount(place, minlength=cells.size)
        sums += np.bincount(place, weights=q, minlength=cells.size)
    return hits, cells.reshape(size, _BINS), sums.reshape(size, _BINS)


def _log_means(
    cells: NDArray[np.intp], sums: NDArray[np.float64], tilt: NDArray[np.float64]
) -> NDArray[np.float64]:
    """sum over bins of N log(1 + q (exp(l) - 1)), for every stratum (row) and tilt (column)."""
    stratum, column = np.nonzero(cells)
    number = cells[stratum, column]
    mean = sums[stratum, column] / number
    terms = number[:, None] * np.log1p(mean[:, None] * np.expm1(tilt))
    total = np.zeros((cells.shape[0], tilt.size))
    np.add.at(total, stratum, terms)
    return total


def log_audit(
    moved: ArrayLike,
    probability: ArrayLike,
    strata: ArrayLike | None = None,
    tilts: Sequence[float] = TILTS,
) -> float:
    """Logarithm of one e-value for one iteration: the average of `audit_terms`.

    It needs nothing of the gradients but that the probabilities follow from them.

    >>> p = np.full(1000, 0.5)
    >>> log_audit(np.arange(1000) % 2 == 0, p) < 0 < log_audit(np.arange(1000) % 4 == 0, p)
    True
    """
    return _log_mean(audit_terms(moved, probability, strata, tilts))


@dataclass(slots=True)
class EProcess:
    """Running products of e-values, and the average of these products.

    terms: logarithms of the products. peak: the largest logarithm of the average so far. Both
    are all there is to save: EProcess(terms, peak) continues.

    >>> process = EProcess()
    >>> process.multiply(math.log(500.0)); process.multiply(math.log(0.01))
    >>> round(process.log_e - math.log(5.0), 12), process.rejects(0.01), process.rejects(0.001)
    (0.0, True, False)
    """

    terms: NDArray[np.float64] = field(default_factory=lambda: np.zeros(()))
    peak: float = 0.0

    def multiply(self, log_e: ArrayLike) -> None:
        """Multiply by e-values that are valid given all before: a number, or an array of them.

        An e-value of zero ends its product. Raises ValueError for NaN, and for an array of
        another shape than the first.
        """
        values = _values(log_e)
        if self.terms.shape not in ((), values.shape):
            raise ValueError(f"e-values keep their shape {self.terms.shape}, got {values.shape}")
        ended = np.isneginf(self.terms)
        self.terms = np.where(ended, -np.inf, np.where(ended, 0.0, self.terms) + values)
        self.peak = max(self.peak, self.log_e)

    @property
    def log_e(self) -> float:
        """Logarithm of the average product now."""
        return _log_mean(self.terms)

    def rejects(self, false_alarm: float) -> bool:
        """Whether the average has ever reached 1 / false_alarm."""
        if not 0 < false_alarm < 1:
            raise ValueError(f"a false-alarm rate is between 0 and 1, got {false_alarm}")
        return self.peak >= -math.log(false_alarm)


def _values(log_e: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(log_e, dtype=np.float64)
    if np.isnan(values).any():
        raise ValueError("an e-value is a number, got NaN")
    return values


def _log_mean(values: NDArray[np.float64]) -> float:
    largest = float(values.max())
    if math.isinf(largest):
        return largest
    return largest + math.log(float(np.exp(values - largest).mean()))
