"""The config of a study of update rules: every number that can change its results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from qcuda.errors import require
from qcuda.study.rules import RULES
from qtheory.streams import MAX_SEED


@dataclass(frozen=True)
class Study:
    """What is compared, and with how much effort. A second note is the value of `--quick`."""

    rules: Annotated[tuple[str, ...], "what to compare, at least one"] = tuple(RULES)
    configurations: Annotated[int, "configurations tried for each rule", 2] = 12
    seeds: Annotated[int, "seeds that the best configuration is then trained from", 2] = 5
    seed: Annotated[int, "the first of them"] = 0
    tuning_seed: Annotated[int, "seed of every configuration that is tried"] = 1000
    steps: Annotated[int, "iterations of a run, with 50 examples each", 100] = 1600
    hidden: Annotated[int, "units of the two hidden layers"] = 64

    def __post_init__(self) -> None:
        unknown = [rule for rule in self.rules if rule not in RULES]
        require(not unknown, f"a rule is one of {', '.join(RULES)}, got {unknown[:1]}")
        require(
            len(set(self.rules)) == len(self.rules) > 0,
            f"rules are given once each, at least one, got {list(self.rules)}",
        )
        for key in ("configurations", "seeds", "steps", "hidden"):
            require(getattr(self, key) >= 1, f"{key} is at least 1, got {getattr(self, key)}")
        for key, last in (("seed", self.seed + self.seeds - 1), ("tuning_seed", self.tuning_seed)):
            value = getattr(self, key)
            require(0 <= value and last <= MAX_SEED, f"{key} is in 0..{MAX_SEED}, got {value}")
        require(
            not self.seed <= self.tuning_seed < self.seed + self.seeds,
            f"tuning has a seed of its own, got {self.tuning_seed} of {self.seed} ...",
        )
