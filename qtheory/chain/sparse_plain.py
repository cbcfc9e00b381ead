"""Elimination of sparse chains in plain Python: what the compiled loops do, state by state.

Rows are dictionaries. The next state to be taken out is one of fewest neighbours, counted exactly;
its numbers are kept for the way back. Every operation is rounded, and every sum is exact before.
"""

from __future__ import annotations

import heapq
import math
from typing import NamedTuple

import numpy as np

from qtheory.arrays import Pmf
from qtheory.chain.markov import Moves, PerMove, PerState
from qtheory.chain.powers import law_of

BYTES = 200
"""That a number in a dictionary takes, and those that point to it."""

Row = dict[int, float]


class Step(NamedTuple):
    """A state as it was taken out: the probability of leaving it, P_kj to the states that were
    left, P_ik from them, and its reward."""

    state: int
    leaving: float
    to: Row
    come_from: Row
    reward: float


class Elimination:
    """The states of a chain, taken out one after the other; of a law all but the last one."""

    def __init__(
        self,
        moves: Moves,
        probabilities: PerMove,
        exits: PerState | None,
        rewards: PerState | None,
    ) -> None:
        size = 0 if exits is None else len(exits)
        size = max(size, 1 + max(map(int, (*moves.source, *moves.target)), default=0))
        self.rows: list[Row] = [{} for _ in range(size)]
        self.columns: list[set[int]] = [set[int]() for _ in range(size)]
        pairs: list[tuple[int, int]] = list(
            zip(moves.source.tolist(), moves.target.tolist(), strict=True)
        )
        for (i, j), p in zip(pairs, probabilities.tolist(), strict=True):
            self.rows[i][j] = p
            self.columns[j].add(i)
        self.law = exits is None
        self.exits = [0.0] * size if exits is None else exits.tolist()
        self.rewards = [0.0] * size if rewards is None else rewards.tolist()

    def run(self, memory: int) -> list[Step]:
        """All steps. Raises MemoryError if they take more than so many bytes, OverflowError if a
        state is left with probability 0."""
        waiting = [(len(self._near(k)), k) for k in range(len(self.rows))]
        heapq.heapify(waiting)
        steps: list[Step] = []
        out, numbers = set[int](), 0
        while waiting:
            degree, k = heapq.heappop(waiting)
            near = self._near(k)
            if k in out or degree != len(near):
                continue
            if self.law and len(steps) == len(self.rows) - 1:
                steps.append(Step(k, 1.0, {}, {}, 0.0))
                break
            out.add(k)
            numbers += degree
            if BYTES * numbers > memory:
                raise MemoryError(
                    f"elimination of a sparse chain may take {memory} bytes (its field `memory`), "
                    f"got one that needs {BYTES * numbers} or more"
                )
            steps.append(self._take_out(k))
            for i in near:
                heapq.heappush(waiting, (len(self._near(i)), i))
        return steps

    def _near(self, k: int) -> set[int]:
        return self.rows[k].keys() | self.columns[k]

    def _take_out(self, k: int) -> Step:
        row = self.rows[k]
        leaving = math.fsum([*row.values(), self.exits[k]])
        if leaving < 2.0**-1022:
            raise OverflowError(f"elimination underflowed: state {k} is left with probability 0")
        come_from = {i: self.rows[i].pop(k) for i in sorted(self.columns[k])}
        for i, p in come_from.items():
            share = p / leaving
            for j, q in row.items():
                if j != i:
                    self.rows[i][j] = self.rows[i].get(j, 0.0) + share * q
                    self.columns[j].add(i)
            self.exits[i] += share * self.exits[k]
            self.rewards[i] += share * self.rewards[k]
        for j in row:
            self.columns[j].discard(k)
        self.rows[k], self.columns[k] = {}, set()
        return Step(k, leaving, row, come_from, self.rewards[k])


def plain_law(moves: Moves, probabilities: PerMove, memory: int) -> Pmf:
    """The stationary law of an irreducible chain; each weight a fraction times a power of two."""
    steps = Elimination(moves, probabilities, None, None).run(memory)
    fraction, power = np.zeros(len(steps)), np.zeros(len(steps), dtype=np.int64)
    for step in reversed(steps):
        terms = [math.frexp(fraction[i] * p) for i, p in step.come_from.items()]
        powers = [e + int(power[i]) for (_, e), i in zip(terms, step.come_from, strict=True)]
        if not terms:
            fraction[step.state] = 1.0
            continue
        top = max(e for (f, _), e in zip(terms, powers, strict=True) if f > 0)
        total = math.fsum(math.ldexp(f, e - top) for (f, _), e in zip(terms, powers, strict=True))
        leaving, shift = math.frexp(step.leaving)
        fraction[step.state], more = math.frexp(total / leaving)
        power[step.state] = top + more - shift
    return law_of(fraction, power)


def plain_totals(
    moves: Moves, probabilities: PerMove, exits: PerState, rewards: PerState, memory: int
) -> PerState:
    """Mean total reward until exit, from each state."""
    totals = np.zeros(len(exits))
    for step in reversed(Elimination(moves, probabilities, exits, rewards).run(memory)):
        later = math.fsum([step.reward, *(p * totals[j] for j, p in step.to.items())])
        totals[step.state] = later / step.leaving
    return totals
