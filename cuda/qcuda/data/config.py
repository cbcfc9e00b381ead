"""The data sets by name, each with its config. Nothing here needs torch.

A data set `name` is read by `qcuda/data/<name>.py`: `task(config)` says what an example looks like,
`opened(config)` gives the examples (see `qcuda.data.source`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from qcuda.errors import require
from qtheory.streams import MAX_SEED


@dataclass(frozen=True)
class Digits:
    """Handwritten digits, 8 x 8 pixels. A second note is the value of `--quick`."""

    TITLE: ClassVar[str] = "Handwritten digits"

    batch: Annotated[int, "least number of examples in a batch", 20] = 50
    shift: Annotated[int, "largest random shift of a training image, in pixels"] = 1
    test_share: Annotated[float, "share of all examples that is the test set"] = 0.25
    validation_share: Annotated[float, "share of the other examples that chooses the model"] = 0.15
    split_seed: Annotated[int, "seed of the split, the same for every run"] = 0
    examples: Annotated[int, "training examples to use; 0 for all of them", 300] = 0

    def __post_init__(self) -> None:
        for key, least in (("batch", 2), ("shift", 0), ("split_seed", 0), ("examples", 0)):
            value = getattr(self, key)
            require(value >= least, f"{key} is at least {least}, got {value}")
        require(self.split_seed <= MAX_SEED, f"a seed is at most {MAX_SEED}, got {self.split_seed}")
        require(self.shift <= 4, f"shift is at most 4 pixels, half an image, got {self.shift}")
        for key in ("test_share", "validation_share"):
            value = getattr(self, key)
            require(0 < value < 1, f"{key} is between 0 and 1, got {value}")


@dataclass(frozen=True)
class MNIST1D:
    """Ten drawn digits as signals of 40 numbers, made by the package mnist1d [greydanus2020].

    4000 training examples, those of its default seed; 5000 to choose by, and 5000 to test.
    """

    TITLE: ClassVar[str] = "MNIST-1D"

    batch: Annotated[int, "least number of examples in a batch"] = 50
    train_seed: Annotated[int, "seed of the training examples; 42 are the published ones"] = 42
    validation_seed: Annotated[int, "seed of the examples that choose the model"] = 1042
    test_seed: Annotated[int, "seed of the test examples"] = 2042

    def __post_init__(self) -> None:
        require(2 <= self.batch <= 4000, f"batch is in 2..4000, got {self.batch}")
        seeds = (self.train_seed, self.validation_seed, self.test_seed)
        for seed in seeds:
            require(0 <= seed < 2**32, f"a seed of mnist1d is in 0..{2**32 - 1}, got {seed}")
        require(len(set(seeds)) == 3, f"parts of the data have three seeds, got {seeds}")


@dataclass(frozen=True)
class MNIST:
    """MNIST, or another set of 28 x 28 pixels in its four files. A second note is for `--quick`."""

    TITLE: ClassVar[str] = "MNIST"

    folder: Annotated[str, "where the four idx files lie, plain or .gz"] = ""
    batch: Annotated[int, "least number of examples in a batch"] = 100
    shift: Annotated[int, "largest random shift of a training image, in pixels"] = 0
    validation: Annotated[int, "last training examples, which choose the model"] = 5000
    examples: Annotated[int, "training examples to use; 0 for all of them", 5000] = 0

    def __post_init__(self) -> None:
        for key, least in (("batch", 2), ("shift", 0), ("validation", 1), ("examples", 0)):
            value = getattr(self, key)
            require(value >= least, f"{key} is at least {least}, got {value}")
        require(self.shift <= 14, f"shift is at most 14 pixels, half an image, got {self.shift}")


DATA: dict[str, type[Any]] = {"digits": Digits, "mnist1d": MNIST1D, "mnist": MNIST}
