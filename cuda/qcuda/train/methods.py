"""The methods of training: a row says how weights are held, and what figures call it.

Every walker of `qtheory.algorithms` is a method under its stem; the others are baselines. The
default job trains the registry's first walker and the baselines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from qcuda.train import palette
from qtheory.algorithms import Knob, Spec, contract, walkers
from qtheory.lattice import Lattice

LATTICE = Lattice.ternary()


@dataclass(frozen=True)
class Method:
    """How a network is trained. The methods of a run share everything else.

    learning_rate: the first, in weight units, where the config names none. label, colour: in
    figures. stem: the algorithm that moves the weights on their lattice; None: weights are real
    and trained by the base optimiser. levels: to how many levels the forward pass rounds real
    weights; None: to none. stepped: whether activations are ternary.
    """

    learning_rate: float
    label: str
    colour: str
    stem: str | None = None
    levels: Literal[2, 3] | None = None
    stepped: bool = True


BASELINES = {
    "full": Method(0.01, "full precision", palette.REAL, stepped=False),
    "ste": Method(0.03, "straight-through, float copy kept", palette.COPIED, levels=3),
}


def _walking(stem: str, number: int) -> Method:
    name = re.sub("(?<=[a-z])(?=[A-Z])", " ", contract(stem).spec.__name__)
    label = f"{name}: ternary weights and activations"
    colour = palette.WALKERS[number % len(palette.WALKERS)]
    return Method(0.05, label, colour, stem=stem)


METHODS: dict[str, Method] = {
    stem: _walking(stem, number) for number, stem in enumerate(walkers())
} | BASELINES
DEFAULT = (walkers()[0], *BASELINES)


def stems(methods: Iterable[str]) -> list[str]:
    """The algorithms that some methods need."""
    return [stem for method in methods if (stem := METHODS[method].stem) is not None]


def knobs(stem: str) -> dict[str, Knob]:
    """The knobs of an algorithm by name."""
    return {knob.name: knob for knob in contract(stem).knobs}


def spec_of(stem: str, values: Mapping[str, float | str]) -> Spec:
    """An algorithm with these knobs. Raises ValueError if one breaks its rule."""
    return contract(stem).spec(LATTICE, **values)


def judged(stem: str) -> bool:
    """Whether the audit of the law can judge an algorithm: its walker goes to one of two places."""
    return contract(stem).destinations == "coin"


def values_of(spec: Spec) -> dict[str, float | str]:
    """The knobs of an algorithm."""
    return {knob.name: getattr(spec, knob.name) for knob in contract(spec).knobs}
