"""The results of a run: test accuracies, bits, zeros and moves, as values and as a table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qcuda.data.source import Held
from qcuda.models.weights import weight_layers, zeros
from qcuda.optimizer import LatticeOptimizer
from qcuda.train.gradients import evaluate, objective
from qcuda.train.loop import Trainee, turn
from qcuda.watch.law_audit import describe
from qcuda.watch.replay import Replay


def summary(
    tree: Mapping[str, Any],
    methods: Mapping[str, Sequence[int]],
    trained: Callable[[str, int], Trainee],
    test: Held,
    versions: dict[str, Any],
    keep: Callable[[Trainee], None],
) -> dict[str, Any]:
    """Everything about a trained run, fit for JSON. The test set is looked at here only.

    tree: the config. methods: the seeds of each. trained: the trainee of a method and seed. keep:
    called with each when it has its best model.
    """
    return {
        "config": dict(tree),
        "seeds": list(next(iter(methods.values()))),
        "versions": versions,
        "test_examples": len(test.labels),
        "methods": {
            method: _method([trained(method, seed) for seed in seeds], test, keep)
            for method, seeds in methods.items()
        },
    }


def _method(
    trainees: Sequence[Trainee], test: Held, keep: Callable[[Trainee], None]
) -> dict[str, Any]:
    lattice = all(isinstance(trainee.optimizer, LatticeOptimizer) for trainee in trainees)
    for trainee in trainees:
        trainee.model.load_state_dict(trainee.best["model"])
        turn(trainee, trainee.records[trainee.best["epoch"]])
        keep(trainee)
    found = [evaluate(t.model, test, objective(t.learning)) for t in trainees]
    accuracies = [accuracy for accuracy, _ in found]
    return {
        "test_accuracy": accuracies,
        "test_mean": statistics.fmean(accuracies),
        "test_spread": _spread(accuracies),
        "test_loss": [loss for _, loss in found],
        "validation_accuracy": [trainee.best["accuracy"] for trainee in trainees],
        "best_epoch": [trainee.best["epoch"] for trainee in trainees],
        "weights": sum(
            p.numel()
            for layer in weight_layers(trainees[0].model).values()
            for p in layer.parameters()
        ),
        "bits": _bits(trainees[0]),
        "zeros": [_zeros(trainee) for trainee in trainees],
        "changed_first": [_changed(trainee, 1) for trainee in trainees],
        "changed_last": [_changed(trainee, trainee.epoch) for trainee in trainees],
        "moves": _moves(trainees) if lattice else None,
        "replays": [t.replay.to_dict() for t in trainees if t.replay is not None],
        "law_audits": [t.evidence.report() for t in trainees if t.evidence is not None],
        "seconds": [trainee.seconds for trainee in trainees],
        "audits": [trainee.audit for trainee in trainees if trainee.audit],
        "tables": [trainee.table for trainee in trainees if trainee.table],
    }


def _bits(trainee: Trainee) -> dict[str, float]:
    """Bits of a weight while training: as kept, its moments, its gradient."""
    if not trainee.audit:
        return {"weight": 32.0, "moments": 64.0, "gradient": 32.0}
    layers, total = trainee.audit["layers"], trainee.audit["weights"]

    def mean(key: str) -> float:
        return sum(layer[key] * sum(layer["counts"]) for layer in layers) / total

    return {
        "weight": mean("weight_bits"),
        "moments": mean("moment_bits"),
        "gradient": mean("gradient_bits"),
    }


def _zeros(trainee: Trainee) -> float | None:
    """Share of visible weights that are 0 in the chosen model; None if they are real."""
    return zeros(trainee.model)


def _changed(trainee: Trainee, epoch: int) -> float | None:
    """Share of weights whose visible level an epoch has changed; None if they are real."""
    record = trainee.records[epoch]
    total = sum(map(sum, record["levels"].values()))
    return sum(record["changed"].values()) / total if total else None


def _moves(trainees: Sequence[Trainee]) -> dict[str, Any]:
    """Moves of a weight in an epoch, of hidden levels too; how probes agree with the exact law."""
    weights = sum(map(sum, trainees[0].records[0]["levels"].values()))
    scores = [
        probe_score(record["probe"])
        for trainee in trainees
        for record in trainee.records[1:]
        if record["probe"] is not None
    ]
    known = [score for score in scores if score is not None]
    return {
        "first": [sum(t.records[1]["moved"]) / weights for t in trainees],
        "last": [sum(t.records[-1]["moved"]) / weights for t in trainees],
        "nan": [int(t.optimizer.nan.sum()) for t in trainees],  # pyright: ignore
        "probes": len(known),
        "largest_score": max(map(abs, known), default=None),
    }


def probe_score(probe: dict[str, Any]) -> float | None:
    """(measured - expected) / std of a probe over all layers; None if nothing could move."""
    variance = sum(probe["variance"])
    difference = sum(probe["measured"]) - sum(probe["mean"])
    return difference / variance**0.5 if variance > 0 else None


def _spread(values: Sequence[float]) -> float | None:
    """Sample standard deviation; None for a single seed."""
    return statistics.stdev(values) if len(values) > 1 else None


def table(results: dict[str, Any]) -> str:
    """The table that ends a run."""
    wide = max(8, *(len(method) + 1 for method in results["methods"]))
    rows = [
        f"{'method':<{wide}}{'test accuracy, %':>18}  {'each seed':<24}{'bits a weight':>14}"
        f"{'+ moments':>11}{'+ gradient':>12}{'zeros, %':>10}{'changed, %':>16}{'time, s':>9}"
    ]
    for method, found in results["methods"].items():
        spread = found["test_spread"]
        accuracy = f"{100 * found['test_mean']:.2f}"
        accuracy += "" if spread is None else f" ± {100 * spread:.2f}"
        each = " ".join(f"{100 * x:.2f}" for x in found["test_accuracy"])
        bits = found["bits"]
        first, last = _percent(found["changed_first"]), _percent(found["changed_last"])
        changed = "-" if first == "-" else f"{first} -> {last}"
        rows.append(
            f"{method:<{wide}}{accuracy:>18}  {each:<24}{bits['weight']:>14.2f}"
            f"{bits['moments']:>11.0f}{bits['gradient']:>12.0f}{_percent(found['zeros']):>10}{changed:>16}"
            f"{sum(found['seconds']):>9.1f}"
        )
    rows.append(
        f"Accuracy on {results['test_examples']} test examples, looked at once, of the epoch with "
        "the best validation accuracy: mean ± standard deviation over seeds. Changed: share of "
        "weights on another visible level than an epoch before, first -> last epoch."
    )
    for method, found in results["methods"].items():
        each = " ".join(f"{loss:.4f}" for loss in found["test_loss"])
        rows.append(f"Test loss of {method}: {statistics.fmean(found['test_loss']):.4f} ({each})")
        if results["config"]["data"]["name"] == "text" and _is_likelihood(results["config"]):
            bits = [loss / math.log(2) for loss in found["test_loss"]]
            each = " ".join(f"{bit:.3f}" for bit in bits)
            rows.append(f"Bits a byte of {method}: {statistics.fmean(bits):.3f} ({each})")
    for method, found in results["methods"].items():
        for seed, replay in zip(results["seeds"], found.get("replays", []), strict=False):
            rows.append(f"Replay by the reference, {method} seed {seed}: {Replay(**replay)}.")
    for method, found in results["methods"].items():
        moves = found.get("moves")
        if moves and moves["probes"]:
            rows.append(
                f"Moves of {method} in {moves['probes']} probed iterations against the exact law: "
                f"largest deviation {moves['largest_score']:.2f} standard deviations."
            )
    for method, found in results["methods"].items():
        for seed, report in zip(results["seeds"], found.get("law_audits", []), strict=False):
            rows.append(f"Audit of the law, {method} seed {seed}: {describe(report)}")
    return "\n".join(rows)


def _is_likelihood(config: Mapping[str, Any]) -> bool:
    """Whether the loss is the mean of -log of the probability of a label."""
    return config["learning"]["loss"] == "cross_entropy" and not config["learning"]["smoothing"]


def unlawful(results: dict[str, Any]) -> bool:
    """Whether an audit found that moves do not have their exact law."""
    found = results["methods"].values()
    return any(report["failing"] for one in found for report in one.get("law_audits", [])) or any(
        replay["different"] for one in found for replay in one.get("replays", [])
    )


def _percent(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{100 * statistics.fmean(known):.1f}" if known else "-"
