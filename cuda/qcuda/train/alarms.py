"""What a person should know of an epoch at once: a line for each, the first time."""

from __future__ import annotations

from collections.abc import Iterator

from qcuda.train.loop import Trainee

FELL = 1000  # so many times fewer moves than in the epoch before are a collapse


def alarms(trainee: Trainee, suspected: bool) -> Iterator[str]:
    """Of the last epoch. suspected: whether the kernel was found wrong before it."""
    where = f"{trainee.method} seed {trainee.seed}, epoch {trainee.epoch}"
    if failing(trainee) and not suspected:
        yield (
            f"{where}: THE KERNEL IS WRONG, moves do not have their exact law. "
            f"The audit {trainee.evidence}"
        )
    *before, last = (record.get("not_finite", 0) for record in trainee.records)
    if last and not any(before):
        yield (
            f"{where}: {last} GRADIENTS OF LATTICE WEIGHTS WERE NOT FINITE; they changed nothing, "
            "later ones are in the log"
        )
    replay = trainee.replay
    if replay is not None and replay.different and trainee.epoch == 1:
        yield f"{where}: THE KERNEL IS WRONG, {replay}, as the reference repeats them"
    then, now = trainee.records[-2], trainee.records[-1]
    for name, counts in now["levels"].items():
        if max(counts) == sum(counts) > 1 != max(then["levels"][name]) / sum(counts):
            yield f"{where}: ALL WEIGHTS OF {name} SHOW ONE LEVEL"
    for name, count, earlier in zip(
        now["levels"], now["moved"], then.get("moved", []), strict=False
    ):
        if count * FELL < earlier:
            yield f"{where}: {name} HAS STOPPED, {count} moves after {earlier} in the epoch before"


def failing(trainee: Trainee) -> bool:
    """Whether moves were found not to have their exact law."""
    return trainee.evidence is not None and trainee.evidence.failing
