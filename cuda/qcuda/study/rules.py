"""The rules that a study compares, as rows: how weights are held and moved, and what is tuned.

A range takes a number in [0, 1) to a value, so that one Latin hypercube serves every rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from qtheory.algorithms import contract, hidden, walkers
from qtheory.lattice import Lattice


@dataclass(frozen=True)
class Between:
    """Values from low to high, with equal ratios in equal parts of [0, 1)."""

    low: float
    high: float

    def at(self, u: float) -> float:
        """The value of u.

        >>> Between(0.01, 1.0).at(0.5)
        0.1
        """
        return self.low * (self.high / self.low) ** u


@dataclass(frozen=True)
class OneOf:
    """One of some values, each as often."""

    values: tuple[Any, ...]

    def at(self, u: float) -> Any:
        """The value of u.

        >>> OneOf((3, 5)).at(0.7)
        5
        """
        return self.values[int(u * len(self.values))]


Space: TypeAlias = Mapping[str, Between | OneOf]
RATES = Between(1e-3, 0.4)
MOMENTA = OneOf((0.9, 0.97, 0.99, 0.995, 0.998))
THRESHOLDS = OneOf((1 / 3, 1 / 2))
COOLED: Space = {"momentum": MOMENTA, "temperature": Between(0.01, 2.0)}
NEIGHBOURS: Space = {**COOLED, "proposal": Between(3e-3, 0.3)}


@dataclass(frozen=True)
class Rule:
    """How the weights of a network are held and trained.

    label: in figures. space: what is tuned. fixed: values that are not. stem: the algorithm that
    moves the weights on their lattice; None: weights are real. bits: of a weight whose levels are
    hidden; None: they are visible. levels: to how many levels the forward pass rounds real weights;
    None: to none. base: of lattice or real weights, which "own" leaves to the algorithm. moments:
    bits that the base keeps for a weight. falling: what goes to 0 along a cosine.
    """

    label: str
    space: Space
    fixed: Mapping[str, Any] = field(default_factory=dict)
    stem: str | None = None
    bits: int | None = None
    levels: Literal[2, 3] | None = None
    base: Literal["adam", "normalized"] = "adam"
    over: str = "layer"
    moments: Literal[0, 8, 64] = 64
    falling: tuple[str, ...] = ("learning_rate",)

    @property
    def discrete(self) -> bool:
        """Whether the network sees levels."""
        return self.stem is not None or self.levels is not None

    @property
    def where(self) -> dict[str, Any]:
        """The lattice of a walker and, if levels are hidden, its readout."""
        return {"lattice": Lattice.ternary()} if self.bits is None else dict(hidden(self.bits))

    @property
    def state_bits(self) -> int:
        """Bits that training keeps for a weight: its level or latent, and the base's moments.

        Levels are counted by the bits that they need, though 3 and 5 are stored in 4 and 6. A
        running number for a layer or neuron, and a gradient while it lives, are not counted.
        """
        own = 32 if self.stem is None else self.bits or 2
        return own + self.moments


def _walker(bits: int, **other: Any) -> Rule:
    label = f"walker of {bits} bits"
    space = {"learning_rate": RATES}
    row: dict[str, Any] = {"label": label, "space": space, "moments": 0} | other
    return Rule(stem="stochastic_rounding", bits=bits, base="normalized", **row)


RULES: dict[str, Rule] = {
    "float": Rule("float", {"learning_rate": Between(1e-3, 0.2)}),
    "ste": Rule(
        "straight-through, float copy",
        {"learning_rate": RATES, "threshold": THRESHOLDS},
        levels=3,
    ),
    "walker8": _walker(8),
    "walker6": _walker(6),
    "walker5": _walker(5),
    "walker4": _walker(4),
    "walker3": _walker(3),
    "walker2": _walker(2),
    "walker8_int8": _walker(
        8,
        label="walker of 8 bits, int8 momentum",
        space={"learning_rate": Between(3e-3, 0.8), "momentum": MOMENTA},
        moments=8,
        over="neuron",
    ),
    "ternary_bop": Rule(
        "ternary Bop, int8 momentum",
        {
            "momentum": MOMENTA,
            "threshold": Between(1.0, 6.0),
            "hysteresis": OneOf((0.7, 1.0, 1.4)),
        },
        {"learning_rate": 1.0},
        stem="ternary_bop",
        base="normalized",
        over="neuron",
        moments=8,
    ),
    "dst": Rule(
        "DST, Adam",
        {
            "learning_rate": RATES,
            "momentum": MOMENTA,
            "nonlinearity": Between(1.0, 10.0),
        },
        stem="dst",
    ),
    "sr": Rule(
        "stochastic rounding, Adam",
        {"learning_rate": Between(3e-3, 1.2), "momentum": MOMENTA},
        stem="stochastic_rounding",
    ),
    "metropolis": Rule(
        "Metropolis, Adam",
        NEIGHBOURS,
        {"learning_rate": 1.0},
        stem="metropolis",
        falling=("temperature",),
    ),
    "heat_bath": Rule(
        "heat bath, Adam",
        NEIGHBOURS,
        {"learning_rate": 1.0, "acceptance": "heat_bath"},
        stem="metropolis",
        falling=("temperature",),
    ),
    "langevin": Rule(
        "discrete Langevin, Adam",
        # Moves by a level without a force have odds of 1e-4 to 0.3.
        {**COOLED, "step": Between(0.054, 0.415)},
        {"learning_rate": 1.0},
        stem="discrete_langevin",
        falling=("temperature",),
    ),
}  # those of algorithms that are not registered are left out
RULES = {name: row for name, row in RULES.items() if row.stem is None or row.stem in walkers()}


def configurations(space: Space, count: int, seed: int) -> list[dict[str, Any]]:
    """A Latin hypercube: every range is cut into `count` parts, each of which is met once."""
    generator = np.random.default_rng(seed)
    columns = {
        name: (generator.permutation(count) + generator.random(count)) / count for name in space
    }
    return [
        {name: space[name].at(float(column[k])) for name, column in columns.items()}
        for k in range(count)
    ]


def knobs_of(rule: Rule, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that are knobs of the rule's algorithm."""
    if rule.stem is None:
        return {}
    known = {knob.name for knob in contract(rule.stem).knobs}
    return {name: value for name, value in values.items() if name in known}
