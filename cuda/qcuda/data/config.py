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
        _at_least(self, batch=2, shift=0, split_seed=0, examples=0)
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

    folder: Annotated[str, "where the files of the data lie"] = ""
    batch: Annotated[int, "least number of examples in a batch"] = 100
    shift: Annotated[int, "largest random shift of a training image, in pixels"] = 0
    validation: Annotated[int, "training examples which choose the model"] = 5000
    examples: Annotated[int, "training examples to use; 0 for all of them", 5000] = 0

    def __post_init__(self) -> None:
        _at_least(self, batch=2, shift=0, validation=1, examples=0)
        require(self.shift <= 14, f"shift is at most 14 pixels, half an image, got {self.shift}")


@dataclass(frozen=True)
class CIFAR:
    """CIFAR-10 or CIFAR-100 [krizhevsky2009], 32 x 32 pixels in colour, binary or Python files."""

    TITLE: ClassVar[str] = "CIFAR"

    folder: Annotated[str, "where the files of the data lie"] = ""
    classes: Annotated[int, "10 or 100, which of the two sets it is"] = 10
    batch: Annotated[int, "least number of examples in a batch"] = 100
    shift: Annotated[int, "largest random shift of a training image, in pixels"] = 4
    flip: Annotated[float, "share of training images that are mirrored"] = 0.5
    validation: Annotated[int, "training examples which choose the model"] = 5000
    examples: Annotated[int, "training examples to use; 0 for all of them"] = 0

    def __post_init__(self) -> None:
        _at_least(self, batch=2, shift=0, validation=1, examples=0)
        require(self.classes in (10, 100), f"classes is 10 or 100, got {self.classes}")
        require(self.shift <= 16, f"shift is at most 16 pixels, half an image, got {self.shift}")
        _a_share(self, "flip")


@dataclass(frozen=True)
class Images:
    """Images in folders by part (train, and val or test or both) and class, such as ImageNet's."""

    TITLE: ClassVar[str] = "Images"

    folder: Annotated[str, "where the files of the data lie"] = ""
    size: Annotated[int, "side of the square that the network sees, in pixels"] = 224
    grey: Annotated[bool, "images have one channel, of grey, and not three of colour"] = False
    batch: Annotated[int, "least number of examples in a batch, of all ranks together"] = 256
    validation: Annotated[
        int, "training examples which choose the model; 0 if val does, beside test"
    ] = 0
    least_area: Annotated[float, "least share of its area that a random crop has"] = 0.08
    flip: Annotated[float, "share of training images that are mirrored"] = 0.5
    centre: Annotated[float, "share of the shorter side that is seen when a model is judged"] = (
        0.875
    )
    even: Annotated[bool, "batches of exactly that size; what is left of an epoch is left out"] = (
        False
    )
    skip: Annotated[bool, "pass over and count training images that are damaged"] = False
    workers: Annotated[
        int, "threads that read ahead; 0: none, -1: one for each processor; no bit depends on it"
    ] = -1

    def __post_init__(self) -> None:
        _at_least(self, size=1, batch=2, validation=0, workers=-1)
        for key in ("least_area", "centre"):
            require(0 < getattr(self, key) <= 1, f"{key} is in (0, 1], got {getattr(self, key)}")
        _a_share(self, "flip")


@dataclass(frozen=True)
class Shards(Images):
    """The same in tar files with an index, as `qtheory data shards` writes them."""

    TITLE: ClassVar[str] = "Images in shards"


@dataclass(frozen=True)
class ModelNet:
    """ModelNet40 [wu2015]: shapes, in OFF files, as points that are drawn on their surfaces."""

    TITLE: ClassVar[str] = "ModelNet"

    folder: Annotated[str, "where the files of the data lie"] = ""
    points: Annotated[int, "points of a shape"] = 1024
    batch: Annotated[int, "least number of shapes in a batch"] = 32
    validation: Annotated[int, "training shapes which choose the model"] = 500
    turn: Annotated[bool, "turn each training shape about the upright axis"] = False
    workers: Annotated[
        int, "threads that read ahead; 0: none, -1: one for each processor; no bit depends on it"
    ] = -1

    def __post_init__(self) -> None:
        _at_least(self, points=1, batch=2, validation=1, workers=-1)


@dataclass(frozen=True)
class Text:
    """Text as bytes: *.py and *.txt files of a folder; without one, Python's standard library."""

    TITLE: ClassVar[str] = "Text"

    folder: Annotated[str, "where the files of the data lie"] = ""
    length: Annotated[int, "bytes of an example"] = 128
    batch: Annotated[int, "least number of examples in a batch"] = 32
    held: Annotated[float, "share of the files, by name, that chooses the model; another tests"] = (
        0.05
    )
    examples: Annotated[int, "windows of an epoch, drawn anew for each; 0: every one once"] = 0

    def __post_init__(self) -> None:
        _at_least(self, length=1, batch=2, examples=0)
        require(0 < self.held < 0.5, f"held is in (0, 0.5), got {self.held}")


def _at_least(config: Any, **limits: int) -> None:
    for key, least in limits.items():
        value = getattr(config, key)
        require(value >= least, f"{key} is at least {least}, got {value}")


def _a_share(config: Any, key: str) -> None:
    value = getattr(config, key)
    require(0 <= value <= 1, f"{key} is in [0, 1], got {value}")


DATA: dict[str, type[Any]] = {
    "digits": Digits,
    "mnist1d": MNIST1D,
    "mnist": MNIST,
    "cifar": CIFAR,
    "images": Images,
    "shards": Shards,
    "modelnet": ModelNet,
    "text": Text,
}
