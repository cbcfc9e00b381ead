"""`qtheory validate`."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from qcuda.cli.common import check_writable, choices, common, function
from qcuda.errors import InputError
from qtheory.algorithms import walkers

SUMMARY = "prove kernels against reference and law"


def parser() -> ArgumentParser:
    """Its options."""
    made = common(
        "Prove the kernels of a device against reference and law; or judge any function that "
        "rounds at random (--op): it takes a float32 torch tensor, or NumPy array, of increments "
        "in spacings, and returns whole numbers of the same shape. As stochastic rounding, the "
        "default, it returns floor|x| or floor|x| + 1 with the sign of x and the mean x. What is "
        "obviously wrong is said in seconds; what holds takes a minute or two. Exit status 1 if a "
        "claim fails."
    )
    add = made.add_argument
    add(
        "--device", type=str, default="auto", metavar=choices(["auto", "cpu", "cuda"]),
        help="where; auto is all there are",
    )  # fmt: skip
    add(
        "--stem", type=str, nargs="+", default=[], metavar=choices(walkers()),
        help="algorithms to judge; default all",
    )  # fmt: skip
    add("--deep", action="store_true", help="find a bias of 1e-4, not 1e-3; minutes, not seconds")
    add(
        "--op", type=str | None, default=None, metavar="MODULE:FUNCTION",
        help="a function of torch, NumPy or numba to judge; its module may be in this folder",
    )  # fmt: skip
    add(
        "--claims", type=str | None, default=None,
        metavar=choices(walkers()), help="what --op claims to be; default stochastic rounding",
    )  # fmt: skip
    add(
        "--calibrate",
        type=int | None,
        default=None,
        help="measure both error rates, so often",
    )
    add("--seed", type=int | None, default=None, help="64 bits; default fresh ones")
    add("--draws", type=int, default=4_000_000, help="decisions to compare, for each rule")
    return made


def run(options: Namespace) -> int:
    """Run it; returns the exit status."""
    check_writable(options.json)
    try:
        if options.calibrate is not None:
            return function("qcuda.validate.calibrate", "calibrate")(
                options.calibrate, json=options.json, seed=options.seed, deep=options.deep
            )
        return function("qcuda.validate", "validate")(
            device=options.device,
            draws=options.draws,
            json=options.json,
            stems=options.stem,
            deep=options.deep,
            op=options.op,
            claims=options.claims,
            seed=options.seed,
        )
    except ValueError as error:
        raise InputError(str(error)) from None
