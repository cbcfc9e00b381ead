"""`qtheory bench`; without a subcommand, `update` with its defaults."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from qcuda.cli.common import check_writable, choices, common, function, new_parser
from qcuda.errors import InputError, require
from qcuda.models.config import MODELS

SUMMARY = "time the kernels"

BENCHMARKS = {
    "update": ("qcuda.bench.update", ("weights", "threads", "repeats")),
    "algorithms": ("qcuda.bench.algorithms", ("weights", "threads", "repeats", "level", "clock")),
    "activation": ("qcuda.bench.activation", ("repeats", "threads")),
    "step": ("qcuda.bench.step", ("repeats",)),
    "memory": ("qcuda.bench.memory", ("models", "batch", "weights")),
    "train": (
        "qcuda.bench.train",
        ("model", "batch", "rows", "forms", "steps", "device"),
    ),
    "gpu": ("qcuda.bench.gpu", ("seconds", "dry_run")),
    "audit": ("qcuda.bench.watch", ("rounds", "epochs", "model")),
    "loader": ("qcuda.bench.loader", ("repeats", "images")),
    "chain": ("qcuda.bench.chain.run", ("others", "repeats", "states", "longest")),
}


def parser() -> ArgumentParser:
    """Its options; `subcommands` adds those below it."""
    return new_parser("Time the kernels.")


def subcommands(parser: ArgumentParser) -> None:
    """The benchmarks, once the parser has its place below `qtheory`."""
    update = common("Time one optimiser step of each kernel.")
    update.add_argument("--weights", type=int, default=10_000_000, help="number of weights")
    update.add_argument("--threads", type=int | None, default=None, help="threads; null for all")
    update.add_argument("--repeats", type=int, default=15, help="timed repeats")
    commands = parser.add_subcommands(required=False)
    commands.add_subcommand("update", update, help="one optimiser step of each kernel")
    each = common(
        "Time every walker and every reader beside the torch form that a user would write."
    )
    each.add_argument(
        "--weights", type=int, default=2**20, help="number of weights, a multiple of 1024"
    )
    each.add_argument("--threads", type=int | None, default=None, help="threads; null for all")
    each.add_argument("--repeats", type=int, default=15, help="timed rounds; the median counts")
    each.add_argument(
        "--level",
        type=str | None,
        default=None,
        help="CPU library: v1, v3 (AVX2) or v4 (AVX-512); null for the processor's best. Torch "
        "keeps its own, which the variable ATEN_CPU_CAPABILITY chooses",
    )
    each.add_argument(
        "--clock", type=str, default="wall", help="wall, or processor for all threads' time"
    )
    commands.add_subcommand("algorithms", each, help="every algorithm beside torch, in ms")
    stairs = common("Count the bytes that activations move, and time them beside ReLU.")
    stairs.add_argument("--repeats", type=int, default=15, help="timed repeats")
    stairs.add_argument("--threads", type=int | None, default=None, help="threads; null for all")
    commands.add_subcommand("activation", stairs, help="stairs, alone and behind a batch norm")
    host = common("Time steps on tensors so small that the host takes all the time, and weights.")
    host.add_argument("--repeats", type=int, default=100, help="timed repeats")
    commands.add_subcommand("step", host, help="the host's time of a step, and of layer.weight")
    peak = common("Measure the memory that a step of training takes, beside float networks.")
    peak.add_argument(
        "--models", type=str, default="vgg7,resnet20,resnet18", help="names, with commas between"
    )
    peak.add_argument("--batch", type=int, default=16, help="examples of a batch")
    peak.add_argument("--weights", type=int, help="of a chain of linear layers, in place of models")
    commands.add_subcommand("memory", peak, help="the peak of a step, for several networks")
    whole = common("Time steps of training and measure their memory, ternary beside float.")
    whole.add_argument(
        "--model", type=str, default="resnet18", metavar=choices(MODELS), help="what is trained"
    )
    whole.add_argument("--batch", type=int, default=16, help="images of a step")
    whole.add_argument(
        "--rows",
        type=str,
        default="float,amp,ternary,least,hidden8",
        help="ways to train, with commas between",
    )
    whole.add_argument(
        "--forms", type=str, default="eager,compiled", help="eager, compiled by torch, or both"
    )
    whole.add_argument("--steps", type=int, default=5, help="timed steps; the median counts")
    whole.add_argument("--device", type=str, default="cpu", help="cpu or cuda")
    commands.add_subcommand("train", whole, help="images a second and memory of a network")
    card = common("Measure a GPU beside what was predicted of it: kernels, stages, training.")
    card.add_argument("--seconds", type=int, default=600, help="what no time is left for is named")
    card.add_argument("--dry_run", action="store_true", help="without a GPU: small, on the CPU")
    commands.add_subcommand("gpu", card, help="everything about a GPU, in one call")
    law = common("Time training on digits with and without the audit of the law.")
    law.add_argument("--rounds", type=int, default=3, help="runs of each that count")
    law.add_argument("--epochs", type=int, default=60, help="epochs of a run")
    law.add_argument(
        "--model", type=str, default="cnn", metavar=choices(MODELS), help="what is trained"
    )
    commands.add_subcommand("audit", law, help="what train --audit-law costs")
    reading = common("Time reading images on one thread: as files, as shards, by an index.")
    reading.add_argument("--repeats", type=int, default=3, help="timed rounds; the fastest counts")
    reading.add_argument("--images", type=int, default=200, help="photographs of a round")
    commands.add_subcommand("loader", reading, help="images read in a second")
    chain = common("Time exact chains, and measure their errors, beside others.")
    chain.add_argument(
        "--others",
        type=str | None,
        default=None,
        help="another interpreter, which has some of quantecon, pydtmc, deeptime, scipy",
    )
    chain.add_argument("--repeats", type=int, default=3, help="timed repeats; the median counts")
    chain.add_argument("--states", type=int, default=1_000_000, help="of the long chains")
    chain.add_argument("--longest", type=int, default=100_000_000, help="of the longest chain")
    commands.add_subcommand("chain", chain, help="exact Markov chains")


def run(options: Namespace) -> int:
    """Run it; returns the exit status."""
    name = options.get("subcommand") or "update"
    module, keys = BENCHMARKS[name]
    chosen = options.get(name)
    values = {key: chosen[key] for key in (*keys, "json")} if chosen else {}
    for key, value in values.items():
        require(
            value is False or not isinstance(value, int) or value >= 1,
            f"{key} is at least 1, got {value}",
        )
    check_writable(values.get("json"))
    try:
        function(module, name)(**values)
    except ValueError as error:
        raise InputError(str(error)) from None
    return 0
