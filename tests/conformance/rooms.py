"""What the conformance suite asks of walkers beside their own rooms: whether moves are explained.

A kernel's thresholds may lie from the reference's by the declared edge (`qreference.edge`): 0
where both rooms compute the same integer.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

import qreference
from qreference import walker
from qtheory.algorithms import Spec, contract, walkers
from qtheory.arrays import Outcomes

COINS = tuple(stem for stem in walkers() if contract(stem).destinations == "coin")


def unexplained(spec: Spec, index, increment, words, after) -> np.ndarray:
    """Weights that are not where the reference puts them, though their word is off the edges.

    With thresholds T here and T' there, |T - T'| <= w, decisions differ for the words between:
    T - w <= word < T + w holds for each of them, and for no word if w = 0. A word on an edge goes
    to a destination beside it, or beside another whose edge it is on too.
    """
    found = walker.outcomes(spec, index, increment)
    width = qreference.edge(spec, found.thresholds)
    low = np.clip(found.thresholds.astype(np.int64) - width, 0, 2**32)
    high = np.clip(found.thresholds.astype(np.int64) + width, 0, 2**32)
    word = words.astype(np.int64)[..., None]
    fewest, most = (word >= high).sum(-1), (word >= low).sum(-1)
    place = np.arange(found.destinations.shape[-1])
    allowed = (fewest[..., None] <= place) & (place <= most[..., None])
    return ~(allowed & (found.destinations == after[..., None])).any(axis=-1)


def shares(pmf: np.ndarray, outcomes: Outcomes) -> tuple[np.ndarray, np.ndarray]:
    """The law's probability that a word is below each threshold, and where it can be told.

    pmf: (n, size). A threshold between two names of one place divides nothing that a law shows:
    it can be told only where the places before it and those after it have none in common.
    """
    places, columns, told = outcomes.destinations, [], []
    for k in range(1, places.shape[-1]):
        before = np.zeros_like(pmf, dtype=bool)
        np.put_along_axis(before, places[:, :k], True, -1)
        columns.append((pmf * before).sum(-1))
        told.append(~np.take_along_axis(before, places[:, k:], -1).any(-1))
    shape = (len(pmf), places.shape[-1] - 1)
    return np.array(columns).T.reshape(shape), np.array(told, bool).T.reshape(shape)


def words_beside(thresholds: np.ndarray) -> list[int]:
    """The first and the last word, and those beside thresholds of 0 .. 2**32."""
    near = [0, 2**32 - 1, *(int(t) + d for t in thresholds.ravel() for d in (-1, 0, 1))]
    return sorted({word for word in near if 0 <= word < 2**32})


def place_of(outcomes: Outcomes, word: int) -> int:
    """Where one weight goes with a word, said without a sum: the interval that holds it."""
    ends = [0, *outcomes.thresholds[0].tolist(), 2**32]
    (k,) = (k for k, (low, high) in enumerate(pairwise(ends)) if low <= word < high)
    return int(outcomes.destinations[0, k])
