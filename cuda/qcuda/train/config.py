"""The config of a training run: every number that can change its bits, with its unit.

    algorithm    {method: {knob: value}}                  of every method that has an algorithm
    base         {name, learning_rate: {method: value}, ...}                    the base optimiser
    normalized   {decay, over, others_learning_rate}           of methods that normalise gradients
    schedules    {knob: {name, ...}}                     how knobs change from epoch to epoch
    model        {name, ...}                    qcuda.models.config
    data         {name, ...}                    qcuda.data.config
    learning     loss, clip, compute, ...              Learning, of qcuda.train.learning
    run          methods, seeds, epochs, ...    Run, below

A table may also hold values of methods that are not trained, as a recipe does of which a user wants
one method alone: they are checked, and left out of the config.

A tree of tables, as YAML and JSON have it, is made a `Config` at the door (`qcuda.train.door` and
`qcuda.train.job`), and no function behind the door is handed more than its part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from qcuda.data.config import DATA
from qcuda.errors import InputError, require
from qcuda.models.config import MODELS
from qcuda.schedules.adaptive import SCHEDULES, Moved, Rule
from qcuda.schedules.shapes import Shape
from qcuda.train.bases import BASES, Base, Normalizing
from qcuda.train.learning import Learning
from qcuda.train.methods import (
    DEFAULT,
    LEVELS,
    METHODS,
    algorithms,
    defaults,
    knobs,
    sizes,
    spec_of,
    values_of,
)  # fmt: skip
from qcuda.train.tree import Leaf, Registry, choose, known, leaves, read, table, typed, written
from qtheory.algorithms import Knob, Spec
from qtheory.streams import MAX_SEED

RATE = "learning_rate"
SHAPE = "cosine"  # of a knob whose schedule has no name


@dataclass(frozen=True)
class Run:
    """What is trained, how often and how long. A second note is the value of `--quick`."""

    methods: Annotated[tuple[str, ...], "what to train, at least one"] = DEFAULT
    seed: Annotated[int, "the first seed; the runs of a method take seed, seed + 1, ..."] = 0
    seeds: Annotated[int, "number of seeds", 1] = 3
    epochs: Annotated[int, "passes over the training part", 4] = 60
    law_audit: Annotated[bool, "hold the moves on lattices to their exact law while training"] = (
        False
    )
    patience: Annotated[
        int, "epochs without a better validation before training goes back to its best; 0: never"
    ] = 0
    checkpoint_every: Annotated[int, "epochs between checkpoints", 1] = 5
    checkpoint_steps: Annotated[
        int, "iterations between checkpoints within an epoch; 0: at its end alone"
    ] = 0
    shares: Annotated[
        tuple[float, ...],
        "of weights that a reader with an order freezes, one after the other, as many epochs each",
    ] = (0.5, 0.75, 0.875, 1.0)
    replay: Annotated[
        int, "first iterations whose moves the plain reference repeats and compares"
    ] = 0
    tensorboard: Annotated[bool, "also write the numbers of the log for TensorBoard"] = False
    threads: Annotated[int, "threads of torch and of the kernels; part of the bits"] = 1

    def __post_init__(self) -> None:
        unknown = [method for method in self.methods if method not in METHODS]
        require(not unknown, f"a method is one of {', '.join(METHODS)}, got {unknown[:1]}")
        require(
            len(set(self.methods)) == len(self.methods) > 0,
            f"methods are given once each, at least one, got {list(self.methods)}",
        )
        for key, least in (
            ("seed", 0), ("seeds", 1), ("epochs", 1), ("patience", 0), ("checkpoint_every", 1),
            ("checkpoint_steps", 0), ("replay", 0), ("threads", 1),
        ):  # fmt: skip
            value = getattr(self, key)
            require(value >= least, f"{key} is at least {least}, got {value}")
        frozen = [method for method in self.methods if METHODS[method].freezes]
        require(
            not frozen or self.epochs > len(self.shares),
            f"{frozen} has more epochs than shares, of which it freezes one after the other: "
            f"{len(self.shares)}, got {self.epochs}",
        )
        last = self.seed + self.seeds - 1
        require(last <= MAX_SEED, f"a seed is at most {MAX_SEED}, got {last}")

    @property
    def plan(self) -> list[tuple[str, int]]:
        """Every method with every seed, in the order in which they are trained."""
        return [(method, self.seed + k) for method in self.methods for k in range(self.seeds)]


@dataclass(frozen=True)
class Config:
    """A run: some methods, each from several seeds, on the same split of the same data.

    algorithm: by method. base, model, data: one of BASES, MODELS, DATA. schedules: by knob.
    """

    algorithm: dict[str, Spec]
    base: Base
    normalized: Normalizing
    schedules: dict[str, Shape | Rule]
    model: Any
    data: Any
    learning: Learning
    run: Run

    def __post_init__(self) -> None:
        if not self.learning.step_in_backward:
            return
        real = [method for method in self.run.methods if METHODS[method].stem is None]
        require(
            not real,
            f"learning.step_in_backward is for methods with weights on a lattice, got {real[:1]}",
        )
        watched = [name for name in ("law_audit", "replay") if getattr(self.run, name)]
        require(
            not watched,
            "learning.step_in_backward moves weights before the step that is watched, "
            f"got run.{', run.'.join(watched)}",
        )

    def to_dict(self) -> dict[str, Any]:
        """The whole tree, fit for YAML and JSON."""
        return {
            "algorithm": {method: values_of(spec) for method, spec in self.algorithm.items()},
            "base": written(self.base, BASES),
            "normalized": written(self.normalized),
            "schedules": {knob: written(one, SCHEDULES) for knob, one in self.schedules.items()},
            "model": written(self.model, MODELS),
            "data": written(self.data, DATA),
            "learning": written(self.learning),
            "run": written(self.run),
        }


SECTIONS = ("algorithm", "base", "normalized", "schedules", "model", "data", "learning", "run")


def make(values: Any = (), *, source: str = "", quick: bool = False) -> Config:
    """The config of a tree; what is missing has its default, or that of `--quick`.

    Raises InputError, naming the source and the key, if a value breaks its rule.
    """
    try:
        given = table(values or {}, "a config")
        known(given, SECTIONS, "a config")
        run = read(Run, given.get("run", {}), "run", quick=quick)
        return Config(
            algorithm=_algorithm(given.get("algorithm", {}), run.methods),
            base=_base(given.get("base", {}), run.methods, quick),
            normalized=read(Normalizing, given.get("normalized", {}), "normalized", quick=quick),
            schedules=_schedules(given.get("schedules", {}), run.methods, quick),
            model=choose(MODELS, given.get("model", {}), "model", quick=quick),
            data=choose(DATA, given.get("data", {}), "data", quick=quick),
            learning=read(Learning, given.get("learning", {}), "learning", quick=quick),
            run=run,
        )
    except InputError as error:
        raise InputError(f"{source}: {error}" if source else str(error)) from None


def _algorithm(values: Any, methods: tuple[str, ...]) -> dict[str, Spec]:
    given = table(values, "algorithm")
    every = algorithms(METHODS)
    known(given, every, "algorithm")
    specs = {
        method: _spec(method, every[method], given.get(method, {}))
        for method in [*algorithms(methods), *given]
    }
    return {method: specs[method] for method in algorithms(methods)}


def _spec(method: str, stem: str, given: Any) -> Spec:
    key, values = f"algorithm.{method}", defaults(stem)
    given = table(given, key)
    known(given, values, key)
    for name, value in given.items():
        values[name] = typed(f"{key}.{name}", type(values[name]), value)
    try:
        return spec_of(method, values)
    except ValueError as error:
        raise InputError(f"{key}: {error}") from None


def _base(values: Any, methods: tuple[str, ...], quick: bool) -> Base:
    given = table(values, "base")
    rates = table(given.get(RATE, {}), f"base.{RATE}")
    known(rates, METHODS, f"base.{RATE}")
    given[RATE] = {method: METHODS[method].learning_rate for method in methods} | rates
    made = choose(BASES, given, "base", quick=quick)
    return replace(made, learning_rate={method: made.learning_rate[method] for method in methods})


def _schedules(values: Any, methods: tuple[str, ...], quick: bool) -> dict[str, Shape | Rule]:
    given = {RATE: {}} | table(values, "schedules")
    known(given, [RATE, *_numbers(METHODS)], "schedules")
    every = {
        knob: choose(SCHEDULES, one, f"schedules.{knob}", default=SHAPE, quick=quick)
        for knob, one in given.items()
    }
    found = {knob: every[knob] for knob in every if knob in (RATE, *_numbers(methods))}
    for knob in found:
        blind = [m for m in methods if not METHODS[m].walks and knob in (RATE, *_numbers([m]))]
        require(
            not (blind and isinstance(found[knob], Moved)),
            f"schedules.{knob}: moved is for methods with weights on a lattice, got {blind[:1]}",
        )
    return found


def _numbers(methods: Iterable[str]) -> list[str]:
    """The knobs of methods that are numbers, each once: those that a schedule may move."""
    every = [knob for stem in algorithms(methods).values() for knob in knobs(stem).values()]
    return list(dict.fromkeys(knob.name for knob in every if not knob.choices))


def _meaning(method: str, knob: Knob) -> str:
    return f"{knob.name} of {method}" + ("" if knob.choices else f", {knob.unit}")


def options() -> list[Leaf]:
    """Every value that a config may have, for one choice of names or another; defaults as text."""
    owned = {method: knobs(stem) for method, stem in algorithms(METHODS).items()}
    counted = {method: sizes(stem) for method, stem in algorithms(METHODS).items()}
    rates = [(method, row.learning_rate) for method, row in METHODS.items()]
    movable = [RATE, *_numbers(METHODS)]
    return [
        *(
            Leaf(
                f"algorithm.{method}.{name}",
                type(knob.default),
                _meaning(method, knob),
                knob.default,
                knob.choices,
            )
            for method, own in owned.items()
            for name, knob in own.items()
        ),
        *(
            Leaf(
                f"algorithm.{method}.{LEVELS}",
                int,
                f"levels that {method} shows: {', '.join(map(str, every))}",
                defaults(method)[LEVELS],
            )
            for method, every in counted.items()
            if every
        ),
        *(
            leaf
            for leaf in _choices(BASES, "base", next(iter(BASES)))
            if leaf.key != f"base.{RATE}"
        ),
        *(
            Leaf(f"base.{RATE}.{method}", float, f"first learning rate of {method}", rate)
            for method, rate in rates
        ),
        *leaves(Normalizing, "normalized"),
        *(
            leaf
            for knob in movable
            for leaf in _choices(
                SCHEDULES, f"schedules.{knob}", SHAPE if knob == RATE else "constant"
            )
        ),
        *_choices(MODELS, "model", next(iter(MODELS))),
        *_choices(DATA, "data", next(iter(DATA))),
        *leaves(Learning, "learning"),
        *(
            leaf._replace(choices=tuple(METHODS)) if leaf.key == "run.methods" else leaf
            for leaf in leaves(Run, "run")
        ),
    ]


def _choices(registry: Registry, key: str, default: str) -> Iterator[Leaf]:
    """The name, and every value of any part of a registry, once."""
    yield Leaf(f"{key}.name", str, f"which {key} it is", default, tuple(registry))
    found: dict[str, dict[str, Leaf]] = {}
    for name, part in registry.items():
        for leaf in leaves(part, key):
            found.setdefault(leaf.key, {})[name] = leaf
    for owners in found.values():
        leaf = next(iter(owners.values()))
        some = "" if len(owners) == len(registry) else f" ({', '.join(owners)})"
        defaults: dict[str, list[str]] = {}
        for name, own in owners.items():
            defaults.setdefault(str(own.default), []).append(name)
        for other, those in list(defaults.items())[1:]:
            some += f"; {other} by default in {', '.join(those)}"
        yield leaf._replace(text=leaf.text + some)
