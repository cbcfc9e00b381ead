"""Certificates: how far a computed stationary law can be from the true one, whoever computed it.

A small residual r = x - x P is no proof, as slow modes hide in it. A supersolution is. If h >= 0
is zero at one state z and

    h(s) - (P h)(s) >= 1    for every other state s,

then h(s) >= E_s[T_z], the mean time to z: h(X_n) + n does not rise on average before z is met.
With G_st the mean number of visits to t from s before z, x - pi = r G (I - 1 pi) for a law x, as
r has no mass, and so for the total variation distance, half of the sum of absolute differences,

    TV(x, pi) <= (1/2) sum |r_s| h(s) + (1/2) max(sum r_s^+ h(s), sum r_s^- h(s)).

Both conditions are checked in floating point, and rounding errors count against the certificate. It
is about the chain whose probabilities are exactly the floats that are stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from scipy.sparse import linalg  # pyright: ignore[reportMissingTypeStubs]

from qtheory.arrays import Pmf
from qtheory.chain.forms import AnyChain, dense, from_transition_matrix
from qtheory.chain.joint import Operator
from qtheory.chain.markov import MarkovChain, PerState
from qtheory.chain.sparse import SparseChain, SparseMatrix
from qtheory.chain.states import State, state_of

UNIT = 2.0**-53


@dataclass(frozen=True, slots=True)
class Certificate:
    """A proven bound for a law.

    total_variation: at most so far from the stationary law. residual: sum of |x - x P|.
    ground: the state z. longest: largest mean time to it, at most, in iterations.
    """

    total_variation: float
    residual: float
    ground: int
    longest: float


@dataclass(frozen=True, slots=True)
class DenseOperator:
    """A chain with a matrix, as the operator that certificates ask for."""

    chain: MarkovChain

    @property
    def size(self) -> int:
        """Number of states."""
        return self.chain.size

    @property
    def roundings(self) -> tuple[int, int]:
        """n + 2, n + 2: a product and the sum of n terms, whatever their order."""
        return self.chain.size + 2, self.chain.size + 2

    def advance(self, law: Pmf, *, compensated: bool = False) -> Pmf:
        """law P; sums of n terms count as compensated."""
        return law @ self.chain.transition_matrix

    def expect(self, values: PerState) -> PerState:
        """P values."""
        return self.chain.transition_matrix @ values


@dataclass(frozen=True, slots=True)
class SparseOperator:
    """A sparse chain, as the operator that certificates ask for."""

    chain: SparseChain

    @property
    def size(self) -> int:
        """Number of states."""
        return self.chain.size

    @property
    def roundings(self) -> tuple[int, int]:
        """A product and a sum for each move into a state, or out of it, and of its staying."""
        out = np.diff(self.chain.starts)
        entering = np.bincount(self.chain.targets, minlength=self.size)
        return int((entering + out).max()) + 4, 2 * int(out.max()) + 4

    def advance(self, law: Pmf, *, compensated: bool = False) -> Pmf:
        """law P; sums over moves count as compensated."""
        source, target = self.chain.moves
        moved = np.bincount(target, law[source] * self.chain.probabilities, minlength=self.size)
        return law * self.chain.staying + moved

    def expect(self, values: PerState) -> PerState:
        """P values."""
        source, target = self.chain.moves
        moved = np.bincount(source, values[target] * self.chain.probabilities, minlength=self.size)
        return values * self.chain.staying + moved


def operator_of(chain: AnyChain | Operator) -> Operator:
    """A chain as what certificates ask for: by its moves if sparse, else as a matrix."""
    if isinstance(chain, SparseMatrix):
        chain = from_transition_matrix(chain)
    if isinstance(chain, SparseChain):
        return SparseOperator(chain)
    return chain if isinstance(chain, Operator) else DenseOperator(dense(chain))


def certify(chain: AnyChain | Operator, law: Pmf, times: PerState) -> Certificate:
    """Bound the distance of a law from the stationary one.

    times: from `verified_times`: zero at the ground, a supersolution elsewhere.
    The law is divided by its sum, which moves it by n 2**-53 at most; this is counted. So are the
    errors of x P, `roundings` units for each entry of x P and, as a diagonal may be implied, of x,
    and of the sums below, n + 3 units.
    Raises ValueError if the law is no law, or no single state has time 0.

    >>> chain = MarkovChain(np.array([[0.0, 0.5], [0.25, 0.0]]))
    >>> times = verified_times(chain, 0, np.array([0.0, 1.0]))
    >>> certify(chain, np.array([0.34, 0.66]), times).total_variation.__round__(4)
    0.02
    """
    chain = operator_of(chain)
    if not ((law >= 0).all() and abs(law.sum() - 1.0) <= 1e-6):
        raise ValueError(f"a law is >= 0 and sums to one, got the sum {float(law.sum())!r}")
    grounds = np.flatnonzero(times == 0)
    if len(grounds) != 1:
        raise ValueError(f"one state, the ground, has time 0, got {len(grounds)}")
    x = law / law.sum()
    after = chain.advance(x, compensated=True)
    slack = (chain.roundings[0] + 2) * UNIT * (after + x)
    rise, fall = np.maximum(x - after, 0.0) + slack, np.maximum(after - x, 0.0) + slack
    up, down = float(rise @ times), float(fall @ times)
    bound = 0.5 * (up + down + max(up, down)) * (1.0 + (chain.size + 3) * UNIT)
    return Certificate(
        total_variation=bound + chain.size * UNIT,
        residual=float(np.abs(x - after).sum()),
        ground=int(grounds[0]),
        longest=float(times.max()),
    )


def verified_times(chain: AnyChain | Operator, ground: State, guess: PerState) -> PerState:
    """A proven upper bound of the mean times to `ground`, shape (n,): the guess, scaled.

    For h = guess, set to 0 at the ground, m = min of h - P h elsewhere is bounded from below, and
    h / m is a supersolution.
    Raises ValueError if the guess is negative or not finite, or m is not positive.

    >>> chain = MarkovChain(np.array([[0.0, 0.5], [0.25, 0.0]]))
    >>> verified_times(chain, 0, np.array([0.0, 7.0])).round(12).tolist()
    [0.0, 4.0]
    """
    chain = operator_of(chain)
    ground, h = state_of(chain.size, ground), np.array(guess, dtype=np.float64)
    if h.shape != (chain.size,) or not (np.isfinite(h) & (h >= 0)).all():
        raise ValueError(f"times are finite and >= 0, one for each of {chain.size} states, got {h}")
    h[ground] = 0.0
    later = chain.expect(h)
    drop = (h - later) - (chain.roundings[1] + 2) * UNIT * (h + later)
    drop[ground] = np.inf
    least = float(drop.min())
    if not least > 0:
        raise ValueError(
            "a supersolution falls everywhere but at the ground, it rises by "
            f"{-least} at {int(drop.argmin())}"
        )
    return h / least * (1.0 + 4 * UNIT) if np.isfinite(least) else h


def mean_times(chain: AnyChain | Operator, ground: State, accuracy: float = 1e-3) -> PerState:
    """Verified upper bounds of the mean times to `ground`, within about `accuracy` of them.

    (I - P) h = 1 off the ground, by GMRES. It starts from a constant, nearly the answer where a
    chain forgets its start sooner than it finds the ground.
    Raises ValueError if no supersolution is found: the ground is left for good, or all but never
    visited.
    """
    chain = operator_of(chain)
    ground, off = state_of(chain.size, ground), np.ones(chain.size)
    off[ground] = 0.0

    def fall(values: PerState) -> PerState:
        inside = values * off
        return inside - chain.expect(inside) * off

    times = off * float(off.sum() / max(fall(off).sum(), UNIT))
    for _ in range(5):
        times = np.maximum(_gmres(fall, off, times, accuracy / 10), 0.0) * off
        if np.abs(off - fall(times)).max() <= accuracy:
            break
        accuracy /= 10
    return verified_times(chain, ground, times)


def certified_stationary_distribution(
    chain: AnyChain | Operator, tolerance: float = 1e-10, rounds: int = 5
) -> tuple[Pmf, Certificate]:
    """The stationary law from products alone, and the proof of its error.

    Power iteration to find a likely state z. Then rounds of GMRES for x (I - P) = P(z, .) off z,
    whose solution is pi / pi_z, and two power iterations, until the certificate meets the
    tolerance.
    Raises ValueError if it does not: then the tolerance is below the rounding errors times the
    longest mean time, or the chain is all but reducible.
    """
    chain = operator_of(chain)
    law = np.full(chain.size, 1.0 / chain.size)
    for _ in range(20):
        law = chain.advance(law)
    ground = int(law.argmax())
    times = mean_times(chain, ground)
    certificate = certify(chain, law / law.sum(), times)
    for _ in range(rounds):
        law = _solved(chain, law, ground)
        for _ in range(2):
            law = chain.advance(law, compensated=True)
        law /= law.sum()
        certificate = certify(chain, law, times)
        if certificate.total_variation <= tolerance:
            return law, certificate
    raise ValueError(
        f"the stationary law is certified to {certificate.total_variation:.2e} only, asked for "
        f"{tolerance:.2e}; the longest mean time is {certificate.longest:.3g}"
    )


def _solved(chain: Operator, law: Pmf, ground: int) -> Pmf:
    """The stationary law from its equations off the ground, started at `law`."""
    off = np.ones(chain.size)
    off[ground] = 0.0
    start = np.zeros(chain.size)
    start[ground] = 1.0

    def balance(weights: PerState) -> PerState:
        inside = weights * off
        return inside - chain.advance(inside) * off

    weights = _gmres(balance, chain.advance(start) * off, law / law[ground] * off, 1e-12)
    weights = np.maximum(weights, 0.0) * off
    weights[ground] = 1.0
    return weights / weights.sum()


def _gmres(
    product: Callable[[PerState], PerState], right: PerState, start: PerState, accuracy: float
) -> PerState:
    """An approximate solution, which may be poor: the certificate then says so."""
    size = len(right)
    operator = cast(Any, linalg.LinearOperator)((size, size), matvec=product, dtype=np.float64)
    solve = cast(Callable[..., tuple[PerState, int]], cast(Any, linalg).gmres)
    found, _ = solve(operator, right, x0=start, rtol=accuracy, atol=0.0, restart=30, maxiter=10)
    return found
