"""Birth and death: chains on 0..n-1 that move to neighbours only.

up_k = P(k -> k+1) and down_k = P(k+1 -> k) determine the chain. Detailed balance
gives the stationary law, and first-step analysis the times of passage [karlin1957]:

    pi_(k+1) / pi_k = up_k / down_k
    t_0 = 1 / up_0,   t_k = (1 + down_(k-1) t_(k-1)) / up_k,   E_a[T_b] = t_a + ... + t_(b-1)

with t_k the mean number of iterations from k to k + 1. Nothing is subtracted, so digits
are lost only as the number of states grows; in the compiled loops not even then, as they carry each
number as two doubles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from qtheory.arrays import Pmf
from qtheory.chain import native
from qtheory.chain.markov import MarkovChain, Moves, PerState
from qtheory.chain.powers import beyond_range, law_of
from qtheory.values import rebuilt

PerLink = Float[ndarray, "links"]
"""One number for each pair of neighbours k, k+1, shape (n-1,)."""

PerLower = Float[ndarray, "lower"]
"""One number for each link but the last, shape (n-2,)."""

Given = Float[ndarray, "_"]
"""Numbers whose count the chain itself checks."""

BLOCK = 512  # ratios whose mantissas, in [1/2, 2], are multiplied before a product is scaled
PIECE = 2**16  # links that are looked at together, to stay in a cache


@dataclass(frozen=True, slots=True, eq=False)
class BirthDeathChain:
    """A chain on 0..n-1 that moves to neighbours.

    up, down: (n-1,), up[k] = P(k -> k+1) and down[k] = P(k+1 -> k).

    Raises ValueError if a probability is not finite or negative, or a state is left with a
    probability above one; two roundings, 2**-52 each, are let pass.

    >>> BirthDeathChain(np.array([0.5, 0.25]), np.array([0.5, 1.0])).to_dense().off_diagonal
    array([[0.  , 0.5 , 0.  ],
           [0.5 , 0.  , 0.25],
           [0.  , 1.  , 0.  ]])
    """

    up: Given
    down: Given

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        up, down = (np.array(a, dtype=np.float64) for a in (self.up, self.down))
        if up.ndim != 1 or up.shape != down.shape:
            raise ValueError(
                f"up and down have one entry for each link, got {up.shape} and {down.shape}"
            )
        for links in (up, down):
            least = links.min(initial=0.0)
            if not least >= 0:  # NaN compares false; infinity exceeds one
                raise ValueError(f"probabilities are finite and >= 0, got {least}")
            links.setflags(write=False)
        most = _most_leaving(up, down)
        if most > 1.0 + 2.0**-51:
            raise ValueError(f"the probability of leaving a state is at most one, got {most!r}")
        object.__setattr__(self, "up", up)
        object.__setattr__(self, "down", down)

    @property
    def size(self) -> int:
        """Number of states."""
        return len(self.up) + 1

    @property
    def staying(self) -> PerState:
        """P_kk, one minus the sum of the others; an absolute error of 2**-52."""
        leaving = np.zeros(self.size)
        leaving[:-1] = self.up
        leaving[1:] += self.down
        return np.maximum(1.0 - leaving, 0.0)

    @property
    def most_leaving(self) -> float:
        """Largest probability of leaving a state."""
        return _most_leaving(self.up, self.down)

    @property
    def moves(self) -> Moves:
        """All pairs (i, j), i != j, with P_ij > 0."""
        up, down = np.flatnonzero(self.up), np.flatnonzero(self.down)
        return Moves(np.concatenate([up, down + 1]), np.concatenate([up + 1, down]))

    def to_dense(self) -> MarkovChain:
        """The same chain with its matrix written out, n**2 numbers."""
        return MarkovChain(np.diag(self.up, 1) + np.diag(self.down, -1))


def _most_leaving(up: PerLink, down: PerLink) -> float:
    """Largest probability of leaving a state; in pieces, as there may be 10**8 states."""
    most = max(float(up[:1].max(initial=0.0)), float(down[-1:].max(initial=0.0)))
    for at in range(0, len(up) - 1, PIECE):
        end = min(at + PIECE, len(up) - 1)
        most = max(most, float((up[at + 1 : end + 1] + down[at:end]).max()))
    return most


class Span(NamedTuple):
    """States first .. last of a chain."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"


def closed_spans(chain: BirthDeathChain) -> list[Span]:
    """The recurrent classes: runs of states that are linked both ways, and are not left."""
    if min(chain.up.min(initial=1.0), chain.down.min(initial=1.0)) > 0:
        return [Span(0, chain.size - 1)]
    cuts = np.flatnonzero((chain.up == 0) | (chain.down == 0))
    first, last = np.concatenate([[0], cuts + 1]), np.concatenate([cuts, [chain.size - 1]])
    enters = np.concatenate([[False], chain.down[cuts] > 0])  # from a run to the one below it
    leaves = np.concatenate([chain.up[cuts] > 0, [False]])  # to the one above it
    return [Span(int(first[k]), int(last[k])) for k in np.flatnonzero(~enters & ~leaves)]


def birth_death_law(chain: BirthDeathChain) -> Pmf:
    """The stationary law, shape (n,). Raises ValueError if there is more than one recurrent class.

    Each entry has a relative error below 2**-51 in the compiled loop (three roundings of 2**-53,
    and n 2**-100 in all from the products of two doubles), below 4 n 2**-53 in the plain one.
    Entries below 2**-1022 of the largest lose digits or vanish.
    """
    spans = closed_spans(chain)
    if len(spans) > 1:
        raise ValueError(
            f"a stationary law is unique if there is one recurrent class, got {len(spans)}: "
            + ", ".join(map(str, spans))
        )
    ((first, last),) = spans
    found = _law(chain.up[first:last], chain.down[first:last])
    if found.size == chain.size:
        return found
    law = np.zeros(chain.size)
    law[first : last + 1] = found
    return law


def _law(up: PerLink, down: PerLink) -> Pmf:
    """The law of an irreducible chain."""
    library = native.library()
    if library is None:
        return _plain_law(up, down)
    law = np.empty(len(up) + 1)
    up, down = np.ascontiguousarray(up), np.ascontiguousarray(down)
    addresses = map(native.address, (up, down))
    if library.qt_chain_birth_death_law(*addresses, law.size, law.ctypes.data):
        raise MemoryError(f"a law of {law.size} states needs more memory than there is")
    return law


def _plain_law(up: PerLink, down: PerLink) -> Pmf:
    """Products of mantissas, block by block, their powers of two apart."""
    fraction, exponent = np.ones(len(up) + 1), np.zeros(len(up) + 1, dtype=np.int64)
    (of_up, power_up), (of_down, power_down) = np.frexp(up), np.frexp(down)
    now, shift = 1.0, 0
    ratio, power = of_up / of_down, (power_up - power_down).astype(np.int64)
    for at in range(0, len(up), BLOCK):
        part, to = slice(at, at + BLOCK), slice(at + 1, min(at + BLOCK, len(up)) + 1)
        fraction[to] = now * np.cumprod(ratio[part])
        exponent[to] = shift + np.cumsum(power[part])
        now, more = (float(x) for x in np.frexp(fraction[to][-1]))
        shift = int(exponent[to][-1]) + int(more)
    return law_of(fraction, exponent)


def climbing_times(up: PerLink, down: PerLink) -> PerState:
    """Mean iterations from each state to the last one, shape (n,); infinite if it may be missed.

    up, down: of a chain of birth and death, (n-1,); the last entry of `down` is not used.
    Each entry has a relative error below 2**-51 in the compiled loop, below 5 n 2**-53 in the
    plain one. Raises OverflowError if a time is beyond a float.

    >>> climbing_times(np.array([0.5, 2.0**-100]), np.array([0.5, 0.0])).tolist()
    [2.535301200456459e+30, 2.535301200456459e+30, 0.0]
    """
    times = np.zeros(len(up) + 1)
    if not up.size:
        return times
    first = _first_sure(up, down[:-1])
    times[:first] = np.inf
    _climb(up[first:], down[first:-1], times[first:-1])
    if not np.isfinite(times[first]):  # the longest, or NaN if one before it was too long
        raise OverflowError(beyond_range("a mean time"))
    return times


def _first_sure(up: PerLink, down: PerLower) -> int:
    """The lowest state from which the last is reached for certain.

    That is above every state that can not be left upwards, and above a link that is not gone down.
    """
    if up.min() > 0:
        return 0
    stuck = np.flatnonzero(up == 0)
    floors = stuck[-1] + 1 + np.flatnonzero(down[stuck[-1] :] == 0)
    return int(floors[0]) if floors.size else len(up)


def _climb(up: PerLink, down: PerLower, times: PerLink) -> None:
    """Write times from states 0..m-1 to m; up is positive, down has m - 1 entries."""
    library = native.library()
    if library is None:
        times[:] = _plain_climb(up, down)
    elif times.size:
        up, down = np.ascontiguousarray(up), np.ascontiguousarray(down)
        library.qt_chain_birth_death_climb(
            *map(native.address, (up, down)), times.size, times.ctypes.data
        )


def _plain_climb(up: PerLink, down: PerLower) -> PerLink:
    def passages() -> Iterator[float]:
        time = 0.0
        for p, q in zip(up.tolist(), [0.0, *down.tolist()], strict=False):
            time = (1.0 + q * time) / p
            yield time

    times = np.fromiter(passages(), dtype=np.float64, count=len(up))
    return np.cumsum(times[::-1])[::-1]
