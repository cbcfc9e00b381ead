"""The sequential probability ratio test of a coin, two-sided and capped [wald1945].

Let p be claimed, b the bias to be found, and L+ and L- the likelihood ratios of p + b and p - b
against p after the draws so far. Then

    fail       once (L+ + L-) / 2 >= 1 / a,
    pass       once both L+ <= m and L- <= m,
    undecided  at the cap, twice the draws of the fixed test: pass.

If p is true the average is an e-process, so the claim fails with probability at most a, however
often one looks [ville1939]. If p + b or more is true, 1 / L+ is an e-process, so it passes early
with probability at most m; at the cap it is undecided only if the number of successes is below
that which makes L+ / 2 >= 1 / a, an exact binomial tail u. With m = miss - u a bias of b or more,
of either sign, passes with probability at most `miss`. A direction in which p +- b is no
probability is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from qtheory.evidence.binomial import lower_tail, samples_needed, upper_tail

Verdict = Literal["pass", "fail"]


@dataclass(slots=True)
class Sprt:
    """A running test of the probability p against p + bias and p - bias.

    >>> test = Sprt(0.5, 0.1, false_alarm=1e-6, miss=1e-3)
    >>> test.update(900, 1000), test.verdict, test.remaining
    ('fail', 'fail', 0)

    Raises ValueError as `samples_needed` does.
    """

    p: float
    bias: float
    false_alarm: float
    miss: float
    successes: int = field(default=0, init=False)
    trials: int = field(default=0, init=False)
    verdict: Verdict | None = field(default=None, init=False)
    cap: int = field(init=False)
    _pass_below: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.cap = 2 * samples_needed(self.p, self.bias, self.false_alarm, self.miss)
        early = self.miss - self.undecided
        self._pass_below = math.log(early) if early > 0 else -math.inf

    @property
    def alternatives(self) -> tuple[float, ...]:
        """p + bias and p - bias, those that are probabilities."""
        return tuple(q for q in (self.p + self.bias, self.p - self.bias) if 0 <= q <= 1)

    @property
    def remaining(self) -> int:
        """How many more draws it takes; none after its verdict."""
        return 0 if self.verdict else self.cap - self.trials

    @property
    def undecided(self) -> float:
        """The probability u that draws at the bias are undecided at the cap, at most."""
        return max(self._undecided(q) for q in self.alternatives)

    @property
    def log_e(self) -> float:
        """Logarithm of the average likelihood ratio, an e-process under the claim."""
        ratios = self._ratios()
        largest = max(ratios)
        if math.isinf(largest):
            return largest
        mean = math.fsum(math.exp(ratio - largest) for ratio in ratios) / len(ratios)
        return largest + math.log(mean)

    def update(self, successes: int, trials: int) -> Verdict | None:
        """Add new draws and return the verdict, None while there is none.

        Raises ValueError unless 0 <= successes <= trials <= remaining: beyond the cap the
        probability of a miss is not the one that was computed.
        """
        if not 0 <= successes <= trials:
            raise ValueError(f"successes lie in 0..trials, got {successes} of {trials}")
        if trials > self.remaining:
            raise ValueError(f"the test takes {self.remaining} more draws, got {trials}")
        self.successes += successes
        self.trials += trials
        if self.log_e >= -math.log(self.false_alarm):
            self.verdict = "fail"
        elif max(self._ratios()) <= self._pass_below or self.trials == self.cap:
            self.verdict = "pass"
        return self.verdict

    def _ratios(self) -> list[float]:
        return [
            _log_ratio(self.successes, self.trials, self.p, alternative)
            for alternative in self.alternatives
        ]

    def _undecided(self, alternative: float) -> float:
        """P(log ratio < log(alternatives / false_alarm)) after `cap` draws at the alternative."""
        threshold = math.log(len(self.alternatives)) - math.log(self.false_alarm)
        up = alternative > self.p
        few, enough = -1, self.cap + 1  # successes, or failures, that do and do not leave it open
        while enough - few > 1:
            middle = (few + enough) // 2
            successes = middle if up else self.cap - middle
            if _log_ratio(successes, self.cap, self.p, alternative) < threshold:
                few = middle
            else:
                enough = middle
        if up:
            return float(lower_tail(few, self.cap, alternative))
        return float(upper_tail(self.cap - few, self.cap, alternative))


def _log_ratio(successes: int, trials: int, p: float, alternative: float) -> float:
    """log of q**s (1-q)**f / (p**s (1-p)**f); infinite where p can not have done it."""
    failures = trials - successes
    claimed = special.xlogy(successes, p) + special.xlog1py(failures, -p)
    if math.isinf(claimed):
        return math.inf
    other = special.xlogy(successes, alternative) + special.xlog1py(failures, -alternative)
    return float(other - claimed)
