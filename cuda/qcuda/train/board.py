"""The numbers of a run's log for TensorBoard: an events folder for each method and seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qcuda.errors import InputError


@contextmanager
def board(folder: Path | None, begun: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that writes a record's numbers; folder None: it does nothing.

    begun: the first epoch that is to be written; TensorBoard forgets later ones that a run which
    was killed has left. Raises InputError if the package tensorboardX is missing.
    """
    if folder is None:
        yield lambda record: None
        return
    try:
        from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise InputError(
            "run.tensorboard needs the package tensorboardX of the extra log, "
            f"pip install qtheory[log], got an installation without {error.name}"
        ) from None
    with SummaryWriter(str(folder), purge_step=begun) as writer:

        def write(record: dict[str, Any]) -> None:
            for name, value in numbers(record).items():
                writer.add_scalar(name, value, record["epoch"])
            writer.flush()

        yield write


def numbers(record: dict[str, Any]) -> dict[str, float]:
    """The numbers of a record by name, and how many weights have moved and changed together.

    >>> numbers({"method": "dst", "seed": 0, "epoch": 3, "loss": 0.5, "moved": [2, 1]})
    {'loss': 0.5, 'moved': 3}
    """
    sums = {
        "moved": sum(record.get("moved", [])),
        "changed": sum(record.get("changed", {}).values()),
    }
    plain = {k: v for k, v in record.items() if isinstance(v, int | float)}
    return {
        **{k: v for k, v in plain.items() if k not in ("seed", "epoch")},
        **{k: v for k, v in sums.items() if record.get(k)},
    }
