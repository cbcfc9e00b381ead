"""The config of a training run: every number that can change its bits, with its unit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, get_type_hints

from qcuda.errors import InputError, require
from qtheory.streams import MAX_SEED

METHODS = ("dst", "full", "ste")
ARCHITECTURES = ("cnn", "mlp")
SCHEDULES = ("cosine", "exponential")
MOMENTS = ("float32", "bfloat16")
WINDOWS = ("rectangular", "triangular")


@dataclass(frozen=True)
class TrainConfig:
    """A run: some methods, each from several seeds, on the same split of the same data.

    Raises InputError if a number breaks its rule.
    """

    methods: Annotated[list[str], "what to train: any of dst, full, ste"] = field(
        default_factory=lambda: list(METHODS)
    )
    seed: Annotated[int, "the first seed; the runs of a method take seed, seed + 1, ..."] = 0
    seeds: Annotated[int, "number of seeds"] = 3
    epochs: Annotated[int, "passes over the training part"] = 60
    batch: Annotated[int, "least number of examples in a batch"] = 50
    architecture: Annotated[str, "cnn (two convolutions, two linear layers) or mlp"] = "cnn"
    channels: Annotated[int, "channels of the first convolution; the second has twice as many"] = 32
    hidden: Annotated[int, "units of a hidden linear layer"] = 256
    dst_learning_rate: Annotated[float, "first learning rate of dst, in weight units"] = 0.05
    full_learning_rate: Annotated[float, "first learning rate of full, in weight units"] = 0.01
    ste_learning_rate: Annotated[float, "first learning rate of ste, in weight units"] = 0.03
    schedule: Annotated[str, "how learning rates fall, epoch by epoch: cosine or exponential"] = (
        "cosine"
    )
    final: Annotated[float, "last learning rate, as a fraction of the first"] = 0.01
    nonlinearity: Annotated[float, "m of DST, a pure number"] = 3.0
    moments: Annotated[
        str, "how Adam's moments of lattice weights are kept: float32 or bfloat16"
    ] = "float32"
    threshold: Annotated[float, "r of the activations: half-width of their zero zone"] = 0.35
    half_width: Annotated[float, "a of the activations' derivative, in units of their input"] = 0.5
    window: Annotated[str, "shape of that derivative: rectangular or triangular"] = "rectangular"
    shift: Annotated[int, "largest random shift of a training image, in pixels"] = 1
    test_share: Annotated[float, "share of all examples that is the test set"] = 0.25
    validation_share: Annotated[float, "share of the other examples that chooses the model"] = 0.15
    split_seed: Annotated[int, "seed of the split, the same for every run"] = 0
    examples: Annotated[int, "training examples to use; 0 for all of them"] = 0
    law_audit: Annotated[bool, "hold the moves of dst to their exact law while training"] = False
    checkpoint_every: Annotated[int, "epochs between checkpoints"] = 5
    threads: Annotated[int, "threads of torch and of the kernels; part of the bits"] = 1

    def __post_init__(self) -> None:
        for key, kind in get_type_hints(type(self)).items():
            object.__setattr__(self, key, _typed(key, kind, getattr(self, key)))
        unknown = [method for method in self.methods if method not in METHODS]
        require(not unknown, f"a method is one of {', '.join(METHODS)}, got {unknown[:1]}")
        require(
            len(set(self.methods)) == len(self.methods) > 0,
            f"methods are given once each, at least one, got {self.methods}",
        )
        for key, known in (
            ("architecture", ARCHITECTURES),
            ("schedule", SCHEDULES),
            ("moments", MOMENTS),
            ("window", WINDOWS),
        ):
            value = getattr(self, key)
            require(value in known, f"{key} is one of {', '.join(known)}, got {value!r}")
        for key, least in (
            ("seed", 0), ("seeds", 1), ("epochs", 1), ("batch", 2), ("channels", 1), ("hidden", 1),
            ("shift", 0), ("split_seed", 0), ("examples", 0), ("checkpoint_every", 1),
            ("threads", 1),
        ):  # fmt: skip
            value = getattr(self, key)
            require(value >= least, f"{key} is at least {least}, got {value}")
        last = max(self.seed + self.seeds - 1, self.split_seed)
        require(last <= MAX_SEED, f"a seed is at most {MAX_SEED}, got {last}")
        require(self.shift <= 4, f"shift is at most 4 pixels, half an image, got {self.shift}")
        for key in ("dst_learning_rate", "full_learning_rate", "ste_learning_rate"):
            value = getattr(self, key)
            require(
                math.isfinite(value) and value >= 0, f"{key} is finite and at least 0, got {value}"
            )
        for key in ("final", "nonlinearity", "half_width"):
            value = getattr(self, key)
            require(
                math.isfinite(value) and value > 0, f"{key} is finite and positive, got {value}"
            )
        require(self.final <= 1, f"final is at most 1, got {self.final}")
        require(0 <= self.threshold < 1, f"threshold is in [0, 1), got {self.threshold}")
        for key in ("test_share", "validation_share"):
            value = getattr(self, key)
            require(0 < value < 1, f"{key} is between 0 and 1, got {value}")

    def to_dict(self) -> dict[str, Any]:
        """All keys, fit for YAML and JSON."""
        return dataclasses.asdict(self)


# What `--quick` means: the same job in seconds.
QUICK: dict[str, Any] = {
    "seeds": 1,
    "epochs": 4,
    "batch": 20,
    "channels": 8,
    "hidden": 32,
    "examples": 300,
    "checkpoint_every": 1,
}


def _typed(key: str, kind: Any, value: Any) -> Any:
    """The value as its field's type; InputError if it is another."""
    if kind == list[str]:
        good = isinstance(value, list) and all(isinstance(item, str) for item in value)
        require(good, f"{key} is a list of names, got {value!r}")
        return list(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    require(type(value) is kind, f"{key} is of type {kind.__name__}, got {value!r}")
    return value


def options() -> list[tuple[str, Any, Any, str]]:
    """Name, type, default and help of every key."""
    hints, plain = get_type_hints(TrainConfig, include_extras=True), TrainConfig().to_dict()
    return [(key, h.__origin__, plain[key], h.__metadata__[0]) for key, h in hints.items()]


def from_dict(values: Any, source: str) -> TrainConfig:
    """The config that `to_dict` wrote. Raises InputError, naming the source, if it is not one."""
    require(isinstance(values, Mapping), f"{source}: a config is a table of keys, got {values!r}")
    known = [f.name for f in dataclasses.fields(TrainConfig)]
    for key in values:
        require(key in known, f"{source}: a config has the keys {', '.join(known)}, got {key!r}")
    try:
        return TrainConfig(**values)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def difference(kept: TrainConfig, given: TrainConfig) -> str | None:
    """The first key in which two configs differ, with both values; None if they agree."""
    for key, value in kept.to_dict().items():
        other = given.to_dict()[key]
        if value != other:
            return f"{key} is {value}, got {other}"
    return None
