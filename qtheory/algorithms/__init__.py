"""The algorithms: one module per stem, each with a spec and its exact law.

The registry below is the only list of them. A stem names its module here, its reference in
`qreference`, its kernel header in `cuda/csrc/algorithms`, and its tests.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from qtheory.algorithms.deterministic_rounding import DeterministicRounding
from qtheory.algorithms.dst import DST
from qtheory.algorithms.stochastic_rounding import StochasticRounding
from qtheory.lattice import Lattice

Spec: TypeAlias = DST | StochasticRounding | DeterministicRounding

SPECS: dict[str, type[Spec]] = {
    "dst": DST,
    "stochastic_rounding": StochasticRounding,
    "deterministic_rounding": DeterministicRounding,
}


def stem(spec: Spec) -> str:
    """The stem under which a spec's algorithm is known in every room.

    Raises TypeError if it is not a registered spec.
    """
    for name, cls in SPECS.items():
        if type(spec) is cls:
            return name
    raise TypeError(f"a spec is one of {sorted(SPECS)}, got {type(spec).__name__}")


def parameters(spec: Spec) -> tuple[float, ...]:
    """The numbers of a spec beyond its lattice, in the order of its fields."""
    names = (f.name for f in dataclasses.fields(spec) if f.name != "lattice")
    return tuple(float(getattr(spec, name)) for name in names)


def to_dict(spec: Spec) -> dict[str, Any]:
    """A plain dict, fit for JSON, from which `from_dict` makes an equal spec."""
    return {"algorithm": stem(spec), **dataclasses.asdict(spec)}


def from_dict(values: Mapping[str, Any]) -> Spec:
    """The spec that `to_dict` wrote.

    Raises ValueError if the algorithm is unknown, or a key is missing or unknown.

    >>> spec = DST(Lattice.ternary(), nonlinearity=3.0)
    >>> from_dict(to_dict(spec)) == spec
    True
    """
    rest = dict(values)
    name = rest.pop("algorithm", None)
    if name not in SPECS:
        raise ValueError(f"an algorithm is one of {sorted(SPECS)}, got {name!r}")
    cls = SPECS[name]
    rest["lattice"] = _build(Lattice, rest.get("lattice"))
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
