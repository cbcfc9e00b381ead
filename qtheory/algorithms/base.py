"""What an algorithm is to the rooms that run it: a spec, a contract, and the list of all stems.

Two families, because there are two ways for a weight to be discrete while it trains:

    walkers   are discrete: the state is an index on a lattice, and a step moves it
    readers   have a real latent, which is read as discrete

A stem names one file in every room: `qtheory/algorithms/<stem>.py` with a spec class, a
`CONTRACT` and `law`; `reference/qreference/<stem>.py`; for a walker also
`cuda/csrc/algorithms/<stem>.h` and `cuda/qcuda/kernels/known_answers/<stem>.json`. Rooms ask the
fields of the contract and never match on a name or a type.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np

from qtheory.arrays import Numbers, Pmf
from qtheory.lattice import Lattice
from qtheory.stairs.stair import Stair
from qtheory.values import rebuilt

STEMS = (
    "dst",
    "stochastic_rounding",
    "deterministic_rounding",
    "metropolis",
    "bop",
    "ternary_bop",
    "discrete_langevin",
    "binary_connect",
    "xnor_net",
    "ternary_weights",
    "learned_steps",
    "ana",
    "inq",
    "prune_quantize",
    "relaxed_quantization",
)
"""Every algorithm. This is the one line that a new one adds outside its own files."""

Family: TypeAlias = Literal["walker", "reader"]
Destinations: TypeAlias = Literal["coin", "neighbours", "any"]


@runtime_checkable
class Spec(Protocol):
    """The parameters of an algorithm: a frozen dataclass that validates itself."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def lattice(self) -> Lattice:
        """Where a walker's state lives, or the levels that a reader shows, or codes of them."""
        ...


@dataclass(frozen=True, slots=True)
class Knob:
    """A number of a spec that a user, a schedule or a search may turn.

    name: of the spec's field. unit: in words. default: its usual value. low, high: values are
    above low, at most high, and finite. examples: values that a test draws. choices: if there are
    any, the field is one of these words, and kernels see its place in the list.
    """

    name: str
    unit: str
    default: float | str
    low: float = 0.0
    high: float = float("inf")
    examples: tuple[float | str, ...] = ()
    choices: tuple[str, ...] = ()

    def number(self, value: float | str) -> float:
        """The value as kernels take it."""
        return float(self.choices.index(cast(str, value)) if self.choices else value)


@dataclass(frozen=True, slots=True)
class Plane:
    """One array of state, an element for each weight.

    storage: "lattice" for indices (int8 codes, or packed trits), else the name of a dtype.
    """

    name: str
    storage: str = "lattice"


@dataclass(frozen=True, slots=True)
class Row:
    """A published method: the spec that it is, and where that is said."""

    name: str
    spec: Any
    source: str


INDEX = Plane("index")
LATENT = Plane("latent", "float32")


@dataclass(frozen=True, slots=True)
class Contract:
    """What a room must know of an algorithm before it calls one.

    spec: the class of its specs. source: key of references.bib. planes: its state.
    words_per_step, words_per_read: random words a weight. destinations: of a walker, a "coin"
    between two places, the "neighbours" down, here and up, or "any" level.

    forgets: a walker that moves begins its first moment anew.

    For exact chains, all of a spec and in lattice spacings of the increment:
    steepness: the largest slope of the law, 1 if none is given. panels: increasing points from 0
    to where the law no longer changes, between which it is smooth; by default those of a coin.
    steps_up: a closed form (increments, spacing, levels) -> probabilities of 1, 2, ... levels up.

    lattices: where it lives, the usual one first; () for any lattice.
    rows: published methods that are specs of this class, by names of their own.
    reading: of a reader, from a spec to its row of data (`qtheory.algorithms.reader.Reading`).
    """

    spec: type[Any]
    source: str
    family: Family = "walker"
    destinations: Destinations = "coin"
    knobs: tuple[Knob, ...] = ()
    planes: tuple[Plane, ...] = (INDEX,)
    words_per_step: int = 1
    words_per_read: int = 0
    forgets: bool = False
    steepness: Callable[[Any], float] | None = None
    panels: Callable[[Any], np.ndarray] | None = None
    steps_up: Callable[..., np.ndarray] | None = None
    lattices: tuple[Lattice, ...] = ()
    rows: tuple[Row, ...] = ()
    reading: Callable[[Any], Any] | None = None

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        if (self.reading is not None) != (self.family == "reader"):
            raise ValueError(f"readers, and they alone, have a reading, got a {self.family}")
        fields = {f.name for f in dataclasses.fields(self.spec)} - {"lattice", "readout"}
        if fields != {knob.name for knob in self.knobs}:
            raise ValueError(
                f"a contract has a knob for each field of its spec, {sorted(fields)}, "
                f"got {sorted(knob.name for knob in self.knobs)}"
            )


@cache
def module(name: str) -> ModuleType:
    """The module of a stem. Raises ValueError if there is no such stem."""
    if name not in STEMS:
        raise ValueError(f"an algorithm is one of {sorted(STEMS)}, got {name!r}")
    return import_module(f"qtheory.algorithms.{name}")


@cache
def _stems() -> dict[type[Any], str]:
    return {module(name).CONTRACT.spec: name for name in STEMS}


def spec_class(name: str) -> type[Any]:
    """The class of a stem's specs. Raises ValueError if there is no such stem."""
    return contract(name).spec


def contract(of: Spec | str) -> Contract:
    """The contract of a spec or of a stem.

    Raises TypeError if it is not a registered spec, ValueError if there is no such stem.
    """
    return module(of if isinstance(of, str) else stem(of)).CONTRACT


def walkers() -> tuple[str, ...]:
    """The stems of walkers."""
    return tuple(name for name in STEMS if contract(name).family == "walker")


def readers() -> tuple[str, ...]:
    """The stems of readers."""
    return tuple(name for name in STEMS if contract(name).family == "reader")


def stem(spec: Spec) -> str:
    """The stem under which a spec's algorithm is known in every room.

    Raises TypeError if it is not a registered spec.
    """
    try:
        return _stems()[type(spec)]
    except KeyError:
        raise TypeError(f"a spec is one of {sorted(STEMS)}, got {type(spec).__name__}") from None


def rows() -> dict[str, Row]:
    """The published methods of every stem by name."""
    return {row.name: row for name in STEMS for row in contract(name).rows}


def usual(name: str, **knobs: Any) -> Spec:
    """A stem's spec on the lattice it usually lives on, ternary if it takes any.

    Raises ValueError if there is no such stem, or a knob breaks its rule.
    """
    of = contract(name)
    return of.spec((*of.lattices, Lattice.ternary())[0], **knobs)


def law(spec: Spec, index: Numbers, increment: Numbers) -> Pmf:
    """Exact law of the next level, shape (..., size): the `law` of the spec's own module."""
    x = np.asarray(increment, dtype=np.float64)
    return module(stem(spec)).law(spec, np.asarray(index), x)


def parameters(spec: Spec) -> tuple[float, ...]:
    """The numbers of a spec beyond its lattice, in the order of its contract's knobs."""
    return tuple(knob.number(getattr(spec, knob.name)) for knob in contract(spec).knobs)


def steepness(spec: Spec) -> float:
    """The largest slope of the law in the increment, a move a spacing; 1 unless its contract says.

    Numerical derivatives take steps well below the spacing over it.
    """
    own = contract(spec).steepness
    return 1.0 if own is None else own(spec)


def readout(spec: Spec) -> np.ndarray:
    """What the forward pass sees at each index of the lattice, shape (size,), in weight units.

    The levels themselves, or the stair that a walker with hidden levels is read through.
    """
    stair: Stair | None = getattr(spec, "readout", None)
    levels = spec.lattice.levels
    return levels if stair is None else stair(levels)


def to_dict(spec: Spec) -> dict[str, Any]:
    """A plain dict, fit for JSON, from which `from_dict` makes an equal spec."""
    values = dataclasses.asdict(spec)
    if values.get("readout", 0) is None:
        del values["readout"]
    return {"algorithm": stem(spec), **values}


def from_dict(values: Mapping[str, Any]) -> Spec:
    """The spec that `to_dict` wrote.

    Raises ValueError if the algorithm is unknown, or a key is missing or unknown.

    >>> from qtheory.lattice import Lattice
    >>> spec = spec_class(STEMS[0])(Lattice.ternary())
    >>> from_dict(to_dict(spec)) == spec
    True
    """
    rest = dict(values)
    cls = spec_class(str(rest.pop("algorithm", "")))
    rest["lattice"] = _build(Lattice, rest.get("lattice"))
    if rest.get("readout") is not None:
        table = dict(cast(Mapping[str, Any], rest["readout"]))
        for key in ("levels", "thresholds"):  # JSON has no tuples
            table[key] = tuple(table.get(key, ()))
        rest["readout"] = _build(Stair, table)
    return _build(cls, rest)


def _build(cls: type[Any], values: Any) -> Any:
    if not isinstance(values, dict):
        raise ValueError(f"{cls.__name__} is written as a table of its fields, got {values!r}")
    given = cast(dict[str, Any], values)
    names = {f.name for f in dataclasses.fields(cls)}
    required = {f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING}
    if not required <= set(given) <= names:
        raise ValueError(f"{cls.__name__} has the keys {sorted(names)}, got {sorted(given)}")
    return cls(**given)
