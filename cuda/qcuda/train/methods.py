"""The methods of training: a row says how weights are held, and what figures call it.

Every walker and every reader of `qtheory.algorithms` is a method under its stem. `walker8`,
`walker6` and `walker4` are walkers on 255, 63 and 15 levels that are read as three; they need no
moments. `ternary_bop10` is ternary Bop on normalised gradients, whose momentum is a byte. The
others are baselines. The default job trains the registry's first walker, the walker of eight bits,
and the baselines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from qcuda.train import palette
from qtheory.algorithms import Knob, Spec, contract, hidden, readers, stem, walkers
from qtheory.lattice import Lattice

LATTICE = Lattice.ternary()
LEVELS = "levels"  # how many a reader shows


@dataclass(frozen=True)
class Method:
    """How a network is trained. The methods of a run share everything else.

    learning_rate: the first, in weight units, where the config names none. label, colour: in
    figures. stem: the algorithm, a walker that moves the weights on their lattice, or a reader that
    shows real ones as discrete; None: real weights. Real ones the base optimiser trains. bits: of a
    weight whose levels are hidden, and read as three; None: the levels are visible. normalized:
    whether lattice weights are moved by their gradient over its running rms, in place of the base
    optimiser, which trains the other parameters.
    momentum: of the normalised gradient, in a byte a weight; 0: none.
    levels: to how many levels the forward pass rounds real weights that no reader reads; None: to
    none. stepped: whether
    activations are ternary.
    """

    learning_rate: float
    label: str
    colour: str
    stem: str | None = None
    bits: int | None = None
    normalized: bool = False
    momentum: float = 0.0
    levels: Literal[2, 3] | None = None
    stepped: bool = True

    @property
    def walks(self) -> bool:
        """Whether weights move on a lattice."""
        return self.stem in walkers()

    @property
    def freezes(self) -> bool:
        """Whether weights are frozen on their levels, more and more of them."""
        return self.stem is not None and "frozen" in {p.name for p in contract(self.stem).planes}


BASELINES = {
    "full": Method(0.01, "full precision", palette.REAL, stepped=False),
    "ste": Method(0.03, "straight-through, float copy kept", palette.COPIED, levels=3),
}


def _hidden(bits: int, rate: float, colour: str) -> Method:
    label = f"{bits}-bit walker: read as ternary, no moments"
    return Method(rate, label, colour, "stochastic_rounding", bits, normalized=True)


def _words(stem: str) -> str:
    return re.sub("(?<=[a-z])(?=[A-Z])", " ", contract(stem).spec.__name__)


def _walking(stem: str, number: int) -> Method:
    label = f"{_words(stem)}: ternary weights and activations"
    colour = palette.WALKERS[number % len(palette.WALKERS)]
    return Method(0.05, label, colour, stem=stem)


def _reading(stem: str, number: int) -> Method:
    colour = palette.READERS[number % len(palette.READERS)]
    return Method(0.03, f"{_words(stem)}, float copy kept", colour, stem=stem)


METHODS: dict[str, Method] = {stem: _walking(stem, number) for number, stem in enumerate(walkers())}
METHODS |= {stem: _reading(stem, number) for number, stem in enumerate(readers())}
METHODS |= {
    "walker8": _hidden(8, 0.1, palette.HIDDEN[0]),
    "walker6": _hidden(6, 0.1, palette.HIDDEN[1]),
    "walker4": _hidden(4, 0.2, palette.HIDDEN[2]),
}
METHODS["ternary_bop10"] = Method(
    1.0, "Ternary Bop: int8 momentum", palette.BYTE, "ternary_bop", normalized=True, momentum=0.97
)
METHODS |= BASELINES
TEACHER = "full"  # the method of a model that others learn from, or begin with
DEFAULT = (walkers()[0], "walker8", *BASELINES)


def algorithms(methods: Iterable[str]) -> dict[str, str]:
    """The methods, of some, that have an algorithm, and its stem."""
    return {method: stem for method in methods if (stem := METHODS[method].stem) is not None}


def knobs(stem: str) -> dict[str, Knob]:
    """The knobs of an algorithm by name."""
    return {knob.name: knob for knob in contract(stem).knobs}


def sizes(stem: str) -> dict[int, Lattice]:
    """The lattices that a reader may show, by their number of levels; {} if it has no choice."""
    if contract(stem).family == "walker":
        return {}
    every = contract(stem).lattices or (Lattice.binary(), Lattice.ternary())
    return {lattice.size: lattice for lattice in every} if len(every) > 1 else {}


def spec_of(method: str, values: Mapping[str, float | str]) -> Spec:
    """The algorithm of a method with these values. Raises ValueError if one breaks its rule."""
    row = METHODS[method]
    assert row.stem is not None
    own = {key: value for key, value in values.items() if key != LEVELS}
    if row.walks:
        where = {"lattice": LATTICE} if row.bits is None else hidden(row.bits)
        return contract(row.stem).spec(**where, **own)
    every, size = sizes(row.stem), values.get(LEVELS, 0)
    if LEVELS not in values:
        return contract(row.stem).spec(**own)
    if size not in every:
        raise ValueError(f"a number of levels is one of {[*every]}, got {size}")
    return contract(row.stem).spec(every[int(size)], **own)


def values_of(spec: Spec) -> dict[str, float | str]:
    """What a config says of an algorithm: its knobs, and LEVELS if it has a choice."""
    own = {knob.name: getattr(spec, knob.name) for knob in contract(spec).knobs}
    return {**own, LEVELS: spec.lattice.size} if sizes(stem(spec)) else own


def defaults(stem: str) -> dict[str, float | str]:
    """The same, where a config says nothing."""
    own = {knob.name: knob.default for knob in contract(stem).knobs}
    where = {"lattice": LATTICE} if contract(stem).family == "walker" else {}
    return values_of(contract(stem).spec(**where, **own))
